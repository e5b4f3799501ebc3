"""Files that a scenario names: what is said when one cannot be read."""

from __future__ import annotations

from pathlib import Path


def cannot_be_read(path: Path, error: OSError) -> str:
    """Say why a file that a scenario names cannot be read, and the mend."""
    why = f"{path}: cannot be read: {error.strerror}"
    if path.is_absolute():
        return why
    return f"{why} in {Path.cwd()}; write Path(__file__).with_name({path.name!r}) in a scenario"
