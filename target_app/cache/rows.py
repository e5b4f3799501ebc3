"""What is read from and written to the database of results: one function for each statement."""

from __future__ import annotations

import hashlib
import sqlite3
import struct
import time
from collections import Counter
from dataclasses import dataclass

from target_app.cache.state import State

ROW_OVERHEAD_BYTES = 512
"""What a row takes besides its value, roughly."""

# The values are apart from what is known of them: counting a use must not write the value again.
SCHEMA = """
    CREATE TABLE results (
        id INTEGER PRIMARY KEY,
        question BLOB NOT NULL UNIQUE,
        shelf TEXT NOT NULL,
        structure BLOB NOT NULL,
        contents BLOB NOT NULL,
        seconds REAL NOT NULL,
        stored_at_ns INTEGER NOT NULL,
        generation INTEGER NOT NULL,
        checksum BLOB NOT NULL,
        size INTEGER NOT NULL,
        used_at_ns INTEGER NOT NULL
    );
    CREATE INDEX results_by_use ON results (used_at_ns);
    CREATE TABLE payloads (id INTEGER PRIMARY KEY, value BLOB NOT NULL);
    CREATE TABLE totals (
        shelf TEXT PRIMARY KEY, entries INTEGER NOT NULL, bytes INTEGER NOT NULL
    );
    CREATE TRIGGER result_added AFTER INSERT ON results BEGIN
        INSERT INTO totals VALUES (NEW.shelf, 1, NEW.size) ON CONFLICT (shelf)
        DO UPDATE SET entries = entries + 1, bytes = bytes + NEW.size;
    END;
    CREATE TRIGGER result_removed AFTER DELETE ON results BEGIN
        UPDATE totals SET entries = entries - 1, bytes = bytes - OLD.size
        WHERE shelf = OLD.shelf;
        DELETE FROM payloads WHERE id = OLD.id;
    END;
"""

_SELECT = """
    SELECT structure, contents, seconds, stored_at_ns, generation, checksum,
        CASE WHEN structure = ? AND contents = ? THEN value END
    FROM results JOIN payloads USING (id) WHERE question = ?
"""
_EVICT_AT_ONCE = 64
_CLEARED_AT_ONCE = 1000
_NUMBERS = struct.Struct("<dqq")


class DamagedRowError(Exception):
    """A row is not what was written."""


@dataclass(frozen=True, slots=True)
class Row:
    """
    One result as it is kept.

    `seconds` is how long it took to make, `stored_at_ns` the wall clock then, and `generation`
    that of the cache. `value` is there only if the row is of the state that was asked for.
    """

    structure: bytes
    contents: bytes
    seconds: float
    stored_at_ns: int
    generation: int
    value: bytes | None = None


def read_row(reader: sqlite3.Connection, question: bytes, state: State) -> Row | None:
    """Read the row of a question. Raises sqlite3.Error, and DamagedRowError."""
    found = reader.execute(_SELECT, (state.structure, state.contents, question)).fetchone()
    if found is None:
        return None
    structure, contents, seconds, stored_at_ns, generation, checksum, value = found
    row = Row(structure, contents, seconds, stored_at_ns, generation, value)
    try:
        if value is not None and checksum != _checksum(question, row, value):
            raise DamagedRowError
    except (TypeError, struct.error):
        raise DamagedRowError from None
    return row


def write_row(
    writer: sqlite3.Connection, shelf: str, question: bytes, row: Row, value: bytes
) -> None:
    """Write a row, in place of one that may be there. Raises sqlite3.Error."""
    drop_row(writer, question)
    added = writer.execute("INSERT INTO payloads (value) VALUES (?)", (value,))
    writer.execute(
        "INSERT INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            added.lastrowid,
            question,
            shelf,
            row.structure,
            row.contents,
            row.seconds,
            row.stored_at_ns,
            row.generation,
            _checksum(question, row, value),
            len(value) + ROW_OVERHEAD_BYTES,
            time.time_ns(),
        ),
    )


def drop_row(writer: sqlite3.Connection, question: bytes) -> None:
    """Remove the row of a question. Raises sqlite3.Error."""
    writer.execute("DELETE FROM results WHERE question = ?", (question,))


def touch_row(writer: sqlite3.Connection, question: bytes) -> None:
    """Count a row as used now. Raises sqlite3.Error."""
    writer.execute(
        "UPDATE results SET used_at_ns = ? WHERE question = ?", (time.time_ns(), question)
    )


def evict_rows(writer: sqlite3.Connection, limit_bytes: int) -> Counter[str]:
    """
    Remove what was used longest ago until the rest is within the limit; count it by shelf.

    Raises sqlite3.Error.
    """
    evicted: Counter[str] = Counter()
    excess = sum(size for _, size in totals(writer).values()) - limit_bytes
    while excess > 0:
        oldest = writer.execute(
            "SELECT id, shelf, size FROM results ORDER BY used_at_ns LIMIT ?", (_EVICT_AT_ONCE,)
        ).fetchall()
        if not oldest:
            break
        for number, shelf, size in oldest:
            if excess > 0:
                writer.execute("DELETE FROM results WHERE id = ?", (number,))
                evicted[shelf] += 1
                excess -= size
    return evicted


def clear_rows(writer: sqlite3.Connection, shelf: str, generation: int) -> None:
    """
    Remove the rows of other generations, and give their room back to the system.

    Not in one transaction, since others want to write too. Raises sqlite3.Error.
    """
    removed = _CLEARED_AT_ONCE
    while removed == _CLEARED_AT_ONCE:
        removed = writer.execute(
            "DELETE FROM results WHERE id IN"
            " (SELECT id FROM results WHERE shelf = ? AND generation <> ? LIMIT ?)",
            (shelf, generation, _CLEARED_AT_ONCE),
        ).rowcount
    # A script is gone on with to its end, where a statement of this kind frees one page.
    writer.executescript("PRAGMA incremental_vacuum")


def totals(connection: sqlite3.Connection) -> dict[str, tuple[int, int]]:
    """Answer the number of rows and their bytes, by shelf. Raises sqlite3.Error."""
    found = connection.execute("SELECT shelf, entries, bytes FROM totals").fetchall()
    return {shelf: (entries, size) for shelf, entries, size in found}


def _checksum(question: bytes, row: Row, value: bytes) -> bytes:
    numbers = _NUMBERS.pack(row.seconds, row.stored_at_ns, row.generation)
    summed = hashlib.blake2b(digest_size=16)
    for part in (question, row.structure, row.contents, numbers, value):
        summed.update(len(part).to_bytes(8, "little") + part)
    return summed.digest()
