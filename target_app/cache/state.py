"""
The state of files and trees: what must be unchanged for a remembered result to be true.

Size and modification time alone can be forged or repeated, so the change time, the inode and the
mode are compared too. A state is always taken before the files are read, and again after: a
change during the read then differs from it.

What no comparison of times can see: a write into a page of a shared mapping that was written to
before, and a single write call that goes on for longer than it takes a state to settle.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from target_app.sandbox.paths import Opened

SETTLED_AFTER_NS = 20_000_000
"""Two changes within one tick of the file system's clock can carry the same time (ns)."""

COARSE_SETTLED_AFTER_NS = 2_020_000_000
"""The same where times are kept in whole seconds, or in every other one (ns)."""

_SECOND_NS = 1_000_000_000


class Change(StrEnum):
    """Why a remembered result is no longer true."""

    FILE = "file_change"
    DIRECTORY = "directory_change"
    EXPIRED = "ttl_expired"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class State:
    """
    The state of a scope: which paths there are, and which contents they have.

    `newest_change_ns` is the latest change time in the scope, 0 when nothing is there. `own` is
    the stamp of the file or folder that the path led to, "absent" when nothing is there.
    """

    structure: bytes
    contents: bytes
    newest_change_ns: int
    own: str = ""

    def change_to(self, now: State) -> Change | None:
        """Name what is different now; None when nothing is."""
        if self.structure != now.structure:
            return Change.DIRECTORY
        if self.contents != now.contents:
            return Change.FILE
        return None

    def is_settled(self, now_ns: int) -> bool:
        """Whether any later change is certain to be seen as a different time."""
        coarse = self.newest_change_ns % _SECOND_NS == 0
        wait_ns = COARSE_SETTLED_AFTER_NS if coarse else SETTLED_AFTER_NS
        return now_ns - self.newest_change_ns >= wait_ns


def file_state(opened: Opened) -> State:
    """Take the state of one path: its own, not that of what it may hold. Costs no system call."""
    own = opened.stamp
    if opened.status is None:
        return State(b"absent", b"", 0, own)
    kind = b"directory" if opened.is_directory else b"file"
    return State(kind, own.encode(), opened.status.st_ctime_ns, own)


def digest(parts: Iterable[str]) -> bytes:
    """Answer 32 bytes for a sequence of names and stamps; neither can hold a NUL."""
    return hashlib.blake2b(os.fsencode("\0".join(parts)), digest_size=32).digest()
