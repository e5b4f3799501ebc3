"""One command from its description to its execution: open, run, and turn faults into answers."""

from __future__ import annotations

import dataclasses
import logging
import time
import traceback

from target_app.sandbox.commands import COMMANDS, SEARCHES
from target_app.sandbox.output import (
    CommandFailedError,
    CommandTimeoutError,
    FileTooLargeError,
    Limits,
    Output,
    OutputFullError,
    printable,
)
from target_app.sandbox.paths import DataRoot, PathBlockedError, PathRefusedError, RootGoneError
from target_app.sandbox.result import Block, Command, Execution

_log = logging.getLogger(__name__)

_BLOCKS: dict[type[Exception], Block] = {
    PathBlockedError: "path_traversal",
    FileTooLargeError: "file_too_large",
}

TIMEOUT_CODE = 124
"""The return code of a command that was stopped, as timeout(1) has it."""

FAULT_CHARACTERS = 8000
FAULT_FRAMES = 20
"""How much is told of a fault: its last calls, and both ends of a longer text."""


def run_command(root: DataRoot, command: Command, limits: Limits) -> Execution:
    """
    Run a command, opening its path itself. Blocks; never raises.

    Whatever goes wrong is in the execution, in words for the LLM, without a path of the host.
    """
    start = time.perf_counter()
    execution = _run(root, command, limits)
    return dataclasses.replace(execution, seconds=time.perf_counter() - start)


def failed(reason: str) -> Execution:
    """Make the execution of a command that failed for a reason that may pass."""
    return Execution("error", error=reason, return_code=1, lasting=False)


def timed_out(reason: str) -> Execution:
    """Make the execution of a command that was stopped."""
    return Execution("timeout", error=reason, return_code=TIMEOUT_CODE, lasting=False)


def not_run(execution: Execution) -> Execution:
    """Say of a failure that its command was never begun."""
    return dataclasses.replace(execution, ran=False)


def _run(root: DataRoot, command: Command, limits: Limits) -> Execution:
    run = COMMANDS.get(command.name)
    if run is None:
        reason = f"there is no command {printable(command.name[:64])}"
        return dataclasses.replace(failed(reason), blocked="command_not_allowed")
    output = Output.start(limits)
    stamp = ""
    try:
        with root.open(command.path) as opened:
            stamp = opened.stamp
            run(opened, output, **command.options)
    except OutputFullError:
        pass
    except Exception as error:  # noqa: BLE001  # no fault may end a chat, nor a worker
        return dataclasses.replace(_failure(error, command), opened=stamp)
    found_nothing = command.name in SEARCHES and output.size_bytes == 0
    return Execution(
        "success",
        stdout=output.text(),
        note=output.note(),
        return_code=1 if found_nothing else 0,
        opened=stamp,
    )


def _failure(error: Exception, command: Command) -> Execution:
    """Say what went wrong."""
    if isinstance(error, CommandTimeoutError):
        return timed_out(str(error))
    if isinstance(error, CommandFailedError):
        return dataclasses.replace(failed(str(error)), lasting=True)
    if isinstance(error, PathBlockedError | PathRefusedError | FileTooLargeError):
        blocked = _BLOCKS.get(type(error))
        return dataclasses.replace(failed(printable(str(error))), blocked=blocked)
    if isinstance(error, OSError):
        place = "" if isinstance(error, RootGoneError) else f"{printable(command.path)}: "
        return failed(f"{place}{error.strerror or 'cannot be read'}")
    if isinstance(error, MemoryError):
        return failed("the command needs more memory than it may use")
    _log.error("the command %s failed", command.name, exc_info=error)
    execution = failed(f"the command {command.name} failed")
    return dataclasses.replace(execution, fault=_traced(error))


def _traced(error: Exception) -> str:
    text = "".join(traceback.format_exception(error, limit=-FAULT_FRAMES))
    if len(text) <= FAULT_CHARACTERS:
        return text
    gap = "\n...\n"
    half = (FAULT_CHARACTERS - len(gap)) // 2
    return f"{text[:half]}{gap}{text[-half:]}"
