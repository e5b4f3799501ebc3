"""What the client measured: failures are slow, losses are known, two records are compared."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.evidence.client import ClientEvidence
from harness.model import Ask, Indicator, Interval, Kind, Measurement, Outcome, Sample, Window
from harness.runs import RunDirectory

WARM = Window("warm_cache", ("warm_cache",), 1.0, 2.0)
KnownRun = Callable[..., RunDirectory]


def sample(seconds: float, outcome: Outcome = Outcome.OK, **changes: object) -> Sample:
    made = Sample("warm_cache", "chat", "t", 10.0, 10.0, 10.0 + seconds, outcome)
    return replace(made, **changes)  # type: ignore[arg-type]


def latency(what: str, q: float = 0.5, bound: float = 1.0) -> Indicator:
    return Indicator("it", Kind.LATENCY, {"client": Ask(what)}, quantile=q, bound=bound)


@pytest.fixture
def asked(known_run: KnownRun, known: Callable[..., object]) -> Callable[..., ClientEvidence]:
    def of(*samples: Sample) -> ClientEvidence:
        return ClientEvidence(
            known_run(known(samples=samples, server_seconds=[0.0] * len(samples)))
        )

    return of


Asked = Callable[..., ClientEvidence]


def test_a_latency_is_the_share_within_the_bound(asked: Asked):
    evidence = asked(*(sample(s) for s in (0.0001, 0.0002, 0.0003, 0.0004)))

    measured = evidence.measure(latency("response_time", 0.75, 0.00025), (WARM,))

    assert measured == Measurement(
        "client",
        Interval.exactly(0.5),
        4,
        "response_time of warm_cache",
        quantile=Interval.exactly(0.0003),
    )


def test_failures_rank_above_every_success(asked: Asked):
    evidence = asked(
        sample(0.0002), sample(0.0001), sample(0.00001, Outcome.HTTP_ERROR),
        sample(0.00001, Outcome.REFUSED),
    )  # fmt: skip

    median = evidence.measure(latency("response_time", 0.5), (WARM,))
    beyond = evidence.measure(latency("response_time", 0.75), (WARM,))

    assert (median.value, median.quantile) == (Interval.exactly(0.5), Interval.exactly(0.0002))
    assert beyond.quantile == Interval(0.0002, math.inf)


def test_the_first_token_is_asked_only_of_operations_that_stream(asked: Asked):
    evidence = asked(
        sample(0.5, operation="stream", first_token=10.0001),
        sample(0.5, Outcome.HTTP_ERROR, operation="stream"),
        sample(0.5),
        sample(0.5, Outcome.HTTP_ERROR),
    )  # fmt: skip

    measured = evidence.measure(latency("ttft", 0.5), (WARM,))

    assert measured.events == 2


def test_nothing_streamed_is_no_first_token(asked: Asked):
    measured = asked(sample(0.5)).measure(latency("ttft"), (WARM,))

    assert (measured.value, measured.note) == (None, "nothing was streamed")


def test_shares_and_counts_of_failures(asked: Asked):
    evidence = asked(*[sample(0.1)] * 3, sample(0.1, Outcome.TIMEOUT))
    asks = {"client": Ask("ok")}

    ratio = evidence.measure(Indicator("it", Kind.RATIO, asks), (WARM,))
    count = evidence.measure(Indicator("it", Kind.COUNT, asks), (WARM,))

    assert (ratio.value, ratio.events) == (Interval.exactly(0.75), 4)
    assert (count.value, count.events) == (Interval.exactly(1), 4)


def test_what_the_end_of_the_load_cut_off_is_left_out_and_told(asked: Asked):
    evidence = asked(sample(0.1), sample(0.1, Outcome.CUT_OFF))

    measured = evidence.measure(Indicator("it", Kind.RATIO, {"client": Ask("ok")}), (WARM,))

    assert (measured.value, measured.events) == (Interval.exactly(1.0), 1)
    assert measured.note == "1 requests were cut off by the end of the load"


@pytest.mark.parametrize(
    ("samples", "note"),
    [
        ([], "it sent no request"),
        ([sample(0.1, Outcome.CUT_OFF)], "1 requests were cut off by the end of the load"),
    ],
)
def test_no_request_is_no_data(asked: Asked, samples: list[Sample], note: str):
    measured = asked(*samples).measure(latency("response_time"), (WARM,))

    assert (measured.value, measured.events, measured.note) == (None, 0, note)


def test_losses_that_the_client_knows_of(asked: Asked):
    account = asked(
        sample(0.1, input_tokens=10, llm_calls=1),
        sample(0.1, Outcome.HTTP_ERROR, input_tokens=5),
        sample(0.1, Outcome.BAD_ANSWER, input_tokens=2, llm_calls=1),
        *(sample(9.0, o) for o in (Outcome.TIMEOUT, Outcome.BROKEN_STREAM, Outcome.CUT_OFF)),
        sample(0.0, Outcome.REFUSED),
    ).account(WARM)

    assert account is not None
    assert (account.requests, account.unanswered, account.unsent) == (3, 3, 1)
    assert account.input_tokens == 17
    assert account.llm_calls is None, "one answer does not say how many"
    assert account.tool_calls is None
    assert account.client_durations is not None
    assert (account.client_durations.count, account.client_durations.total_seconds) == (3, 0.3)
    assert account.null_probe_p99 == 0.004
    assert account.problem == ""


def test_a_window_that_was_never_run(asked: Asked):
    assert asked(sample(0.1)).account(Window("cold", ("cold",), 1.0, 2.0)) is None


def test_rows_and_histograms_are_two_records_of_the_same(known_run: KnownRun):
    run = known_run()
    run.append_samples("warm_cache", [sample(0.1)])

    account = ClientEvidence(run).account(WARM)

    assert account is not None
    assert account.problem == "201 rows but 200 values in the histograms"


def test_a_window_that_was_never_closed(known_run: KnownRun):
    run = known_run()
    (run.path / "windows/warm_cache/histograms.jsonl").unlink()

    account = ClientEvidence(run).account(WARM)

    assert account is not None
    assert account.problem == "its window was never closed: 200 rows but no histogram"


def test_a_latency_needs_a_quantile_and_a_bound(asked: Asked):
    indicator = Indicator("p95", Kind.LATENCY, {"client": Ask("response_time")})

    with pytest.raises(ValueError, match="p95: a latency needs a quantile and a bound"):
        asked(sample(0.1)).measure(indicator, (WARM,))
