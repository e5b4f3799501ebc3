"""
Folders as they were when last looked at, in memory: a Merkle tree of digests.

A folder keeps one digest over the names of its files and one over their stamps, not the stamps
themselves, so a tree of many files is small. A change makes one folder be listed again, and the
digests of those above it be put together again.
"""

from __future__ import annotations

import errno
import heapq
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field

from target_app.cache.inotify import Inotify
from target_app.cache.state import State, digest
from target_app.sandbox.paths import MAX_DEPTH, stamp

DEEPEST = 2 * MAX_DEPTH
"""A tool goes MAX_DEPTH folders down from where it starts; further down nothing is tracked."""

_SORTED_AT_ONCE = 10_000
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY


class TooLargeError(Exception):
    """More entries, or deeper folders, than may be kept track of."""


class SeenTwiceError(Exception):
    """A folder has two places: it was moved just now, or it is mounted in both."""


class UntrustedError(Exception):
    """Not every change is reported here; the message says why."""


@dataclass(slots=True, eq=False)
class Folder:
    """
    What is remembered of one folder.

    `shallow` is the state of its own entries, `deep` of everything beneath; None when it must be
    found out. `watch` is -1 while nobody reports changes. `own` is the stamp of the folder itself,
    `names` and `contents` are digests of its entries that are not folders.
    """

    parent: Folder | None
    depth: int
    watch: int = -1
    own: str = ""
    names: bytes = b""
    contents: bytes = b""
    newest_change_ns: int = 0
    own_change_ns: int = 0
    entries: int = 0
    is_stamped: bool = False
    is_listed: bool = False
    shallow: State | None = None
    deep: State | None = None
    folders: dict[str, Folder] = field(default_factory=dict)

    def spoil(self) -> None:
        """Have it looked at again, and put together again all that was made of it."""
        if not self.is_stamped:
            # It is spoiled already: nothing was made of it since. A busy folder has many reports.
            return
        self.is_stamped = self.is_listed = False
        self.shallow = self.deep = None
        above = self.parent
        if above is not None:
            above.shallow = None
        # Above a folder without a state there are only folders without one.
        while above is not None and above.deep is not None:
            above.deep = None
            above = above.parent


class Folders:
    """
    The folders beneath one root. Not for use by two threads at once.

    With `inotify` they are watched before they are looked at, and `spoil` or `drop` must be called
    for what it reports. Without, the folders are good for one look.
    """

    def __init__(self, inotify: Inotify | None, max_entries: int) -> None:
        """Know nothing yet; at most `max_entries` entries are kept track of."""
        self.root = Folder(None, 0)
        self.watched: dict[int, Folder] = {}
        self._inotify = inotify
        self._max_entries = max_entries
        self._entries = 0
        self._device: int | None = None
        self._dropped: list[Folder] = []
        self._doubtful: list[Folder] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing was looked at yet."""
        return self._entries == 0

    def known(self, path: str, *, deep: bool) -> State | None:
        """Answer the state that is known of a folder, None when it must be looked at."""
        folder = self.root
        if path != ".":
            for name in path.split("/"):
                inner = folder.folders.get(name)
                if inner is None or folder.watch < 0:
                    return None
                folder = inner
        if folder.watch < 0:
            return None
        return folder.deep if deep else folder.shallow

    def look(self, root_fd: int, path: str, *, deep: bool) -> State:
        """
        Find out the state of a folder, looking only at what is not known.

        Raises OSError when a folder cannot be read, and the errors of this module.
        """
        folder = self.root
        fd = os.dup(root_fd)
        try:
            for name in () if path == "." else path.split("/"):
                self._stamp(folder, fd)
                inner_fd = os.open(name, _FLAGS, dir_fd=fd)
                os.close(fd)
                fd = inner_fd
                folder = folder.folders.setdefault(name, Folder(folder, folder.depth + 1))
            return self._deep(folder, fd) if deep else self._shallow(folder, fd)
        finally:
            os.close(fd)

    def drop(self, folder: Folder, name: str) -> None:
        """Take what goes by a name for another thing from now on."""
        inner = folder.folders.pop(name, None)
        if inner is not None:
            self._dropped.append(inner)

    def bury(self) -> None:
        """Take the watches from the folders that were dropped."""
        while self._dropped:
            folder = self._dropped.pop()
            self._dropped.extend(folder.folders.values())
            self._entries -= folder.entries
            if self.watched.get(folder.watch) is folder:
                self._forget(folder)

    def spoil_doubtful(self) -> None:
        """Have the folders looked at again in which something can change without a report."""
        while self._doubtful:
            self._doubtful.pop().spoil()

    def _deep(self, folder: Folder, fd: int) -> State:
        if folder.deep is not None:
            return folder.deep
        if folder.depth > DEEPEST:
            raise TooLargeError
        self._list(folder, fd)
        inner = []
        for name in _in_order(folder.folders):
            state = self._inner(folder, name, fd, deep=True)
            if state is not None:
                inner.append((name, state))
        structure = [folder.own, folder.names.hex()]
        contents = [folder.contents.hex()]
        for name, state in inner:
            structure += (name, state.structure.hex())
            contents.append(state.contents.hex())
        newest = (folder.newest_change_ns, folder.own_change_ns)
        folder.deep = State(
            digest(structure),
            digest(contents),
            max(*newest, *(state.newest_change_ns for _, state in inner)),
            folder.own,
        )
        return folder.deep

    def _shallow(self, folder: Folder, fd: int) -> State:
        if folder.shallow is not None:
            return folder.shallow
        self._list(folder, fd)
        structure = [folder.own, folder.names.hex()]
        newest_ns = max(folder.newest_change_ns, folder.own_change_ns)
        for name in _in_order(folder.folders):
            # What happens in a folder shows in its own times, without a report to the one above.
            self._inner(folder, name, fd, deep=False)
            inner = folder.folders.get(name)
            if inner is not None:
                structure += (name, inner.own)
                newest_ns = max(newest_ns, inner.own_change_ns)
        contents = digest((folder.contents.hex(),))
        folder.shallow = State(digest(structure), contents, newest_ns, folder.own)
        return folder.shallow

    def _inner(self, folder: Folder, name: str, fd: int, *, deep: bool) -> State | None:
        """Look at a folder in a folder, unless all is known. None also when it has gone."""
        inner = folder.folders[name]
        if inner.deep is not None or (inner.is_stamped and not deep):
            return inner.deep
        try:
            inner_fd = os.open(name, _FLAGS, dir_fd=fd)
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
                raise
            # Its going is reported, or shows in the times of its folder at the next look.
            self.drop(folder, name)
            return None
        try:
            if deep:
                return self._deep(inner, inner_fd)
            self._stamp(inner, inner_fd)
        finally:
            os.close(inner_fd)
        return None

    def _stamp(self, folder: Folder, fd: int) -> None:
        """Watch a folder and look at it, but not into it."""
        if folder.is_stamped:
            return
        self._watch(folder, fd)
        status = os.fstat(fd)
        if self._device is None:
            self._device = status.st_dev
        if self._inotify is not None and status.st_dev != self._device:
            msg = "another file system is mounted beneath the data root"
            raise UntrustedError(msg)
        folder.own = stamp(status)
        folder.own_change_ns = status.st_ctime_ns
        folder.is_stamped = True

    def _list(self, folder: Folder, fd: int) -> None:
        """Look at a folder and at its entries."""
        self._stamp(folder, fd)
        if folder.is_listed:
            return
        self._entries -= folder.entries
        folder.entries = 0
        names: set[str] = set()
        stamps: dict[str, str] = {}
        newest_ns = 0
        doubtful = False
        with os.scandir(fd) as listing:
            for entry in listing:
                folder.entries += 1
                self._entries += 1
                if self._entries > self._max_entries:
                    raise TooLargeError
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    # Gone since it was listed, which shows as its folder's does above.
                    continue
                if stat.S_ISDIR(status.st_mode):
                    names.add(entry.name)
                    continue
                stamps[entry.name] = stamp(status)
                newest_ns = max(newest_ns, status.st_ctime_ns)
                # A write by its other name is reported to the folder of that name only.
                doubtful |= status.st_nlink > 1
        for name in folder.folders.keys() - names:
            self.drop(folder, name)
        for name in names - folder.folders.keys():
            folder.folders[name] = Folder(folder, folder.depth + 1)
        order = _in_order(stamps)
        folder.names = digest(order)
        folder.contents = digest([stamps[name] for name in order])
        folder.newest_change_ns = newest_ns
        folder.is_listed = True
        if doubtful:
            self._doubtful.append(folder)

    def _watch(self, folder: Folder, fd: int) -> None:
        if self._inotify is None:
            return
        try:
            watch = self._inotify.watch(fd)
        except PermissionError:
            raise
        except OSError as error:
            msg = f"no more folders can be watched ({error.strerror})"
            raise UntrustedError(msg) from None
        if self.watched.get(watch, folder) is not folder:
            raise SeenTwiceError
        if watch != folder.watch and self.watched.get(folder.watch) is folder:
            self._forget(folder)
        folder.watch = watch
        self.watched[watch] = folder

    def _forget(self, folder: Folder) -> None:
        del self.watched[folder.watch]
        if self._inotify is not None:
            self._inotify.forget(folder.watch)
        folder.watch = -1


def _in_order(names: Iterable[str]) -> list[str]:
    """Sort names. A sort holds up all other threads until it is done, so many are not one sort."""
    listed = list(names)
    if len(listed) <= _SORTED_AT_ONCE:
        return sorted(listed)
    starts = range(0, len(listed), _SORTED_AT_ONCE)
    return list(
        heapq.merge(*(sorted(listed[start : start + _SORTED_AT_ONCE]) for start in starts))
    )
