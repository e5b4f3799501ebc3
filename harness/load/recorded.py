"""Recorded arrival times, read from a file of text, CSV or JSON lines."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from csv import DictReader
from csv import Error as CsvError
from datetime import UTC, datetime
from pathlib import Path

from harness.load.declared_files import cannot_be_read


def recorded_instants(path: Path, column: str) -> Iterator[float]:
    """Read instants in seconds; raises ValueError that names file and line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for line, value in _values(path, file, column):
                try:
                    yield _instant(value)
                except (ValueError, OverflowError) as error:
                    raise ValueError(
                        f"{path}:{line}: {value!r} is not an instant; write seconds, such as "
                        "12.5, or ISO 8601, such as 2026-09-21T10:00:00Z"
                    ) from error
    except OSError as error:
        raise ValueError(cannot_be_read(path, error)) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not text in UTF-8; save it as that") from error


def _values(path: Path, file: Iterable[str], column: str) -> Iterator[tuple[int, object]]:
    """Give what stands for each arrival, with the number of its line."""
    if path.suffix.lower() == ".csv":
        rows = DictReader(file, strict=True)
        try:
            if column not in (rows.fieldnames or ()):
                raise ValueError(
                    f"{path}:1: no column is named {column!r}; say which one with column="
                )
            for row in rows:
                yield rows.line_num, row[column]
        except CsvError as error:
            raise ValueError(f"{path}:{rows.reader.line_num}: not CSV: {error}") from error
        return
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        if path.suffix.lower() != ".jsonl":
            yield number, line.strip()
            continue
        try:
            yield number, json.loads(line)[column]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise ValueError(
                f"{path}:{number}: give a JSON object with the field {column!r}"
            ) from error


def _instant(value: object) -> float:
    """Read seconds or ISO 8601; raises ValueError or OverflowError when it is neither."""
    text = "" if isinstance(value, bool) else str(value)
    try:
        at = float(text)
    except ValueError:
        read = datetime.fromisoformat(text)
        at = (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(at):
        raise ValueError(value)
    return at
