"""What a scenario is made of, as a short text that differs when two machines hold another one."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.load.arrivals import Trace, seconds

if TYPE_CHECKING:
    from harness.load.user import AgentUser

_LENGTH = 16
# Their versions are compared, or do not matter.
_NOT_THE_USERS = {"harness", "locust", *sys.stdlib_module_names}


def fingerprints(users: Iterable[type[AgentUser]]) -> dict[str, str]:
    """
    Give a SHA-256 for each scenario class, by its name.

    It is of the source files that declare the class and those it inherits
    from, as far as they are no part of the harness or of Locust, of the questions in its
    deck, and of a trace that it plays. Where the files lie and how their lines end does not
    matter. A file that cannot be read counts as empty.
    """
    return {user.__name__: _fingerprint(user) for user in users}


def strangers(own: Mapping[str, str], other: Mapping[str, str]) -> tuple[str, ...]:
    """Name the scenarios that are there on both sides, but not the same."""
    return tuple(sorted(name for name in own.keys() & other.keys() if own[name] != other[name]))


def _fingerprint(user: type[AgentUser]) -> str:
    declared = [b for b in user.__mro__ if b.__module__.partition(".")[0] not in _NOT_THE_USERS]
    # Each file once, whatever number of the classes it declares.
    sources = dict.fromkeys(_source(base) for base in declared)
    asked = [] if user.questions is None else [(q.text, q.answer) for q in user.questions]
    digest = hashlib.sha256()
    for part in (*sources, repr(asked), repr(_played(user))):
        digest.update(hashlib.sha256(part.encode(errors="replace")).digest())
    return digest.hexdigest()[:_LENGTH]


def _played(user: type[AgentUser]) -> list[float]:
    """The instants that come from a file beside the scenario."""
    if not isinstance(user.arrivals, Trace):
        return []
    return list(user.arrivals.instants(seconds(user.arrivals.duration), 0))


def _source(declared: type) -> str:
    try:
        path = inspect.getsourcefile(declared)
        # Any line ending is read as one newline.
        return Path(path).read_text(encoding="utf-8", errors="replace") if path else ""
    except (OSError, TypeError):
        return ""
