"""The lag of the event loop, with a clock of the test's own."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import Histogram

from target_app.observability.process import LOOK_SECONDS, lag_measured

pytestmark = pytest.mark.anyio


def lags(histogram: Histogram) -> dict[str, float]:
    (family,) = histogram.collect()
    return {
        sample.name.removeprefix("lag_") + sample.labels.get("le", ""): sample.value
        for sample in family.samples
        if sample.name != "lag_created"
    }


async def test_what_comes_later_than_wanted_is_the_lag() -> None:
    now = 100.0
    late = [0.0, 0.02, 3.0, -0.001]
    seen = asyncio.Event()

    async def sleep(seconds: float) -> None:
        nonlocal now
        if not late:
            seen.set()
            await asyncio.Event().wait()
        now += seconds + late.pop(0)

    histogram = Histogram("lag", "", buckets=(0.01, 0.1, 5), registry=None)
    async with lag_measured(histogram, sleep, lambda: now):
        await seen.wait()

    told = lags(histogram)
    assert told.pop("sum") == pytest.approx(3.02)
    assert told == {"bucket0.01": 2, "bucket0.1": 3, "bucket5.0": 4, "bucket+Inf": 4, "count": 4}


async def test_it_looks_four_times_a_second_and_ends_with_the_block() -> None:
    slept: list[float] = []
    histogram = Histogram("lag", "", registry=None)

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.Event().wait()

    before = asyncio.all_tasks()
    async with lag_measured(histogram, sleep):
        await asyncio.sleep(0)
        (task,) = asyncio.all_tasks() - before

    assert slept == [LOOK_SECONDS] == [0.25]
    assert task.cancelled()
    assert lags(histogram)["count"] == 0
