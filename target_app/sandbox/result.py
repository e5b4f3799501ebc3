"""The result of one command, as it is answered to the LLM and to the caller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

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
