"""What became of spans, read from the counters of the app."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from benchmarks.trace_account import Account, read_account, settled, still

pytestmark = pytest.mark.anyio

EXPOSED = """\
# HELP trace_spans Spans.
# TYPE trace_spans counter
trace_spans_total{result="exported",sink="langfuse"} 1e+02
trace_spans_total{result="queue_full",sink="langfuse"} 20.0
trace_spans_total{result="circuit_open",sink="langfuse"} 3.0 # {trace_id="ab"} 1.0
trace_spans_total{result="exported",sink="otlp"} 7.0
trace_spans_created{result="exported",sink="langfuse"} 1.7e+09
trace_queue_spans{sink="langfuse"} 5.0
trace_queue_spans{sink="otlp"} 2.0
"""


def told(exported: int, queued: int) -> str:
    return (
        f'trace_spans_total{{sink="langfuse",result="exported"}} {exported}\n'
        f'trace_queue_spans{{sink="langfuse"}} {queued}\n'
    )


def reading(*exposed: str) -> Callable[[], Awaitable[str]]:
    texts = iter(exposed)

    async def read() -> str:
        return next(texts)

    return read


def test_spans_of_one_sink_are_exported_dropped_or_queued() -> None:
    account = read_account(EXPOSED)

    assert account == Account(exported=100, dropped=23, queued=5)
    assert account.told == 128


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.trace_account.POLL_SECONDS", 0)


@pytest.mark.usefixtures("at_once")
async def test_an_account_is_settled_when_all_that_was_started_is_told_of() -> None:
    read = reading(told(1, 9), told(8, 0), told(10, 0), told(99, 0))

    assert await settled(read, 10, timeout_seconds=60) == Account(10, 0, 0)


@pytest.mark.usefixtures("at_once")
async def test_an_account_that_never_adds_up_is_given_as_it_is() -> None:
    assert await settled(reading(told(8, 0)), 10, timeout_seconds=-1) == Account(8, 0, 0)


async def test_an_account_is_still_when_it_is_the_same_twice() -> None:
    read = reading(told(1, 2), told(1, 2), told(3, 0), told(3, 0), told(99, 0))

    assert await still(read, seconds=0) == Account(3, 0, 0)
