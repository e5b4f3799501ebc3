"""Choosing how well commands are kept apart from the app, and refusing to be content with less."""

from __future__ import annotations

import logging
from typing import Literal, Protocol

from target_app.sandbox.confine import IsolationLevel
from target_app.sandbox.inprocess import InProcess
from target_app.sandbox.output import Limits
from target_app.sandbox.paths import DataRoot
from target_app.sandbox.pool import WorkerPool, WorkerStartError
from target_app.sandbox.result import Command, Execution

__all__ = ["IsolationError", "IsolationLevel", "Sandbox", "make_sandbox"]

_log = logging.getLogger(__name__)


class IsolationError(Exception):
    """The isolation that is wanted cannot be had; the message says why."""


class Sandbox(Protocol):
    """Runs commands, at some level of isolation."""

    @property
    def level(self) -> IsolationLevel:
        """How well commands are kept apart, as was proved when it was made."""
        ...

    @property
    def restarts(self) -> int:
        """How many processes were started in place of one that ended."""
        ...

    async def run(self, command: Command) -> Execution:
        """Run a command; whatever goes wrong is in the execution."""
        ...

    async def ready(self) -> bool:
        """Whether commands can be run."""
        ...

    async def close(self) -> None:
        """Leave no process behind."""
        ...


async def make_sandbox(
    root: DataRoot,
    limits: Limits,
    *,
    isolation: IsolationLevel | Literal["auto"],
    require: IsolationLevel,
    workers: int,
    memory_bytes: int,
) -> Sandbox:
    """
    Make the sandbox of the app. The caller closes it.

    "auto" is the strongest level that can be had here. Raises IsolationError when that is below
    `require`, or when a level that was asked for by name cannot be had.
    """
    sandbox, shortfall = await _strongest(root, limits, isolation, workers, memory_bytes)
    needed = require if isolation == "auto" else max(isolation, require, key=_strength)
    if not sandbox.level.reaches(needed):
        await sandbox.close()
        reason = shortfall or "it was not asked for"
        msg = f"isolation {needed} cannot be had, only {sandbox.level}: {reason}"
        raise IsolationError(msg)
    because = f" ({shortfall})" if shortfall else ""
    _log.info("isolation of the sandbox: %s%s", sandbox.level, because)
    return sandbox


async def _strongest(
    root: DataRoot,
    limits: Limits,
    isolation: IsolationLevel | Literal["auto"],
    workers: int,
    memory_bytes: int,
) -> tuple[Sandbox, str]:
    """Make the strongest sandbox up to the one asked for, and say why it is not stronger."""
    if isolation == IsolationLevel.PATHS:
        return InProcess(root, limits), ""
    wanted = IsolationLevel.LANDLOCK if isolation == "auto" else isolation
    try:
        pool = await WorkerPool.start(
            root, limits, wanted=wanted, workers=workers, memory_bytes=memory_bytes
        )
    except WorkerStartError as error:
        return InProcess(root, limits), str(error)
    return pool, pool.shortfall


def _strength(level: IsolationLevel) -> int:
    return list(IsolationLevel).index(level)
