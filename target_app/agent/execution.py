"""From a tool call to its result: check it, authorise its path, ask the cache, run the command."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from target_app.agent.messages import ToolCall, ToolResult
from target_app.agent.tools import TOOLS, BadCallError, Tool, parse_call
from target_app.cache.results import Hit, Miss
from target_app.cache.state import State, file_state, tree_state
from target_app.sandbox.commands import (
    CommandFailedError,
    CommandTimeoutError,
    FileTooLargeError,
    Limits,
    Output,
    OutputFullError,
)
from target_app.sandbox.paths import DataRoot, Opened, PathBlockedError, PathRefusedError
from target_app.sandbox.result import Block, CommandResult, Status

CacheType = Literal["content", "search"]
CACHE_TYPES: tuple[CacheType, ...] = ("content", "search")


@dataclass(frozen=True, slots=True)
class Execution:
    """One command that ran. Only a `lasting` one says the same until the files change."""

    result: CommandResult
    status: Status
    blocked: Block | None = None
    lasting: bool = True


class Cache(Protocol):
    """Remembers executions."""

    def get(self, key: str, state: State) -> Hit[Execution] | Miss:
        """Answer what is known for a key in this state of its scope."""
        ...

    def put(self, key: str, state: State, value: Execution, value_bytes: int) -> bool:
        """Remember; False when it cannot be held."""
        ...

    def clear(self) -> int:
        """Forget everything and answer how many entries there were."""
        ...


Execute = Callable[[Tool, Opened, Output], Execution]


def execute(tool: Tool, opened: Opened, output: Output) -> Execution:
    """Run a command on an authorised path, turning every way it can fail into a result."""
    shown = tool.shown()
    note = ""
    try:
        tool.run(opened, output)
    except OutputFullError:
        note = f"output cut at {output.limits.output_bytes} bytes"
    except FileTooLargeError as error:
        return Execution(failure(shown, str(error)), "error", "file_too_large", lasting=False)
    except CommandTimeoutError as error:
        return Execution(failure(shown, str(error), 124), "timeout", lasting=False)
    except CommandFailedError as error:
        return Execution(failure(shown, str(error)), "error")
    except OSError as error:
        reason = f"{opened.path}: {error.strerror or 'cannot be read'}"
        return Execution(failure(shown, reason), "error", lasting=False)
    found_nothing = not output.lines and tool.cache_type == "search"
    return Execution(
        CommandResult(
            success=True,
            stdout=output.text(),
            stderr=note,
            return_code=1 if found_nothing else 0,
            command=shown,
        ),
        "success",
    )


def failure(command: str, reason: str, return_code: int = 1) -> CommandResult:
    """Make the result of a command that did not do what was asked."""
    return CommandResult(
        success=False,
        stdout="",
        stderr=reason,
        return_code=return_code,
        command=command,
        error=reason,
    )


class ToolRunner:
    """Runs tool calls against one data root. Every call takes the same path through the cache."""

    def __init__(
        self,
        root: DataRoot,
        caches: Mapping[CacheType, Cache],
        limits: Limits,
        *,
        run_command: Execute = execute,
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Use `wall_clock_ns` to tell how long ago files changed; it must be their clock."""
        self._root = root
        self._caches = caches
        self._limits = limits
        self._run_command = run_command
        self._wall_clock_ns = wall_clock_ns
        self._searching = threading.Lock()

    async def run(self, call: ToolCall) -> ToolResult:
        """Run one call in a worker thread; whatever goes wrong is in the result."""
        try:
            tool = parse_call(call.name, call.arguments)
        except BadCallError as error:
            blocked: Block | None = None if call.name in TOOLS else "command_not_allowed"
            result = failure(f"{call.name[:64]} {call.arguments[:200]}", str(error), 2)
            return ToolResult(call, result, "error", blocked=blocked)
        return await asyncio.to_thread(self._run, call, tool)

    def _run(self, call: ToolCall, tool: Tool) -> ToolResult:
        output = Output.start(self._limits)
        try:
            # Authorised before the cache is asked: a cache must not know more than its asker.
            opened = self._root.open(tool.path)
        except PathBlockedError as error:
            return _refused(call, tool, str(error), "path_traversal")
        except PathRefusedError as error:
            return _refused(call, tool, str(error))
        except (OSError, ValueError):
            return _refused(call, tool, f"{tool.path!r} cannot be opened")
        with opened:
            try:
                return self._run_opened(call, tool, opened, output)
            except CommandTimeoutError as error:
                return ToolResult(call, failure(tool.shown(), str(error), 124), "timeout")

    def _run_opened(
        self, call: ToolCall, tool: Tool, opened: Opened, output: Output
    ) -> ToolResult:
        if tool.cache_type is None:
            return _result(call, self._run_command(tool, opened, output), None)
        if tool.cache_type == "content":
            return self._run_cached(call, tool, opened, output, tool.cache_type)
        return self._take_turn(call, tool, opened, output)

    def _take_turn(self, call: ToolCall, tool: Tool, opened: Opened, output: Output) -> ToolResult:
        """
        Run a search while no other is running.

        A search hands the interpreter over at each of its hundreds of system calls. Two of them
        in two threads take nearly three times the processor time that they take in turn.
        """
        if not self._searching.acquire(timeout=self._limits.timeout_seconds):
            msg = f"waited {self._limits.timeout_seconds:g} s for other searches"
            raise CommandTimeoutError(msg)
        try:
            return self._run_cached(call, tool, opened, output, "search")
        finally:
            self._searching.release()

    def _run_cached(
        self, call: ToolCall, tool: Tool, opened: Opened, output: Output, cache_type: CacheType
    ) -> ToolResult:
        cache = self._caches[cache_type]
        key = f"{tool.name}\0{opened.path}\0{tool.model_dump_json(exclude={'path'})}"
        take_state = tree_state if cache_type == "search" else file_state
        # Before the read: a change during it then shows at the next look.
        state = take_state(opened, output.check)
        settled = state.is_settled(self._wall_clock_ns())
        known = cache.get(key, state)
        if isinstance(known, Hit):
            # The same path can be spelt in several ways, and the result shows the caller's.
            result = dataclasses.replace(known.value.result, command=tool.shown())
            return _result(call, dataclasses.replace(known.value, result=result), cache_hit=True)
        execution = self._run_command(tool, opened, output)
        if execution.lasting and settled:
            cache.put(key, state, execution, output.size_bytes)
        return _result(call, execution, cache_hit=False)


def _result(call: ToolCall, execution: Execution, cache_hit: bool | None) -> ToolResult:  # noqa: FBT001
    return ToolResult(call, execution.result, execution.status, cache_hit, execution.blocked)


def _refused(call: ToolCall, tool: Tool, reason: str, blocked: Block | None = None) -> ToolResult:
    return ToolResult(call, failure(tool.shown(), reason), "error", blocked=blocked)
