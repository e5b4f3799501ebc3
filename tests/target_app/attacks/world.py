"""
The documents under attack and the secrets around them.

Every secret holds the word CANARY, and nothing else does: where it is seen, something got out.
"""

from __future__ import annotations

import hashlib
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

CANARY = "canary-5e1f"
LONG_LINES = 3000
HASHED_BYTES = 65_536

Snapshot = dict[str, tuple[object, ...]]
"""What is at every path: what the file system says of it, and what it holds."""


@dataclass(frozen=True, slots=True)
class World:
    """
    A data root in a folder of its own.

    Beside the root is a secret that `..` reaches; `elsewhere` is a folder that only an absolute
    path or a link reaches. `state` is where the app may write for itself. `crowded` folders of the
    root are looked at only from outside.
    """

    folder: Path
    elsewhere: Path
    state: Path
    crowded: tuple[str, ...] = ()

    @property
    def root(self) -> Path:
        return self.folder / "documents"

    def holds_a_secret(self) -> list[Path]:
        """Find what the app wrote down for itself that has a secret in it."""
        files = [path for path in self.state.rglob("*") if path.is_file()]
        return [path for path in files if CANARY.encode() in path.read_bytes()]

    def snapshot(self) -> Snapshot:
        """Look at everything in the root, beside it and elsewhere."""
        crowded = {str(self.root / name) for name in self.crowded}
        return {
            path: _look(path)
            for top in (self.folder, self.elsewhere)
            for path in _beneath(str(top), crowded)
        }


def make_world(make_folder: Callable[[str], Path]) -> World:
    """Make the folders, the documents and the secrets."""
    world = World(make_folder("siege"), make_folder("elsewhere"), make_folder("state"))
    (world.folder / "secret.txt").write_text(f"{CANARY}-beside\n")
    (world.folder / "shared.txt").write_text("shared on purpose\n")
    (world.elsewhere / "secret.txt").write_text(f"{CANARY}-elsewhere\n")
    (world.elsewhere / "inner").mkdir()
    (world.elsewhere / "inner" / "secret.txt").write_text(f"{CANARY}-inner\n")
    world.root.mkdir()
    for name, text in DOCUMENTS.items():
        place = world.root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    (world.root / "teams" / "hard.txt").hardlink_to(world.folder / "shared.txt")
    _make_links(world)
    _make_pipes(world.root)
    with suppress(OSError):
        Path(os.fsdecode(os.fsencode(world.root) + b"/odd/not-\xff-utf8.txt")).write_text("odd\n")
    return world


DOCUMENTS = {
    "readme.md": "alpha\nbeta\ngamma\n",
    "teams/blue.txt": "Blue keeps alpha running\n",
    "teams/red.txt": "Red ships beta\n",
    "long.txt": "".join(f"line {number} of many\n" for number in range(LONG_LINES)),
    "bomb.txt": "a" * 29 + "!\n",
    "empty.txt": "",
    # Names that a shell, a glob or an option parser would take for something else.
    "-delete": "a file that is called -delete\n",
    "--files0-from=-": "a file that is called --files0-from=-\n",
    "x*/inside.txt": "inside the folder x*\n",
    "odd/new\nline.txt": "a line break in the name\n",
    "odd/\x1b[31mred.txt": "an escape sequence in the name\n",
    "odd/%s{0}${HOME}`id`.txt": "a template in the name\n",
    "odd/caf\u00e9.txt": "composed\n",
    "odd/cafe\u0301.txt": "decomposed\n",
    "odd/\u202etxt.exe": "a right-to-left override in the name\n",
    "odd/back\\slash.txt": "a backslash in the name\n",
    "\uff0e\uff0e/secret.txt": "full-width dots are a name like any other\n",
    f"odd/{'a' * 250}": "a name that makes a pattern of many stars try hard\n",
    "pipes/beside.txt": "alpha beside a pipe\n",
}


def _make_links(world: World) -> None:
    links = world.root / "links"
    links.mkdir()
    for name, target in {
        "out-file": "../../secret.txt",
        "out-absolute": str(world.elsewhere / "secret.txt"),
        "out-folder": str(world.elsewhere),
        "up": "../..",
        "to-slash": "/",
        "to-root": str(world.root),
        "proc": "/proc/self",
        "environment": "/proc/self/environ",
        "stdin": "/dev/stdin",
        "chain-1": "chain-2",
        "chain-2": "chain-3",
        "chain-3": "../../secret.txt",
        "loop": "loop",
        "inner": "../readme.md",
        "inner-folder": "../teams",
        "dangling-out": "../../nowhere",
        "beside-by-prefix": "../../documents-of-others",
    }.items():
        (links / name).symlink_to(target)
    others = world.folder / "documents-of-others"
    others.mkdir()
    (others / "secret.txt").write_text(f"{CANARY}-others\n")
    (world.root / "teams" / "way").symlink_to(world.elsewhere)


def _make_pipes(root: Path) -> None:
    os.mkfifo(root / "pipes" / "queue")
    with socket.socket(socket.AF_UNIX) as listening:
        # The address of a socket has little room; by its folder's descriptor it always fits.
        folder = os.open(root / "pipes", os.O_RDONLY)
        try:
            listening.bind(f"/proc/self/fd/{folder}/socket")
        finally:
            os.close(folder)
    with suppress(PermissionError):
        os.mknod(root / "pipes" / "zeros", stat.S_IFCHR | 0o666, os.makedev(1, 5))


def _beneath(top: str, closed: set[str]) -> Iterator[str]:
    folders = [top]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                yield entry.path
                if entry.is_dir(follow_symlinks=False) and entry.path not in closed:
                    folders.append(entry.path)


def _held(path: str) -> bytes:
    """Digest the beginning of a file."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return hashlib.blake2b(os.read(fd, HASHED_BYTES)).digest()
    finally:
        os.close(fd)


def _look(path: str) -> tuple[object, ...]:
    status = os.lstat(path)
    seen = (status.st_ino, status.st_mode, status.st_uid)
    if stat.S_ISLNK(status.st_mode):
        return (*seen, Path(path).readlink())
    if stat.S_ISREG(status.st_mode):
        dates = (status.st_mtime_ns, status.st_ctime_ns)
        return (*seen, *dates, status.st_nlink, status.st_size, _held(path))
    # A folder is what it holds; its dates also tell of drafts that came and went.
    return seen
