"""Commands about names: ls, find and tree."""

from __future__ import annotations

import fnmatch
import os
import re
from datetime import UTC, datetime
from typing import Literal

from target_app.sandbox.commands.opened import folder, present
from target_app.sandbox.output import CommandFailedError, Output, printable
from target_app.sandbox.paths import MAX_DEPTH, Opened, walk


def ls(opened: Opened, output: Output, *, hidden: bool = False, details: bool = False) -> None:
    """List a folder, one name a line, folders marked by a slash and links by an at sign."""
    fd, _ = present(opened)
    if not opened.is_directory:
        output.line(printable(opened.path))
        return
    for found in walk(fd, opened.path, depth=1, left_out=output.pass_over):
        output.check()
        entry = found.entry
        if entry.name.startswith(".") and not hidden:
            continue
        if not details:
            output.line(_marked(entry))
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        output.line(f"{status.st_size:>12}  {when(status)}  {_marked(entry)}")


def find(
    opened: Opened,
    output: Output,
    *,
    name_pattern: str = "*",
    kind: Literal["f", "d"] | None = None,
) -> None:
    """List the paths whose last name fits a shell pattern; no path is an answer too."""
    fd, _ = present(opened)
    try:
        matches = re.compile(fnmatch.translate(name_pattern)).match
    except re.error as error:
        msg = f"bad name pattern: {error}"
        raise CommandFailedError(msg) from None
    if not opened.is_directory:
        if kind != "d" and matches(opened.path.rpartition("/")[2]):
            output.line(printable(opened.path))
        return
    for found in walk(fd, opened.path, left_out=output.pass_over):
        output.check()
        entry = found.entry
        if kind == "f" and not entry.is_file(follow_symlinks=False):
            continue
        if kind == "d" and not entry.is_dir(follow_symlinks=False):
            continue
        if matches(entry.name):
            output.line(printable(found.path))


def tree(opened: Opened, output: Output, *, max_depth: int = 3) -> None:
    """Show a folder and what is beneath it, each level indented by two more blanks."""
    fd = folder(opened)
    folders = others = 0
    levels_above = 0 if opened.path == "." else opened.path.count("/") + 1
    output.line(f"{printable(opened.path)}/")
    depth = min(max_depth, MAX_DEPTH)
    for found in walk(fd, opened.path, depth=depth, left_out=output.pass_over):
        output.check()
        if found.entry.is_dir(follow_symlinks=False):
            folders += 1
        else:
            others += 1
        indent = "  " * (found.path.count("/") - levels_above + 1)
        output.line(indent + _marked(found.entry))
    output.remark(f"{_number(folders, 'folder')}, {_number(others, 'file')}")


def when(status: os.stat_result) -> str:
    """Show the time of the last change, in UTC, to the minute."""
    try:
        changed = datetime.fromtimestamp(status.st_mtime, tz=UTC)
    except (ValueError, OverflowError, OSError):
        return "????-??-?? ??:??"
    return f"{changed:%Y-%m-%d %H:%M}"


def _marked(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return f"{printable(entry.name)}@"
    if entry.is_dir(follow_symlinks=False):
        return f"{printable(entry.name)}/"
    return printable(entry.name)


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
