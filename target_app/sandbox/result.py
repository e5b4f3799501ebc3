"""The result of one command, as it is answered to the LLM and to the caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Status = Literal["success", "error", "timeout"]
"""How a command or a tool call ended. A closed set, because it is a metric label."""

Block = Literal["path_traversal", "command_not_allowed", "file_too_large"]
"""The rule that refused a call. A closed set, because it is a metric label."""

STATUSES: tuple[Status, ...] = get_args(Status)
BLOCKS: tuple[Block, ...] = get_args(Block)


@dataclass(frozen=True, slots=True)
class CommandResult:
    """
    What a command came to.

    `success` is False when it could not do what was asked; finding nothing is a success with
    `return_code` 1, as grep has it. `command` is the call in shell notation, for people.
    """

    success: bool
    stdout: str
    stderr: str
    return_code: int
    command: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """
    One command to run in the sandbox.

    `name` is a key of `commands.COMMANDS`, `path` is relative to the data root and `options` are
    the keyword arguments of that command: strings, whole numbers, booleans or None.
    """

    name: str
    path: str
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Execution:
    """
    One command that ran, or was refused.

    `stdout` is what it wrote and `note` what is to be said beside it, such as that the output was
    cut. `error` is the reason of a failure, for the LLM to read, and None on success. Finding
    nothing is a success with `return_code` 1; a timeout has 124. Only a `lasting` execution says
    the same until the files change. `seconds` is how long the command took. `opened` is
    `Opened.stamp` of what it read, "" when nothing was opened. `ran` is False when it was never
    begun, because there was no place for it. `fault` says where a fault of the program itself
    happened; it is for the log only.
    """

    status: Status
    stdout: str = ""
    note: str = ""
    error: str | None = None
    return_code: int = 0
    blocked: Block | None = None
    lasting: bool = True
    seconds: float = 0.0
    opened: str = ""
    ran: bool = True
    fault: str = ""
