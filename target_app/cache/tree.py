"""
The state of any folder beneath the data root, at the price of a few system calls.

Where inotify can be trusted, folders are watched and only those where something happened are
looked at again: the answer is exact. Two kinds of change escape inotify. A write into a shared
mapping is seen only once the file is closed. And a hard link made outside the tree to a file in
it goes unseen, as do writes by its name, until the folder is looked at again; files that have
several names already are looked at every time. A result of a search is kept for a limited time
anyway (CACHE_SEARCH_TTL), which bounds both.

Elsewhere, on a network file system for one, the folders are walked, and what was found is good
for `max_age_seconds`: so much older than the files an answer can be.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from target_app.cache.folders import Folders, SeenTwiceError, TooLargeError, UntrustedError
from target_app.cache.inotify import FORGOTTEN, NAMES, OVERFLOWED, UNMOUNTED, Event, Inotify
from target_app.cache.state import State
from target_app.cache.trust import MOUNTS, is_reporting
from target_app.sandbox.paths import DataRoot

logger = logging.getLogger(__name__)

MAX_ENTRIES = 200_000
"""Files and folders kept track of. A scope that holds more is not, and its results not cached."""

TOO_LARGE_SECONDS = 60.0
"""How long a scope that held too much is taken to hold it still."""

HEARD_AT_ONCE_BYTES = 16_384
"""Reports that a peek listens to, on the event loop: about a millisecond of them."""

QUEUED_BYTES = 8 * 1024 * 1024
"""Reports beyond which it is quicker to look at everything again."""

_ATTEMPTS = 5
_MAX_WALKS = 256
_FOLDER = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY


class TreeStates:
    """
    Knows the state of folders beneath one data root. Any thread may ask.

    A scope is a path as `Opened.path` has it; `deep` asks for everything beneath it, otherwise it
    is about the folder's own entries.
    """

    def __init__(
        self,
        root: DataRoot,
        *,
        max_age_seconds: float,
        inotify: bool = True,
        max_entries: int = MAX_ENTRIES,
    ) -> None:
        """
        Watch nothing yet. Raises OSError when the data root is gone.

        `max_age_seconds` matters only where inotify is not trusted, or not wanted.
        """
        self._root = root
        self._max_age_seconds = max_age_seconds
        self._max_entries = max_entries
        self._lock = threading.Lock()
        self._watching: _Watching | None = None
        self._walks: OrderedDict[tuple[str, bool], tuple[float, State]] = OrderedDict()
        self._too_large: OrderedDict[tuple[str, bool], float] = OrderedDict()
        self._closed = False
        if not inotify:
            self._distrust("inotify is turned off")
        elif not is_reporting(root.path):
            self._distrust("the file system of the data root does not report every change")
        else:
            try:
                self._watch_anew()
            except UntrustedError as error:
                self._distrust(str(error))

    @property
    def exact(self) -> bool:
        """Whether inotify is trusted, so that a state is never older than the question for it."""
        return self._watching is not None

    @property
    def max_staleness_seconds(self) -> float:
        """How old a state may be: 0 where inotify is trusted, for all that it sees."""
        return 0.0 if self.exact else self._max_age_seconds

    def peek(self, path: str, *, deep: bool) -> State | None:
        """
        Answer a state that is known, within microseconds; None when there is work to do.

        Never waits: it answers None while another thread is looking at files, and when so much
        was reported that hearing all of it would take long.
        """
        if not self._lock.acquire(blocking=False):
            return None
        try:
            if self._watching is None:
                return self._walked(path, deep=deep)
            if self._watching.is_current(self._root, HEARD_AT_ONCE_BYTES):
                return self._watching.folders.known(path, deep=deep)
        except OSError:
            # The root is gone.
            return None
        else:
            return None
        finally:
            self._lock.release()

    def take(self, path: str, *, deep: bool) -> State | None:
        """
        Find out a state, looking at the files that must be looked at.

        Blocks, so it wants a thread. None when the scope cannot be kept track of: it is not a
        folder, holds too much, or something in it cannot be read.
        """
        with self._lock:
            key = (path, deep)
            if self._closed or self._is_too_large(key):
                return None
            try:
                if self._watching is not None:
                    try:
                        return self._watched(self._watching, path, deep=deep)
                    except UntrustedError as error:
                        self._distrust(str(error))
                return self._walked(path, deep=deep) or self._walk(path, deep=deep)
            except TooLargeError:
                self._too_large[key] = time.monotonic() + TOO_LARGE_SECONDS
                _shorten(self._too_large)
                return None
            except (OSError, ValueError):
                return None

    def close(self) -> None:
        """Stop watching. From then on there are no states."""
        with self._lock:
            self._closed = True
            self._walks.clear()
            if self._watching is not None:
                self._watching.close()
                self._watching = None

    def _distrust(self, reason: str) -> None:
        if self._watching is not None:
            self._watching.close()
            self._watching = None
        logger.warning(
            "files are looked at for each search, at most every %g s: %s",
            self._max_age_seconds,
            reason,
        )

    def _watched(self, watching: _Watching, path: str, *, deep: bool) -> State:
        """Look at what changed. Raises OSError, TooLargeError and UntrustedError."""
        for _ in range(_ATTEMPTS):
            if not watching.is_current(self._root, QUEUED_BYTES):
                watching = self._watch_anew()
            watching.folders.bury()
            begun_empty = watching.folders.is_empty
            try:
                with _opened(self._root) as root_fd:
                    return watching.folders.look(root_fd, path, deep=deep)
            except SeenTwiceError:
                # Moved while it was looked at: its leaving is reported by now.
                continue
            except TooLargeError:
                # Perhaps not this scope but all scopes together: then once more, it alone.
                watching = self._watch_anew()
                if begun_empty:
                    raise
        msg = "a folder is in several places beneath the data root"
        raise UntrustedError(msg)

    def _watch_anew(self) -> _Watching:
        # First, for should the root be gone, then it is to be watched once it is back.
        identity = self._root.identity()
        if self._watching is not None:
            self._watching.close()
            self._watching = None
        try:
            self._watching = _Watching(identity, self._max_entries)
        except OSError as error:
            msg = f"inotify cannot be used: {error.strerror}"
            raise UntrustedError(msg) from None
        return self._watching

    def _walk(self, path: str, *, deep: bool) -> State:
        begun = time.monotonic()
        with _opened(self._root) as root_fd:
            state = Folders(None, self._max_entries).look(root_fd, path, deep=deep)
        self._walks[path, deep] = (begun, state)
        self._walks.move_to_end((path, deep))
        _shorten(self._walks)
        return state

    def _walked(self, path: str, *, deep: bool) -> State | None:
        begun, state = self._walks.get((path, deep), (0.0, None))
        return state if time.monotonic() - begun < self._max_age_seconds else None

    def _is_too_large(self, key: tuple[str, bool]) -> bool:
        return time.monotonic() < self._too_large.get(key, 0.0)


class _Watching:
    """Folders, and what inotify and the list of mounts report of them."""

    def __init__(self, root_identity: tuple[int, int], max_entries: int) -> None:
        """Begin with no folder. Raises OSError when nothing can be watched."""
        self._root_identity = root_identity
        self._mounts = os.open(MOUNTS, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._inotify = Inotify()
        except OSError:
            os.close(self._mounts)
            raise
        self._ready = select.poll()
        self._ready.register(self._inotify.fd, select.POLLIN)
        self._ready.register(self._mounts, select.POLLPRI)
        self._lost = False
        self.folders = Folders(self._inotify, max_entries)

    def close(self) -> None:
        """Close both descriptors."""
        self._inotify.close()
        os.close(self._mounts)

    def is_current(self, root: DataRoot, most_bytes: int) -> bool:
        """
        Hear all that was reported until now; False when it is not enough to go on.

        False too when there is more to hear than `most_bytes`, and then nothing is heard. Raises
        OSError when the data root is gone.
        """
        self._lost |= root.identity() != self._root_identity
        for fd, _ in self._ready.poll(0):
            if fd == self._mounts:
                self._lost = True
            elif not self._hear(most_bytes):
                return False
        self.folders.spoil_doubtful()
        return not self._lost

    def _hear(self, most_bytes: int) -> bool:
        # What is reported from now on is left for the next time: a busy writer never stops.
        queued = self._inotify.queued_bytes()
        if queued > most_bytes:
            return False
        for event in self._inotify.read(queued):
            self._hear_of(event)
        return True

    def _hear_of(self, event: Event) -> None:
        if event.mask & (OVERFLOWED | UNMOUNTED):
            self._lost = True
            return
        folder = self.folders.watched.get(event.watch)
        if folder is None:
            return
        folder.spoil()
        if event.mask & FORGOTTEN:
            del self.folders.watched[event.watch]
            folder.watch = -1
            self._lost |= folder is self.folders.root
        elif event.mask & NAMES:
            self.folders.drop(folder, event.name)


@contextlib.contextmanager
def _opened(root: DataRoot) -> Iterator[int]:
    fd = os.open(root.path, _FOLDER)
    try:
        yield fd
    finally:
        os.close(fd)


def _shorten(kept: OrderedDict[tuple[str, bool], Any]) -> None:
    while len(kept) > _MAX_WALKS:
        kept.popitem(last=False)
