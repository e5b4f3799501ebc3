"""
Every arrival as a row of one SQLite table; one transaction per batch.

A span sent twice is two rows, as on a real server until its database merges them. Whoever reads
must tell them apart by trace and id.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.stack.langfuse.rows import Row

NEWEST_FIRST = '"startTime" DESC, "traceId" DESC, "id" DESC, "arrival" DESC'
"""The order of every answer: by start, then by ids so that pages never overlap."""

FILTERABLE: Mapping[str, str] = {
    "id": "TEXT",
    "traceId": "TEXT",
    "parentObservationId": "TEXT",
    "isRootObservation": "INTEGER",
    "type": "TEXT",
    "name": "TEXT",
    "level": "TEXT",
    "statusMessage": "TEXT",
    "version": "TEXT",
    "release": "TEXT",
    "environment": "TEXT",
    "userId": "TEXT",
    "sessionId": "TEXT",
    "traceName": "TEXT",
    "tags": "TEXT",
    "metadata": "TEXT",
    "model": "TEXT",
    "promptName": "TEXT",
    "promptVersion": "INTEGER",
    "latency": "REAL",
    "timeToFirstToken": "REAL",
    "inputUsage": "INTEGER",
    "outputUsage": "INTEGER",
    "totalUsage": "INTEGER",
    "inputCost": "REAL",
    "outputCost": "REAL",
    "totalCost": "REAL",
}
"""Columns of their own beside the row's JSON, named as in the API, with their SQLite type."""

_PAYLOAD = ("input", "output")
"""Kept apart from the row's JSON: long, and read only by those who ask for them."""

_COLUMNS = ("startTime", "endTime", *FILTERABLE, *_PAYLOAD, "arrived", "fields")


@dataclass(frozen=True, slots=True)
class Where:
    """A condition in SQL, with the values of its placeholders."""

    sql: str
    values: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row read back, and its place in the order of arrival."""

    arrival: int
    row: Row


class Store:
    """The rows, shared by the threads of one process."""

    def __init__(self, path: str, clock: Callable[[], float], lag_seconds: float = 0.0) -> None:
        """
        Open or create the database at this path (``:memory:`` keeps it in memory).

        The clock gives seconds; a row is visible once it is ``lag_seconds`` old. Raises
        sqlite3.Error when the path cannot be used.
        """
        self._clock = clock
        self._lag_seconds = lag_seconds
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, check_same_thread=False)
        declared = ", ".join(f'"{name}" {kind}' for name, kind in FILTERABLE.items())
        with self._connection:
            # The file lives as long as one run, so safety from power loss is not worth a wait.
            self._connection.execute("PRAGMA synchronous = OFF")
            self._connection.execute(
                'CREATE TABLE IF NOT EXISTS observation ("arrival" INTEGER PRIMARY KEY,'
                f' "startTime" INTEGER, "endTime" INTEGER, {declared},'
                ' "input" TEXT, "output" TEXT, "arrived" REAL, "fields" TEXT)'
            )
            self._connection.execute(
                f"CREATE INDEX IF NOT EXISTS newest_first ON observation ({NEWEST_FIRST})"
            )

    def close(self) -> None:
        """Close the database; the store cannot be used afterwards."""
        with self._lock:
            self._connection.close()

    def add(self, rows: Iterable[Row]) -> None:
        """Store these arrivals, all or none."""
        arrived = self._clock()
        records = [_record(row, arrived) for row in rows]
        names = ", ".join(f'"{name}"' for name in _COLUMNS)
        marks = ", ".join("?" * len(_COLUMNS))
        # S608: column names are constants of this module, values are placeholders.
        insert = f"INSERT INTO observation ({names}) VALUES ({marks})"  # noqa: S608
        with self._lock, self._connection:
            self._connection.executemany(insert, records)

    def read(
        self, conditions: Sequence[Where], limit: int | None = None, *, payload: bool = False
    ) -> list[StoredRow]:
        """Read the visible rows that fulfil all conditions, newest first, ``limit`` at most."""
        visible = Where('"arrived" <= ?', (self._clock() - self._lag_seconds,))
        everything = (visible, *conditions)
        where = " AND ".join(f"({condition.sql})" for condition in everything)
        values = [value for condition in everything for value in condition.values]
        text = '"input", "output"' if payload else "NULL, NULL"
        # S608: conditions are made of our own words and placeholders, never of a sender's.
        select = (
            f'SELECT "arrival", "startTime", "endTime", "fields", {text}'  # noqa: S608
            f" FROM observation WHERE {where} ORDER BY {NEWEST_FIRST} LIMIT ?"
        )
        values.append(-1 if limit is None else limit)
        with self._lock:
            found = self._connection.execute(select, values).fetchall()
        return [
            StoredRow(
                arrival,
                Row(start_ms, end_ms, {**json.loads(fields), "input": sent, "output": answered}),
            )
            for arrival, start_ms, end_ms, fields, sent, answered in found
        ]


def _record(row: Row, arrived: float) -> tuple[object, ...]:
    fields = row.fields
    kept = {name: value for name, value in fields.items() if name not in _PAYLOAD}
    return (
        row.start_ms,
        row.end_ms,
        *(_stored(fields[name]) for name in FILTERABLE),
        *(fields[name] for name in _PAYLOAD),
        arrived,
        json.dumps(kept),
    )


def _stored(value: object) -> object:
    return json.dumps(value) if isinstance(value, list | Mapping) else value
