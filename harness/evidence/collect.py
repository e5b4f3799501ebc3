"""Read a run's observations from Langfuse, patiently: they arrive late and in parts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import httpx
from langfuse.api import LangfuseAPI
from langfuse.api.core import ApiError
from pydantic import ValidationError

from harness.evidence.langfuse import is_root, once
from harness.model import HarnessError, Run
from harness.provenance import langfuse_url
from harness.runs import Collection, RunDirectory

_FIELDS = "core,basic,time,model,usage,metrics,trace_context"
_OUTPUTS = "core,io"
# What a run directory keeps of an observation: never inputs, outputs or metadata. Of a tool's
# output it keeps whether it came from a cache (cacheHit).
_KEPT = {
    "id": "id",
    "traceId": "trace_id",
    "parentObservationId": "parent_observation_id",
    "type": "type",
    "name": "name",
    "level": "level",
    "startTime": "start_time",
    "latency": "latency",
    "timeToFirstToken": "time_to_first_token",
    "model": "model",
    "usageDetails": "usage_details",
    "totalCost": "total_cost",
    "tags": "tags",
    "sessionId": "session_id",
    "isRootObservation": "is_root_observation",
}
_PAGE = 1000
_POLL_SECONDS = 1.0
_QUIET_SECONDS = 10.0
_LIMIT_SECONDS = 90.0
_ATTEMPTS = 3
_MARGIN_SECONDS = 120.0

Row = dict[str, Any]


class LangfuseError(HarnessError):
    """Why Langfuse cannot be asked, in one sentence, without any key in it."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How time passes while waiting; tests pass a clock of their own."""

    now: Callable[[], float] = time.monotonic
    wait: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Langfuse:
    """The part of Langfuse's public API that is needed, through its own SDK."""

    api: LangfuseAPI
    url: str

    @classmethod
    def connect(cls, environment: Mapping[str, str]) -> Langfuse:
        """Use the variables of Langfuse's SDK; raises LangfuseError when a key is missing."""
        public, secret = (environment.get(f"LANGFUSE_{k}_KEY", "") for k in ("PUBLIC", "SECRET"))
        if not public or not secret:
            raise LangfuseError("LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY are not set")
        url = langfuse_url(environment)
        api = LangfuseAPI(
            base_url=url,
            x_langfuse_sdk_name="python",
            x_langfuse_public_key=public,
            username=public,
            password=secret,
            timeout=15,
        )
        return cls(api, url)

    def check(self) -> None:
        """Ask for something small; raises LangfuseError when it does not answer."""
        self._ask(self.api.projects.get)

    def observations(self, run_id: str, since: float, until: float) -> list[Row]:
        """All observations of a run, page by page."""
        return [
            {key: _json(getattr(row, name)) for key, name in _KEPT.items()}
            for row in self._pages(_FIELDS, [_of_run(run_id)], since, until)
        ]

    def cache_hits(
        self, run_id: str, since: float, until: float
    ) -> dict[tuple[str, str], bool | None]:
        """Whether a cache gave each tool's answer, by trace and id; None where nothing says so."""
        wanted = [_of_run(run_id), _one_of("stringOptions", "type", "TOOL")]
        rows = self._pages(_OUTPUTS, wanted, since, until)
        return {(row.trace_id, row.id): _cache_hit(row.output) for row in rows}

    def _pages(
        self, fields: str, wanted: list[dict[str, Any]], since: float, until: float
    ) -> list[Any]:
        rows: list[Any] = []
        cursor: str | None = None
        while True:
            get_page = partial(
                self.api.observations.get_many,
                fields=fields,
                limit=_PAGE,
                cursor=cursor,
                from_start_time=datetime.fromtimestamp(since, UTC),
                to_start_time=datetime.fromtimestamp(until, UTC),
                filter=json.dumps(wanted),
            )
            page = self._ask(get_page)
            rows += page.data
            cursor = page.meta.cursor
            if not cursor:
                return rows

    def _ask(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except ApiError as error:
            raise LangfuseError(f"Langfuse at {self.url} answered {error.status_code}") from error
        except ValidationError as error:
            raise LangfuseError(f"{self.url} does not answer as Langfuse does") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise LangfuseError(f"Langfuse at {self.url} cannot be reached: {error}") from error


def _of_run(run_id: str) -> dict[str, Any]:
    return _one_of("arrayOptions", "tags", f"run:{run_id}")


def _one_of(kind: str, column: str, value: str) -> dict[str, Any]:
    """One condition of the API's filter."""
    return {"type": kind, "column": column, "operator": "any of", "value": [value]}


def _cache_hit(output: object) -> bool | None:
    """Look into what a tool's observation says came out; the API gives objects as text."""
    if isinstance(output, str):
        try:
            output = json.loads(output)
        except ValueError:
            return None
    found = output.get("cache_hit") if isinstance(output, dict) else None
    return found if isinstance(found, bool) else None


def _json(value: Any) -> Any:
    """Write an instant as text; everything else that is kept is JSON already."""
    return value.isoformat() if isinstance(value, datetime) else value


def collect(
    directory: RunDirectory, environment: Mapping[str, str], patience: Patience | None = None
) -> None:
    """
    Read the observations of every window and keep them in the run directory.

    Polls until each window has a trace for every answered request that leaves one and nothing
    more arrives; or until nothing has arrived for 10 seconds; or for 90 seconds.
    """
    patience = patience or Patience()
    begin = patience.now()
    expected = {
        name: sum(s.traced and s.outcome.answered for s in directory.read_samples(name))
        for name in directory.window_names()
    }
    try:
        langfuse = Langfuse.connect(environment)
        by_window, polls = _poll(langfuse, directory, expected, patience)
        _tell_cache_hits(langfuse, directory.read_run(), by_window)
    except LangfuseError as error:
        seconds = round(patience.now() - begin, 3)
        failed = Collection(complete=False, polls=0, seconds=seconds, problem=str(error))
        for name in expected:
            directory.write_observations(name, [], failed)
        return
    for name, rows in by_window.items():
        complete = sum(is_root(r) for r in once(rows)) == expected[name]
        directory.write_observations(
            name,
            rows,
            Collection(
                complete,
                polls,
                round(patience.now() - begin, 3),
                duplicates=len(rows) - len(once(rows)),
            ),
        )


def _tell_cache_hits(langfuse: Langfuse, run: Run, by_window: Mapping[str, list[Row]]) -> None:
    """Add to each tool's row whether a cache answered; it is only shown, so it may fail."""
    tools = [r for rows in by_window.values() for r in rows if r["type"] == "TOOL"]
    if not tools:
        return
    try:
        hits = langfuse.cache_hits(
            run.id, run.started - _MARGIN_SECONDS, time.time() + _MARGIN_SECONDS
        )
    except LangfuseError:
        return
    for row in tools:
        row["cacheHit"] = hits.get((row["traceId"], row["id"]))


def _poll(
    langfuse: Langfuse,
    directory: RunDirectory,
    expected: Mapping[str, int],
    patience: Patience,
) -> tuple[dict[str, list[Row]], int]:
    run = directory.read_run()
    scenarios = {
        name: {f"scenario:{s}" for s in directory.read_window(name).window.scenarios}
        for name in expected
    }
    begin = last_change = patience.now()
    seen = -1
    polls = failures = 0
    while True:
        try:
            rows = langfuse.observations(
                run.id, run.started - _MARGIN_SECONDS, time.time() + _MARGIN_SECONDS
            )
            failures = 0
        except LangfuseError:
            failures += 1
            if failures >= _ATTEMPTS:
                raise
            patience.wait(_POLL_SECONDS)
            continue
        polls += 1
        by_window = {
            name: [r for r in rows if scenarios[name] & set(r.get("tags") or ())]
            for name in expected
        }
        now = patience.now()
        stable = len(rows) == seen
        if not stable:
            seen, last_change = len(rows), now
        full = all(
            sum(is_root(r) for r in once(by_window[name])) >= count
            for name, count in expected.items()
        )
        if stable and full:
            return by_window, polls
        if now - last_change > _QUIET_SECONDS or now - begin > _LIMIT_SECONDS:
            return by_window, polls
        patience.wait(_POLL_SECONDS)
