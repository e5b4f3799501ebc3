"""
Whether scenario files can be run, asked before anything is made for a run.

`python -m harness.load.scenario_files FILE...` says what is wrong with the first
that cannot, and exits with 2. It is a process of its own, since Locust patches
the one it is imported in.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from harness.load.messages import say
from harness.load.user import AgentUser

from locust.util.load_locustfile import load_locustfile  # isort: skip - the first import patches


def problem_of(path: Path) -> str:
    """Say in one sentence why a scenario file cannot be run, and where; "" when it can."""
    try:
        classes, _ = load_locustfile(str(path))
    except Exception as error:  # noqa: BLE001 - whatever is written there
        return f"{path}{_line(path, error)}: {_words(error)}"
    users = [user for user in classes.values() if issubclass(user, AgentUser)]
    for user in users:
        if user.arrivals is None:
            return f"{path}: {user.__name__} declares no arrivals; add arrivals = Poisson(...)"
    if not users:
        return f"{path}: it declares no AgentUser"
    window = users[0].scenario() if len(users) == 1 else "mixed"
    if window != path.stem:
        names = ", ".join(user.__name__ for user in users)
        return (
            f"{path}: it declares {names}, so its window would be {window}; name file and class "
            "alike, one class a file"
        )
    return ""


def _line(path: Path, error: Exception) -> str:
    """Give the line of the file itself that raised, as ":12"; "" when none did."""
    if isinstance(error, SyntaxError):
        same = error.filename is not None and Path(error.filename).name == path.name
        return f":{error.lineno}" if same else ""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).name == path.name]
    return f":{lines[-1]}" if lines else ""


def _words(error: Exception) -> str:
    """Give the words that tell the mend; an error that was not meant for users says its kind."""
    if isinstance(error, ValueError) and not isinstance(error, UnicodeError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def main(paths: list[str]) -> int:
    """Ask each file, and stop at the first that cannot be run."""
    for path in map(Path, paths):
        if problem := problem_of(path):
            say(problem)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
