"""Gauges that are read when somebody looks, and costs by model."""

from __future__ import annotations

import asyncio
import math

import pytest

from target_app.observability.metrics import UNPRICED, Metrics, observe
from target_app.observability.metrics.whole import REFRESH_SECONDS


def staleness(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("cache_max_staleness_seconds")


def test_a_gauge_is_read_at_once_and_at_each_refresh() -> None:
    metrics = Metrics()
    ages = iter([3.0, 5.0])
    metrics.watch(metrics.cache_max_staleness, lambda: next(ages))
    at_once = staleness(metrics)
    metrics.refresh()

    assert (at_once, staleness(metrics)) == (3, 5)


def test_what_cannot_be_read_is_not_a_number_and_holds_nothing_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def read() -> float:
        if fails:
            raise OSError("secret/path")
        return 4.0

    metrics = Metrics()
    fails = False
    metrics.watch(metrics.cache_max_staleness, read)
    metrics.watch_sessions(sessions := [1])
    fails = True
    sessions.append(2)
    metrics.refresh()
    metrics.refresh()
    broken = staleness(metrics)
    fails = False
    metrics.refresh()

    assert broken is not None
    assert math.isnan(broken)
    assert staleness(metrics) == 4
    assert metrics.registry.get_sample_value("active_sessions_total") == 2
    assert [record.getMessage() for record in caplog.records] == [
        "a gauge cannot be read: OSError"
    ]


@pytest.mark.anyio
async def test_gauges_are_kept_fresh_while_nobody_looks() -> None:
    metrics = Metrics()
    reads = 0
    slept: list[float] = []
    enough = asyncio.Event()

    def read() -> float:
        nonlocal reads
        reads += 1
        return reads

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            enough.set()
            await asyncio.Event().wait()

    metrics.watch(metrics.cache_max_staleness, read)
    before = asyncio.all_tasks()
    async with metrics.kept_fresh(sleep):
        await enough.wait()
        (task,) = asyncio.all_tasks() - before

    assert slept == [REFRESH_SECONDS] * 3
    assert staleness(metrics) == 3
    assert task.cancelled()


def test_models_of_the_price_list_have_cost_nothing_so_far() -> None:
    metrics = Metrics()
    metrics.know_models(["model-a", "model-b"])

    costs = {
        sample.labels["model"]: sample.value
        for family in metrics.llm_cost.collect()
        for sample in family.samples
        if sample.name == "llm_cost_usd_total"
    }
    assert costs == {"model-a": 0, "model-b": 0, UNPRICED: 0}


def test_a_trace_is_named_by_the_bucket_it_fell_into() -> None:
    metrics = Metrics()
    observe(metrics.llm_call_duration, 0.3, "0af7651916cd43dd8448eb211c80319c")
    observe(metrics.llm_call_duration, 3.0, None)

    (family,) = metrics.llm_call_duration.collect()
    named = {
        sample.labels["le"]: (sample.exemplar.labels, sample.exemplar.value)
        for sample in family.samples
        if sample.exemplar is not None
    }
    assert named == {"0.32": ({"trace_id": "0af7651916cd43dd8448eb211c80319c"}, 0.3)}
