"""The stream routes: a large file bit by bit, or a search of it, in server-sent events."""

from __future__ import annotations

import codecs
import contextlib
import json
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from target_app.documents import DocumentError, Documents, OpenDocument
from target_app.routes.documents import DocumentPath
from target_app.routes.errors import answers
from target_app.routes.events import Channel, EventStream, events
from target_app.routes.threads import to_end
from target_app.sandbox.paths import PathBlockedError, PathRefusedError
from target_app.sandbox.result import Command, Execution
from target_app.services import App, Services

router = APIRouter(
    prefix="/api/stream",
    tags=["streams"],
    responses=answers(400, 403, 404, 422, 503),
)

STEP_BYTES = 1024 * 1024
"""How much of a file one step of a search reads: progress is told in between."""

STEP_MATCHES = 100
"""How many matches one step tells at most, so that they fit into its output."""

ALL_MATCHES = 10_000
"""How many matches of a query in a file are told."""


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for in a file; `pattern` is in RE2 syntax if it is a `regex`."""

    pattern: str
    regex: bool
    ignore_case: bool
    max_matches: int


@dataclass(slots=True)
class Searched:
    """How far a search has come. `lines` counts the line ends that were passed."""

    offset: int = 0
    lines: int = 0
    matches: int = 0


@router.get(
    "/file/{path:path}",
    response_class=Response,
    responses=events("progress", "chunk", "match", "info", "done", "error"),
)
async def stream_file(
    path: DocumentPath,
    app: App,
    query: Annotated[
        str | None, Query(min_length=1, max_length=500, description="Tell only where this is.")
    ] = None,
    chunk_size: Annotated[int, Query(ge=1024, le=1024 * 1024, description="Bytes.")] = 8192,
) -> EventStream:
    """
    Tell what is in a file of any size.

    Events: progress, chunk (or with a query match) and at last done, or error.
    """
    with contextlib.ExitStack() as held:
        document = await to_end(lambda: held.enter_context(app.documents.open(path, whole=False)))
        if query is None:
            work = partial(_tell_chunks, document, chunk_size)
        else:
            search = Search(query, regex=False, ignore_case=False, max_matches=ALL_MATCHES)
            work = partial(_tell_places, app, document, search)
        return EventStream(work, app.settings.stream_heartbeat_seconds, held.pop_all())


@router.get(
    "/search/{path:path}",
    response_class=Response,
    responses=events("progress", "match", "info", "done", "error"),
)
async def stream_search(
    path: DocumentPath,
    app: App,
    pattern: Annotated[
        str, Query(min_length=1, max_length=500, description="A regular expression (RE2).")
    ],
    max_matches: Annotated[int, Query(ge=1, le=1000)] = 100,
    *,
    ignore_case: bool = False,
) -> EventStream:
    """
    Search a file of any size for a regular expression, line by line.

    Events: progress, match, info and at last done, or error.
    """
    with contextlib.ExitStack() as held:
        document = await to_end(lambda: held.enter_context(app.documents.open(path, whole=False)))
        search = Search(pattern, True, ignore_case, max_matches)
        work = partial(_tell_search, app, document, search)
        return EventStream(work, app.settings.stream_heartbeat_seconds, held.pop_all())


async def _tell_chunks(document: OpenDocument, chunk_size: int, channel: Channel) -> None:
    """Send a file as text. No character is cut in two; what is no UTF-8 is replaced."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    progress = Progress(channel, document.info.size)
    offset = 0
    while data := await to_end(partial(document.read, offset, chunk_size)):
        if not await to_end(document.is_unchanged):
            await _tell_changed(channel)
            return
        offset += len(data)
        text = decoder.decode(data)
        if text:
            await channel.send("chunk", {"content": text})
        await progress.tell(offset, bytes_read=offset)
    if rest := decoder.decode(b"", final=True):
        await channel.send("chunk", {"content": rest})
    await channel.send("done", {"total_bytes": offset})


async def _tell_places(
    app: Services, document: OpenDocument, search: Search, channel: Channel
) -> None:
    """Send where a text is in a file."""
    searched = await _search(app, document, search, channel)
    if searched is not None:
        done = {"total_bytes": document.info.size, "matches_found": searched.matches}
        await channel.send("done", done)


async def _tell_search(
    app: Services, document: OpenDocument, search: Search, channel: Channel
) -> None:
    """Send where a regular expression matches in a file."""
    searched = await _search(app, document, search, channel)
    if searched is not None:
        done = {
            "matches_found": searched.matches,
            "lines_processed": searched.lines,
            "total_size": document.info.size,
        }
        await channel.send("done", done)


async def _search(
    app: Services, document: OpenDocument, search: Search, channel: Channel
) -> Searched | None:
    """
    Search a file step by step in the sandbox, sending what is found; None when it failed.

    Each step opens the file anew, by the same rules as every tool. So it may be another file by
    then, or none, and that ends the search.
    """
    progress = Progress(channel, document.info.size)
    searched = Searched()
    noted: set[str] = {""}
    while True:
        step = await app.run_command(_step(document, search, searched))
        if not await to_end(partial(_is_same, app.documents, document)):
            await _tell_changed(channel)
            return None
        if step.error is not None:
            await _tell_failed(app, step, channel)
            return None
        found = _read(step)
        if found is None:
            await _tell_too_little_room(app, channel)
            return None
        matches, end = found
        for match in matches:
            await channel.send("match", match)
        if step.note not in noted:
            noted.add(step.note)
            await channel.send("info", {"message": step.note})
        searched.offset = end["next_offset"]
        searched.lines = end["next_line_number"] - 1
        searched.matches += len(matches)
        await progress.tell(
            searched.offset, bytes_read=searched.offset, lines_processed=searched.lines
        )
        if end["end"]:
            return searched
        if searched.matches >= search.max_matches:
            told = f"stopped after {searched.matches} matches; there may be more"
            await channel.send("info", {"message": told})
            return searched


def _step(document: OpenDocument, search: Search, searched: Searched) -> Command:
    return Command(
        "scan",
        document.info.path,
        {
            "pattern": search.pattern,
            "regex": search.regex,
            "ignore_case": search.ignore_case,
            "offset": searched.offset,
            "line_number": searched.lines + 1,
            "max_bytes": STEP_BYTES,
            "max_matches": min(STEP_MATCHES, search.max_matches - searched.matches),
        },
    )


def _read(step: Execution) -> tuple[list[Any], Any] | None:
    """Read the matches of a step and where it ended; None when its output was cut before that."""
    try:
        *matches, end = [json.loads(line) for line in step.stdout.split("\n")]
    except ValueError:
        return None
    return (matches, end) if "next_offset" in end else None


def _is_same(documents: Documents, document: OpenDocument) -> bool:
    """Whether the file's path still leads to it, and it is what it was."""
    try:
        with documents.open(document.info.path, whole=False) as now:
            return now.version == document.version
    except (DocumentError, PathBlockedError, PathRefusedError):
        return False


async def _tell_changed(channel: Channel) -> None:
    message = "the file changed while it was read; begin again"
    await channel.send("error", {"message": message, "type": "FILE_CHANGED"})


async def _tell_failed(app: Services, step: Execution, channel: Channel) -> None:
    kind = "TIMEOUT" if step.status == "timeout" else "SEARCH_FAILED"
    if step.blocked is not None:
        app.telemetry.blocked(step.blocked)
    await channel.send("error", {"message": step.error, "type": kind})


async def _tell_too_little_room(app: Services, channel: Channel) -> None:
    limit = app.settings.max_output_size
    message = f"what was found does not fit into the limit of output, {limit} bytes"
    await channel.send("error", {"message": message, "type": "SEARCH_FAILED"})


class Progress:
    """Tells how far the reading of a file has come, each per cent once."""

    def __init__(self, channel: Channel, size_bytes: int) -> None:
        """Begin at the beginning."""
        self._channel = channel
        self._size_bytes = size_bytes
        self._told = 0

    async def tell(self, offset: int, **more: int) -> None:
        """Send how far it is, unless that was sent already."""
        percent = min(100, 100 * offset // self._size_bytes) if self._size_bytes else 100
        if percent > self._told:
            self._told = percent
            await self._channel.send("progress", {"percent": percent, **more})
