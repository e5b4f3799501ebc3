"""From a tool call to its result: check it, authorise its path, ask the cache, run the command."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from target_app.agent.messages import ToolCall, ToolResult
from target_app.agent.tools import TOOLS, BadCallError, CacheType, Tool, parse_call
from target_app.cache.results import Answered, Codec, Hit, Made
from target_app.cache.state import State, file_state
from target_app.sandbox.commands import COMMANDS_VERSION
from target_app.sandbox.output import Limits
from target_app.sandbox.paths import DataRoot, PathBlockedError, PathRefusedError, RootGoneError
from target_app.sandbox.result import Block, Command, CommandResult, Execution

BAD_CALL_CODE = 2
"""The return code of a call that is never run, as shells have it for wrong usage."""

GRACE_SECONDS = 2.0
"""How much longer than its command a whole call may take: it may wait for others first."""


class Sandbox(Protocol):
    """Runs commands."""

    async def run(self, command: Command) -> Execution:
        """Run one; whatever goes wrong is in the execution."""
        ...


class Cache(Protocol):
    """Remembers executions by the question they answer and the state of the files then."""

    def peek(self, question: str, state: State) -> Hit[Execution] | None:
        """Answer what is held in memory, at once."""
        ...

    async def answer(
        self, question: str, state: State, make: Callable[[], Awaitable[Made[Execution]]]
    ) -> Answered[Execution]:
        """Answer what is known, or make it, once for all who ask at the same time."""
        ...


class States(Protocol):
    """Knows the state of folders."""

    @property
    def exact(self) -> bool:
        """Whether a state is never older than the question for it."""
        ...

    def peek(self, path: str, *, deep: bool) -> State | None:
        """Answer at once, or None when files must be looked at first."""
        ...

    def take(self, path: str, *, deep: bool) -> State | None:
        """Look at the files that must be; None when the folder cannot be tracked."""
        ...


@dataclass(frozen=True, slots=True)
class _Scope:
    """What a call was authorised to read: the path, its own state, and whether all beneath."""

    path: str
    state: State
    is_tree: bool


def _encode(execution: Execution) -> bytes:
    return json.dumps(dataclasses.asdict(execution)).encode()


def _decode(data: bytes) -> Execution:
    try:
        return Execution(**json.loads(data))
    except TypeError as error:
        # Written by a release that knew other fields.
        raise ValueError(str(error)) from None


EXECUTION_CODEC = Codec(_encode, _decode)
"""Executions on disk: JSON, since whoever can write the file must not be able to run code."""


class ToolRunner:
    """
    Runs tool calls against one data root. Every call takes the same path through the cache.

    `limits` are those of the sandbox.
    """

    def __init__(
        self,
        root: DataRoot,
        sandbox: Sandbox,
        caches: Mapping[CacheType, Cache],
        states: States,
        *,
        limits: Limits,
    ) -> None:
        """Use parts that were made once for the whole app."""
        self._root = root
        self._sandbox = sandbox
        self._caches = caches
        self._states = states
        self._timeout_seconds = limits.timeout_seconds
        self._setting = f"{root.path}\0{_rules(limits)}"

    async def run(self, call: ToolCall) -> ToolResult:
        """Run one call; whatever goes wrong is in the result."""
        try:
            tool = parse_call(call.name, call.arguments)
        except BadCallError as error:
            blocked: Block | None = None if call.name in TOOLS else "command_not_allowed"
            result = failure(f"{call.name[:64]} {call.arguments[:200]}", str(error), BAD_CALL_CODE)
            return ToolResult(call, result, "error", blocked=blocked)
        return await self._run(call, tool)

    async def _run(self, call: ToolCall, tool: Tool) -> ToolResult:
        # Authorised before the cache is asked: a cache must not know more than its asker.
        scope = await self._authorise(call, tool)
        if isinstance(scope, ToolResult):
            return scope
        question = self._question(tool, scope)
        state = self._states.peek(scope.path, deep=tool.deep) if scope.is_tree else scope.state
        if state is not None:
            known = self._caches[tool.cache_type].peek(question, state)
            if known is not None:
                return _result(call, tool, known.value, cache_hit=True)
        try:
            async with asyncio.timeout(self._timeout_seconds + GRACE_SECONDS):
                return await self._look_up(call, tool, scope, question, state)
        except TimeoutError:
            reason = f"stopped after {self._timeout_seconds + GRACE_SECONDS:g} s"
            return ToolResult(call, failure(tool.shown, reason, 124), "timeout")

    async def _authorise(self, call: ToolCall, tool: Tool) -> _Scope | ToolResult:
        """Find out what the call may read, or answer why it may not."""
        try:
            return await self._opened(tool)
        except PathBlockedError as error:
            return _refused(call, tool, str(error), "path_traversal")
        except PathRefusedError as error:
            return _refused(call, tool, str(error))
        except RootGoneError as error:
            return _refused(call, tool, str(error.strerror))
        except OSError:
            return _refused(call, tool, f"{tool.path[:200]!r} cannot be opened")

    async def _opened(self, tool: Tool) -> _Scope:
        if self._states.exact:
            return self._open(tool)
        # Perhaps not a disk of this machine: opening may wait for a network.
        return await asyncio.to_thread(self._open, tool)

    def _open(self, tool: Tool) -> _Scope:
        with self._root.open(tool.path) as opened:
            is_tree = opened.is_directory and tool.cache_type == "search"
            return _Scope(opened.path, file_state(opened), is_tree)

    def _question(self, tool: Tool, scope: _Scope) -> str:
        """Name the question so that no other root, limit, path or option has the same name."""
        return f"{self._setting}\0{scope.path}\0{tool.fingerprint}"

    async def _look_up(
        self, call: ToolCall, tool: Tool, scope: _Scope, question: str, state: State | None
    ) -> ToolResult:
        """Ask the cache once the state of the scope is known, and run the command if need be."""
        command = tool.command(scope.path)
        if state is None:
            state = await asyncio.to_thread(self._states.take, scope.path, deep=tool.deep)
        if state is None:
            return _result(call, tool, await self._sandbox.run(command), cache_hit=None)
        before = state

        async def make() -> Made[Execution]:
            execution = await self._sandbox.run(command)
            # Between two looks that are alike, the path may have led elsewhere.
            read_it = execution.opened == before.own
            keep = execution.lasting and read_it and await self._state_now(tool, scope) == before
            size = len(execution.stdout) + len(execution.note) + len(execution.error or "")
            return Made(execution, keep, execution.seconds, size)

        answered = await self._caches[tool.cache_type].answer(question, before, make)
        return _result(call, tool, answered.value, cache_hit=answered.hit)

    async def _state_now(self, tool: Tool, scope: _Scope) -> State | None:
        """Look at the scope again; None when it is no longer what it was."""
        if scope.is_tree:
            state = self._states.peek(scope.path, deep=tool.deep)
            if state is not None:
                return state
            return await asyncio.to_thread(self._states.take, scope.path, deep=tool.deep)
        try:
            return (await self._opened(tool)).state
        except (OSError, PathBlockedError, PathRefusedError):
            return None


def _rules(limits: Limits) -> str:
    """Name what a command's answer depends on besides the files and its options."""
    rules = (COMMANDS_VERSION, *dataclasses.astuple(limits))
    return hashlib.blake2b(repr(rules).encode(), digest_size=16).hexdigest()


def failure(command: str, reason: str, return_code: int = 1) -> CommandResult:
    """Make the result of a call that did not do what was asked."""
    return CommandResult(
        success=False,
        stdout="",
        stderr=reason,
        return_code=return_code,
        command=command,
        error=reason,
    )


def _result(
    call: ToolCall, tool: Tool, execution: Execution, *, cache_hit: bool | None
) -> ToolResult:
    """Show an execution as the caller spelt it: the same path can be spelt in several ways."""
    result = CommandResult(
        success=execution.error is None,
        stdout=execution.stdout,
        stderr=execution.note if execution.error is None else execution.error,
        return_code=execution.return_code,
        command=tool.shown,
        error=execution.error,
    )
    return ToolResult(call, result, execution.status, cache_hit, execution.blocked)


def _refused(call: ToolCall, tool: Tool, reason: str, blocked: Block | None = None) -> ToolResult:
    return ToolResult(call, failure(tool.shown, reason), "error", blocked=blocked)
