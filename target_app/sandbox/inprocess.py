"""The weakest isolation: commands in threads of the app itself, confined by their paths only."""

from __future__ import annotations

import asyncio

from target_app.sandbox.confine import IsolationLevel
from target_app.sandbox.output import Limits
from target_app.sandbox.paths import DataRoot
from target_app.sandbox.result import Command, Execution
from target_app.sandbox.run import not_run, run_command, timed_out

_WALKING = frozenset({"find", "grep", "tree"})


class InProcess:
    """Runs each command in a thread."""

    level = IsolationLevel.PATHS
    restarts = 0

    def __init__(self, root: DataRoot, limits: Limits) -> None:
        self._root = root
        self._limits = limits
        self._walking = asyncio.Lock()

    async def run(self, command: Command) -> Execution:
        """
        Run a command; whatever goes wrong is in the execution.

        Commands that walk over a tree take turns. Each hands the interpreter over at hundreds
        of system calls, and two of them in two threads take nearly three times the processor
        time that they take in turn.
        """
        if command.name not in _WALKING:
            return await self._run(command)
        try:
            async with asyncio.timeout(self._limits.timeout_seconds):
                await self._walking.acquire()
        except TimeoutError:
            reason = f"waited {self._limits.timeout_seconds:g} s for other searches"
            return not_run(timed_out(reason))
        try:
            return await self._run(command)
        finally:
            self._walking.release()

    async def _run(self, command: Command) -> Execution:
        return await asyncio.to_thread(run_command, self._root, command, self._limits)

    async def ready(self) -> bool:
        """Whether a command would be run: always."""
        return True

    async def close(self) -> None:
        """Do nothing: a thread ends with its command."""
