"""
The commands of the sandbox, in pure Python: no process is ever started for one.

Each takes what `DataRoot.open` authorised and writes into an `Output`, which stops it at the
output limit and at the deadline. Commands block, so they run in threads or in a worker process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from target_app.sandbox.commands.listing import find, ls, tree
from target_app.sandbox.commands.reading import cat, head, preview, tail, wc
from target_app.sandbox.commands.searching import grep, scan
from target_app.sandbox.commands.smart_read import smart_read
from target_app.sandbox.output import Limits, Output

__all__ = ["COMMANDS", "COMMANDS_VERSION", "SEARCHES", "Limits", "Output"]

COMMANDS_VERSION = 1
"""To be raised when a command says something else of the same files: answers are kept on disk."""

COMMANDS: Mapping[str, Callable[..., None]] = MappingProxyType(
    {
        "ls": ls,
        "find": find,
        "grep": grep,
        "cat": cat,
        "head": head,
        "tail": tail,
        "tree": tree,
        "wc": wc,
        "preview": preview,
        "smart_read": smart_read,
        "scan": scan,
    }
)
"""Every command by its name: a function of the opened path, the output and its options."""

SEARCHES = frozenset({"find", "grep"})
"""The commands for which writing nothing means that nothing was found."""
