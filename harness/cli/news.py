"""What a load says of itself while it is under way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

_OWN = "harness: "


class News:
    """Passes on each sentence of a load's log that is meant for its user, once."""

    def __init__(self, log: Path, say: Callable[[str], None]) -> None:
        """Begin at the end of what stands there by now."""
        self._log = log
        self._say = say
        self._read = log.stat().st_size
        self._told: set[str] = set()

    def pass_on(self) -> None:
        """Say what came since the last time; a line that is not yet whole is left for the next."""
        with self._log.open("rb") as file:
            file.seek(self._read)
            lines, _, _ = file.read().rpartition(b"\n")
        self._read += len(lines) + bool(lines)
        for line in lines.decode(errors="replace").splitlines():
            if line.startswith(_OWN):
                self.tell(line.removeprefix(_OWN))

    def tell(self, sentence: str) -> None:
        """Say this, unless it was said before."""
        if sentence not in self._told:
            self._told.add(sentence)
            self._say(sentence)
