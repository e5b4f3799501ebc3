"""What the client measured: failures are slow, losses are known, two records are compared."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.distribution import Distribution
from harness.evidence.client import ClientEvidence
from harness.model import Ask, Indicator, Interval, Kind, Measurement, Outcome, Sample, Window
from harness.runs import HistogramKey, RunDirectory

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
        sent = [s for s in samples if s.outcome is not Outcome.SHED]
        return ClientEvidence(known_run(known(samples=samples, server_seconds=[0.0] * len(sent))))

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
        punctual=measured.value,
        punctual_quantile=measured.punctual_quantile,
    )


def test_what_would_have_been_seen_had_it_been_sent_when_it_was_due(asked: Asked):
    late = {"intended_start": 9.5}
    evidence = asked(
        *(sample(s, first_token=10.0 + s / 2, **late) for s in (0.1, 0.2)),
        sample(0.9, first_token=10.7, **late),
        sample(0.01, Outcome.HTTP_ERROR, **late),
        sample(0.3, first_token=10.2, intended_start=10.1),  # by a clock that stepped back
    )

    whole = evidence.measure(latency("response_time", 0.5, 0.5), (WARM,))
    first = evidence.measure(latency("ttft", 0.5, 0.15), (WARM,))
    service = evidence.measure(latency("service_time", 0.5, 0.15), (WARM,))

    assert (whole.value, whole.punctual) == (Interval.exactly(0.2), Interval.exactly(0.6))
    assert whole.punctual_quantile is not None
    assert whole.punctual_quantile.low == pytest.approx(0.2)
    assert (first.value, first.punctual) == (Interval.exactly(0.2), Interval.exactly(0.6))
    assert (service.punctual, service.punctual_quantile) == (None, None)


def test_failures_are_beyond_every_bound_however_punctual(asked: Asked):
    evidence = asked(sample(0.1), *[sample(0.1, Outcome.HTTP_ERROR)] * 3)

    measured = evidence.measure(latency("response_time", 0.5), (WARM,))

    assert measured.punctual == Interval.exactly(0.25)
    assert measured.punctual_quantile == Interval.exactly(math.inf)


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


def test_rows_that_were_lost_leave_no_share_of_the_rest(known_run: KnownRun):
    run = known_run()
    rows = run.path / "windows/warm_cache/samples.jsonl"
    rows.write_text("".join(rows.read_text().splitlines(keepends=True)[:50]))

    measured = ClientEvidence(run).measure(latency("response_time"), (WARM,))

    assert (measured.value, measured.note) == (None, "50 rows but 200 values in its histograms")


def test_a_latency_needs_a_quantile_and_a_bound(asked: Asked):
    indicator = Indicator("p95", Kind.LATENCY, {"client": Ask("response_time")})

    with pytest.raises(ValueError, match="p95: a latency needs a quantile and a bound"):
        asked(sample(0.1)).measure(indicator, (WARM,))


# -- what was shed, and what is no chat -----------------------------------------------------


def shed(scenario: str = "warm_cache") -> Sample:
    return Sample(
        scenario,
        "journey",
        "s",
        10.0,
        10.0,
        10.0,
        Outcome.SHED,
        traced=False,
        detail="5 under way",
    )


def document(seconds: float, outcome: Outcome = Outcome.OK) -> Sample:
    return sample(seconds, outcome, operation="read", traced=False)


def test_what_was_shed_ranks_above_every_success(asked: Asked):
    evidence = asked(sample(0.0001), sample(0.0002), sample(0.0003), shed())

    latency_of_all = evidence.measure(latency("response_time", 0.75, 1.0), (WARM,))
    beyond = evidence.measure(latency("response_time", 0.8), (WARM,))
    ratio = evidence.measure(Indicator("it", Kind.RATIO, {"client": Ask("ok")}), (WARM,))

    assert latency_of_all.value == ratio.value == Interval.exactly(0.75)
    assert beyond.quantile == Interval(0.0003, math.inf)
    assert ratio.note == "1 journeys were shed, and count as failed"


def test_what_was_shed_was_never_sent(asked: Asked):
    evidence = asked(sample(0.1), shed(), shed(), sample(0.0, Outcome.REFUSED))

    account = evidence.account(WARM)

    assert account is not None
    assert (account.requests, account.unanswered, account.unsent) == (1, 0, 3)
    assert evidence.lateness(WARM) == [0.0, 0.0]
    assert [(f["outcome"], f["count"], f["trace_id"]) for f in evidence.failures(WARM)] == [
        (Outcome.SHED, 2, ""), (Outcome.REFUSED, 1, ""),
    ]  # fmt: skip


def test_an_indicator_is_about_the_chats_where_there_are_any(asked: Asked):
    samples = (sample(0.4), sample(0.4, Outcome.TIMEOUT), *[document(0.001)] * 8, shed())
    evidence = asked(*samples, shed("documents"))

    ratio = evidence.measure(Indicator("it", Kind.RATIO, {"client": Ask("ok")}), (WARM,))
    within = evidence.measure(latency("response_time", 0.5, 0.1), (WARM,))
    everything = evidence.measure(latency("response_time of everything", 0.5, 0.1), (WARM,))

    assert (ratio.value, ratio.events) == (Interval.exactly(1 / 3), 3)
    assert within.value == Interval.exactly(0.0), "no document counts as a quick chat"
    assert within.note == (
        "9 requests that are no chats are left out; 1 journeys were shed, and count as failed"
    )
    assert (everything.value, everything.events) == (Interval.exactly(8 / 12), 12)
    assert evidence.response_median(WARM) == pytest.approx(0.4)


def test_where_there_are_no_chats_it_is_about_all_requests(asked: Asked):
    evidence = asked(document(0.1), document(0.1, Outcome.HTTP_ERROR), shed())

    ratio = evidence.measure(Indicator("it", Kind.RATIO, {"client": Ask("ok")}), (WARM,))

    assert (ratio.value, ratio.events) == (Interval.exactly(1 / 3), 3)


def test_traces_calls_and_tokens_are_those_of_the_chats(asked: Asked):
    account = asked(
        sample(0.1, trace_id="a", input_tokens=10, llm_calls=1), document(0.1), document(0.2)
    ).account(WARM)

    assert account is not None
    assert (account.requests, account.untraced, account.untold) == (3, 2, 0)
    assert (account.traces, account.input_tokens, account.llm_calls) == ({"a"}, 10, 1)
    assert account.client_durations is not None
    assert account.client_durations.count == 3, "the server's histogram holds them too"


# -- streams ---------------------------------------------------------------------------------


def stream(*, tokens: int, outcome: Outcome = Outcome.OK) -> Sample:
    return sample(0.5, outcome, operation="stream", first_token=10.1, output_tokens=tokens)


def test_time_per_output_token_needs_more_than_one(asked: Asked):
    evidence = asked(stream(tokens=5), stream(tokens=1), stream(tokens=5, outcome=Outcome.TIMEOUT))

    measured = evidence.measure(latency("tpot", 0.5, 0.2), (WARM,))

    assert measured.events == 2, "one that failed counts, one without a second token does not"
    assert measured.value == Interval.exactly(0.5)
    assert measured.quantile == Interval.exactly(0.1)


def test_every_gap_between_tokens_is_an_event_and_a_failed_stream_is_a_slow_one(
    known_run: KnownRun, known: Callable[..., object]
):
    samples = [stream(tokens=4), stream(tokens=4, outcome=Outcome.BROKEN_STREAM), sample(0.1)]
    run = known_run(known(samples=samples, server_seconds=[0.0] * 3))
    key = HistogramKey("warm_cache", "stream", Outcome.OK, "inter_token")
    run.write_histograms(
        "warm_cache", {**run.read_histograms("warm_cache"), key: Distribution([0.02, 0.02, 0.06])}
    )

    measured = ClientEvidence(run).measure(latency("inter_token", 0.75, 0.05), (WARM,))

    assert (measured.value, measured.events) == (Interval.exactly(0.5), 4)
    assert measured.quantile == Interval.exactly(0.06)


def test_a_time_that_the_histograms_do_not_hold_is_no_data(asked: Asked):
    measured = asked(stream(tokens=4)).measure(latency("inter_token"), (WARM,))

    assert (measured.value, measured.note) == (None, "no histogram holds its inter_token")


# -- failures --------------------------------------------------------------------------------


def test_failures_are_told_apart_by_status_and_the_many_rare_ones_together(asked: Asked):
    evidence = asked(
        *[sample(0.1, Outcome.HTTP_ERROR, http_status=503, detail="full", trace_id="f")] * 3,
        sample(0.1, Outcome.HTTP_ERROR, http_status=500, detail="full", trace_id="g"),
        *(sample(0.1, Outcome.TIMEOUT, detail=f"port {n}", trace_id=str(n)) for n in range(60)),
    )

    found = evidence.failures(WARM)

    assert len(found) == 41
    first, rest = found[0], next(f for f in found if f["detail"] == "other details")
    assert (first["status"], first["count"], first["trace_id"]) == (503, 3, "f") or first is rest
    assert (rest["outcome"], rest["count"]) == (Outcome.TIMEOUT, 22)
    assert sum(int(str(f["count"])) for f in found) == 64


def test_a_time_beyond_an_hour_is_in_its_histogram_as_an_hour(asked: Asked):
    account = asked(sample(5000.0)).account(WARM)

    assert account is not None
    assert account.problem == ""
