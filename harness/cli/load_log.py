"""What the log of a load says to whoever started it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

LOCUSTS_PORT = 5557  # where a worker looks for its master if nothing else is said

_OWN = "harness: "
_WRONG = ("ERROR", "CRITICAL")
_LOGGED = re.compile(r"\[[^\]]+\] \S+/(?P<level>[A-Z]+)/\S+: (?P<words>.+)")
_RAISED = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Exit|Warning|Interrupt)(?:: .*)?")
_WAITING = re.compile(r"/harness\.load: waiting for (\d+) of (\d+) load processes")


def own_words(log: str) -> str:
    """
    Give the sentence that tells why a load ended.

    It is the last one that the harness itself said there; else the last error
    or exception; else the last thing that was logged. Never a line of Locust's tables.
    "" when there is none.
    """
    own, wrong, logged = [""], [""], [""]
    for line in log.splitlines():
        if line.startswith(_OWN):
            own.append(line.removeprefix(_OWN))
        elif found := _LOGGED.fullmatch(line):
            (wrong if found["level"] in _WRONG else logged).append(found["words"])
        elif _RAISED.fullmatch(line):
            wrong.append(line)
    return own[-1] or wrong[-1] or logged[-1]


def waiting(log: str, folder: Path, port: int) -> str:
    """
    Say how many load processes a master waits for, and how to start them; "" if for none.

    They are started on other machines, which hold the same `folder` of scenarios.
    """
    found = _WAITING.search(log)
    if not found:
        return ""
    missing, expected = int(found[1]), int(found[2])
    noun = "process" if expected == 1 else "processes"
    them = "it" if missing == 1 else "them"
    of = f" of {expected}" if missing < expected else ""
    elsewhere = "" if port == LOCUSTS_PORT else f" --master-port {port}"
    return (
        f"waiting for {missing}{of} load {noun} at port {port}; start {them} with: "
        f"locust -f {shlex.quote(str(folder))} --worker --master-host THIS_MACHINE{elsewhere}"
    )
