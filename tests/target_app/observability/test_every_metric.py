"""Every way through the app moves the metrics that it should, by as much as it should, only."""

from __future__ import annotations

import asyncio
import re
import time
from importlib.metadata import version
from pathlib import Path

import pytest

from target_app.observability import process
from target_app.observability.metrics import Metrics
from tests.target_app.exposition import Series, exposition, series_name
from tests.target_app.observability.cases import CASES, CAT, Case
from tests.target_app.scripted import (
    RunningApp,
    SilentLLM,
    Start,
)

pytestmark = pytest.mark.anyio

ELSEWHERE = re.compile(
    # What varies from run to run: how long it took, and how much SQLite makes of it.
    r"\w+_seconds_sum|cache_disk_usage_bytes|process_\w+|event_loop_lag_seconds_count"
    # What other tests look at: sizes below, log lines in the tests of logs.
    r"|http_\w+_size_bytes_sum|cache_size_bytes|log_\w+"
)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_what_moves(start: Start, case: Case) -> None:
    async with start(*case.turns, **case.settings) as app:
        await case.first(app)
        before = await settled(app)
        await case.act(app)
        after = await settled(app)

    moved = {
        name: after[name] - before.get(name, 0.0)
        for name in after
        if after[name] != before.get(name, 0.0) and not ELSEWHERE.fullmatch(name.split()[0])
    }
    assert moved == {name: value for name, value in case.moves.items() if value != 0}


MOVED_ELSEWHERE = {
    r"process_(cpu|start|open|resident)_\w+": "test_workers.py",
    r"llm_token_discrepancy_ratio_\w+|llm_tokens_checked_total .*": "test_accounts.py",
    r"llm_usage_estimated_total": "test_accounts.py",
    r"errors_total component=llm error_type=(unpriced|usage_missing)": "test_accounts.py",
    r"traces_total result=(recorded|not_sampled)|tracing_enabled": "test_app_tracing.py",
    r"trace_(queue|export|circuit)\w+ .*": "test_export.py",
    # Read there for test_export.py.
    r"trace_spans_total .*": "collector.py",
    r"log_\w+( .*)?": "test_logs.py",
    r"(app|sandbox_isolation)_info": __file__,
    r"http_requests_in_flight|event_loop_lag_seconds_count|tracing_seconds_total": __file__,
    r"cache_(size_bytes .*|disk_usage_bytes|max_staleness_seconds)": __file__,
}
"""Where the series are moved that no case above moves."""

NEVER_MOVED = {
    r"process_(virtual|max)_\w+": "read by the client library itself",
    r"\w+_seconds_sum( .*)?": "how long it takes varies; the count beside it is looked at",
    r"cache_operations_total .* operation=delete result=error": "emptying a cache cannot fail",
    r"llm_cost_usd_total model=unpriced": "what has no price has no cost; it is an error instead",
    r"tool_executions_total status=(success|timeout) tool_name=unknown": "no such tool is ever run",
}
"""Which series are not, and why."""


def test_no_series_is_forgotten() -> None:
    metrics = Metrics()
    metrics.know_models(["scripted"])
    made = {
        series_name(sample)
        for family in metrics.registry.collect()
        for sample in family.samples
        if not sample.name.endswith(("_created", "_bucket"))
    }
    moved = {name for case in CASES.values() for name, value in case.moves.items() if value != 0}
    excuses = [*MOVED_ELSEWHERE, *NEVER_MOVED]
    excused = [(p, name) for p in excuses for name in made - moved if re.fullmatch(p, name)]

    assert made - moved - {name for _, name in excused} == set()
    # No excuse for what moves after all, or is no more.
    assert set(excuses) - {pattern for pattern, _ in excused} == set()


@pytest.mark.parametrize("pattern", MOVED_ELSEWHERE)
def test_what_moves_elsewhere_is_spoken_of_there(pattern: str) -> None:
    there = Path(__file__).with_name(Path(MOVED_ELSEWHERE[pattern]).name).read_text()
    families = {
        family.name
        for family in Metrics().registry.collect()
        for sample in family.samples
        if re.fullmatch(pattern, series_name(sample))
    }

    assert families
    assert [name for name in families if name not in there] == []


async def test_sizes_are_what_went_over_the_wire(start: Start) -> None:
    async with start("done", "a streamed answer") as app:
        plain = await app.ask("question")
        streamed = await app.client.post("/api/chat/stream", json={"message": "question"})
        series = await exposition(app.client)

    for route, answer in (("/api/chat", plain), ("/api/chat/stream", streamed)):
        labels = f"endpoint={route} method=POST"
        assert series[f"http_request_size_bytes_sum {labels}"] == len(answer.request.content)
        assert series[f"http_response_size_bytes_sum {labels}"] == len(answer.content)


async def test_what_is_under_way_is_shown(start: Start) -> None:
    llm = SilentLLM()
    async with start(llm=llm) as app:
        idle = await exposition(app.client)
        asking = asyncio.ensure_future(app.ask())
        await llm.asked.wait()
        busy = await exposition(app.client)
        asking.cancel()
        await asyncio.wait({asking})
        after = await exposition(app.client)

    name = "http_requests_in_flight"
    assert (idle[name], busy[name], after[name]) == (0, 1, 0)


async def test_the_time_that_telling_takes_is_counted(start: Start) -> None:
    async with start("one", "two", langfuse_enabled=True) as app:
        seconds = []
        for _ in range(2):
            begun = time.perf_counter()
            await app.ask()
            seconds.append(time.perf_counter() - begun)
            seconds.append((await exposition(app.client))["tracing_seconds_total"])

    first, told_first, second, told_both = seconds
    assert 0 < told_first < first
    assert 0 < told_both - told_first < second


async def test_the_lag_of_the_loop_is_measured(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "LOOK_SECONDS", 0.0)
    async with start() as app:
        seen: list[float] = []
        while len(set(seen)) < 2:
            seen.append((await exposition(app.client))["event_loop_lag_seconds_count"])

    assert seen == sorted(seen)


async def test_what_the_caches_hold_is_shown(start: Start) -> None:
    async with start([CAT], "done", cache_inotify=False, cache_state_max_age=0.5) as app:
        empty = await settled(app)
        await app.ask()
        full = await settled(app)
        folder = app.app.state.services.settings.cache_directory
        services = app.app.state.services

        assert empty["cache_size_bytes cache_type=content"] == 0
        assert full["cache_size_bytes cache_type=content"] == services.caches["content"].size_bytes
        assert full["cache_size_bytes cache_type=search"] == 0
        assert full["cache_size_bytes cache_type=disk"] == services.disk.size_bytes > 0
        assert full["cache_disk_usage_bytes"] == sum(f.stat().st_size for f in folder.iterdir())
        assert {f.suffix for f in folder.iterdir()} >= {".sqlite", ".sqlite-wal"}
        assert full["cache_max_staleness_seconds"] == 0.5


async def test_what_is_running_is_told(start: Start) -> None:
    async with start(deployment="here", langfuse_environment="bench") as app:
        series = await exposition(app.client)

    info = [name for name in series if name.startswith(("app_info", "sandbox_isolation"))]
    assert info == [
        f"app_info deployment=here environment=bench version={version('harness')}",
        "sandbox_isolation_info level=paths required=paths",
    ]


async def settled(app: RunningApp) -> Series:
    """Read all series, once what was to be written to the disk is there."""
    disk = app.app.state.services.disk
    if disk is not None:
        await asyncio.to_thread(disk.flush)
    return await exposition(app.client)
