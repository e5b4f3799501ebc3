"""What the server's own metrics say, and when they say nothing."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from harness.evidence.metrics import MetricsEvidence, quantile
from harness.model import Account, Ask, Indicator, Interval, Kind, Selector, Window
from harness.runs import RunDirectory, Snapshot
from harness.slo import Reconciliation

WARM = Window("warm_cache", ("warm_cache",), 1.0, 2.0)
HTTP = Selector("http_seconds")
Scraped = Callable[..., MetricsEvidence]


@pytest.fixture
def scraped(known_run: Callable[..., RunDirectory]) -> Scraped:
    """Give a witness of these two scrapes."""

    def of(
        after: str | None,
        before: str | None = "up 1\n",
        reconciliation: Reconciliation | None = None,
    ) -> MetricsEvidence:
        run = known_run()
        for which, text, seconds in (("before", before, 0.5), ("after", after, 0.25)):
            problem = "" if text is not None else "http://t/metrics answered 404"
            (run.path / f"windows/warm_cache/metrics-{which}.prom").unlink()
            run.write_snapshot("warm_cache", which, Snapshot(1.0, seconds, text, problem))
        return MetricsEvidence(run, reconciliation or Reconciliation())

    return of


def indicator(kind: Kind, bound: float = 1.0, **parts: str) -> Indicator:
    # The only metric with a label is asked for one that it does not have.
    match = {"labelled_total": {"reslut": ("hit",)}}
    ask = Ask(parts={name: Selector(m, match.get(m, {})) for name, m in parts.items()})
    return Indicator("it", kind, {"metrics": ask}, quantile=0.95, bound=bound)


def http(*counts: int, bounds: tuple[str, ...] = ("0.5", "1", "+Inf"), failed: int = 0) -> str:
    lines = [f'http_seconds_bucket{{le="{b}"}} {n}' for b, n in zip(bounds, counts, strict=True)]
    lines += [f"http_seconds_sum {counts[-1]}", f"failed_total {failed}"]
    return "# TYPE http_seconds histogram\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "bound", "value", "located", "note"),
    [
        pytest.param(http(90, 96, 100), 1.0, (0.96, 0.96), (0.5, 1.0), "", id="at an edge: exact"),
        pytest.param(http(90, 96, 100), 0.7, (0.90, 0.96), (0.5, 1.0),
                     "0.7 s is not an edge of its buckets", id="between edges: a range"),
        pytest.param(http(90, 96, 100), 0.1, (0.0, 0.90), (0.5, 1.0),
                     "0.1 s is not an edge of its buckets", id="below the first edge"),
        pytest.param(http(90, 94, 100), 5.0, (0.94, 1.0), (1.0, math.inf),
                     "5 s is not an edge of its buckets", id="beyond the last edge"),
        pytest.param(http(90, 96, 100, failed=3), 1.0, (0.93, 0.96), (0.5, math.inf), "",
                     id="failures may have been quick"),
        pytest.param(http(90, 100, 100, failed=3), 1.0, (0.97, 0.97), (0.5, 1.0), "",
                     id="failures that were all quick"),
        pytest.param(http(0, 2, 100, failed=98), 1.0, (0.0, 0.02), (1.0, math.inf), "",
                     id="nearly all failed"),
    ],
)  # fmt: skip
def test_a_latency(
    scraped: Scraped,
    text: str,
    bound: float,
    value: tuple[float, float],
    located: tuple[float, float],
    note: str,
):
    asked = indicator(Kind.LATENCY, bound, histogram="http_seconds", failed="failed_total")

    measured = scraped(text).measure(asked, (WARM,))

    assert (measured.value, measured.events) == (Interval(*value), 100)
    assert (measured.quantile, measured.note) == (Interval(*located), note)


@pytest.mark.parametrize(
    ("bounds", "cumulative", "q", "expected"),
    [
        pytest.param((0.5, 1.0, math.inf), (0, 0, 0), 0.95, None, id="no request"),
        pytest.param((), (), 0.95, None, id="no bucket"),
        pytest.param((0.5, 1.0, math.inf), (95, 99, 100), 0.95, (0.0, 0.5), id="the first bucket"),
        pytest.param((0.5, 1.0, math.inf), (94, 99, 100), 0.95, (0.5, 1.0), id="the second"),
        pytest.param((0.5, 1.0, math.inf), (0, 94, 100), 0.95, (1.0, math.inf), id="the last"),
        pytest.param((1.0,), (5,), 0.0, (0.0, 1.0), id="the smallest value"),
    ],
)
def test_a_quantile_is_its_bucket_and_never_interpolated(
    bounds: tuple[float, ...],
    cumulative: tuple[int, ...],
    q: float,
    expected: tuple[float, float] | None,
):
    assert quantile(bounds, cumulative, q) == (Interval(*expected) if expected else None)


COUNTERS = (
    "# TYPE gets_total counter\ngets_total 50\n# TYPE hits_total counter\nhits_total 40\n"
    "# TYPE blocks_total counter\n# TYPE misses_total counter\nmisses_total 60\n"
    "# TYPE sessions gauge\nsessions 3\n# TYPE labelled_total counter\n"
    'labelled_total{result="hit"} 2\n# TYPE seconds_total counter\nseconds_total 0\n'
)


@pytest.mark.parametrize(
    ("asked", "value", "events"),
    [
        pytest.param(indicator(Kind.RATIO, good="hits_total", total="gets_total"), 0.8, 50,
                     id="a share of good ones"),
        pytest.param(indicator(Kind.COUNT, counter="seconds_total"), 0.0, 0, id="a count of none"),
        pytest.param(indicator(Kind.COUNT, counter="hits_total"), 40.0, 40, id="a count"),
    ],
)  # fmt: skip
def test_ratios_and_counts(scraped: Scraped, asked: Indicator, value: float, events: int):
    measured = scraped(COUNTERS).measure(asked, (WARM,))

    assert (measured.value, measured.events) == (Interval.exactly(value), events)


@pytest.mark.parametrize(
    ("asked", "note"),
    [
        pytest.param(indicator(Kind.RATIO, good="hit_total", total="gets_total"),
                     "the server has no metric hit_total", id="a metric that is not there"),
        pytest.param(indicator(Kind.COUNT, counter="nothing_total"),
                     "the server has no metric nothing_total", id="a counter that is not there"),
        pytest.param(indicator(Kind.RATIO, good="hits_total", total="seconds_total"),
                     "seconds_total counted nothing", id="a share of nothing"),
        pytest.param(indicator(Kind.RATIO, good="misses_total", total="gets_total"),
                     "misses_total counted 60, more than its total of 50", id="more than all"),
        pytest.param(indicator(Kind.COUNT, counter="labelled_total"),
                     "no series of labelled_total has a label 'reslut'; only result", id="a misspelt label"),
        pytest.param(indicator(Kind.COUNT, counter="sessions"),
                     "sessions is not a counter, so it cannot be counted", id="a gauge"),
        pytest.param(indicator(Kind.LATENCY, histogram="http_seconds"),
                     "the server has no metric http_seconds", id="no histogram"),
        pytest.param(indicator(Kind.LATENCY, histogram="gets_total"),
                     "gets_total counted nothing", id="a counter is no histogram"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_none(scraped: Scraped, asked: Indicator, note: str):
    measured = scraped(COUNTERS).measure(asked, (WARM,))

    assert (measured.value, measured.events, measured.note) == (None, 0, note)


@pytest.mark.parametrize(
    ("selector", "value", "note"),
    [
        pytest.param(Selector("labelled_total", {"result": ("hit",)}), 2.0, "", id="a series"),
        pytest.param(
            Selector("labelled_total", {"result": ("mis",)}), None,
            "no series matches labelled_total{result=mis}; there is result=hit; if it only appears "
            "once it happens, say absent: zero", id="a misspelt value is no data",
        ),
        pytest.param(Selector("labelled_total", {"result": ("miss",)}, absent_is_zero=True), 0.0, "",
                     id="a series that appears once it happens"),
        pytest.param(Selector("labelled_total", {"reslut": ("miss",)}, absent_is_zero=True), None,
                     "no series of labelled_total has a label 'reslut'; only result",
                     id="a misspelt label is never zero"),
        pytest.param(Selector("blocks_total"), None, "no series matches blocks_total; if it only "
                     "appears once it happens, say absent: zero", id="declared, no series"),
        pytest.param(Selector("blocks_total", absent_is_zero=True), 0.0, "",
                     id="declared, no series yet"),
    ],
)  # fmt: skip
def test_no_series_is_zero_only_when_that_is_said(
    scraped: Scraped, selector: Selector, value: float | None, note: str
):
    asks = {"metrics": Ask(parts={"counter": selector})}

    measured = scraped(COUNTERS).measure(Indicator("it", Kind.COUNT, asks), (WARM,))

    expected = None if value is None else Interval.exactly(value)
    assert (measured.value, measured.note) == (expected, note)


def test_the_slowest_scrape(scraped: Scraped):
    asked = Indicator("it", Kind.AMOUNT, {"metrics": Ask("scrape_seconds")})

    measured = scraped("up 1\n").measure(asked, (WARM,))

    assert (measured.value, measured.events, measured.asked) == (
        Interval.exactly(0.5), 2, "slowest scrape of /metrics",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        pytest.param("up 1\n", None, "no scrape after the window: http://t/metrics answered 404",
                     id="no scrape after"),
        pytest.param(None, None, "no scrape before the window: http://t/metrics answered 404; "
                     "none after the window: http://t/metrics answered 404", id="none at all"),
        pytest.param("up 1\n", "<html>\n", "a scrape cannot be read: not Prometheus text "
                     "exposition: invalid metric name:<html>", id="HTML"),
        pytest.param("a_total 2\n", "a_total 1\n", "the server's counters were reset within the "
                     "window (a_total went down or lost a series); what came before the reset is "
                     "lost", id="a reset"),
    ],
)  # fmt: skip
def test_a_scrape_that_failed_silences_the_witness(
    scraped: Scraped, before: str | None, after: str | None, problem: str
):
    evidence = scraped(after, before)

    measured = evidence.measure(indicator(Kind.COUNT, counter="a_total"), (WARM,))

    assert (measured.value, measured.note) == (None, problem)
    assert evidence.account(WARM) == Account("metrics", problem=problem)


def test_a_scrape_that_was_never_tried(known_run: Callable[..., RunDirectory]):
    run = known_run()
    (run.path / "windows/warm_cache/metrics-after.json").unlink()

    account = MetricsEvidence(run, Reconciliation()).account(WARM)

    assert account == Account("metrics", problem="no scrape after the window: not tried")


def test_an_account_of_what_is_to_be_reconciled(scraped: Scraped):
    evidence = scraped(
        http(1, 2, 3) + COUNTERS,
        reconciliation=Reconciliation(
            requests=HTTP, llm_calls=Selector("hits_total"), tool_calls=Selector("blocks_total")
        ),
    )

    account = evidence.account(WARM)

    assert account is not None
    assert (account.requests, account.llm_calls, account.tool_calls) == (3, 40, 0)
    assert (account.input_tokens, account.output_tokens) == (None, None)
    assert account.server_durations is not None
    assert account.server_durations.cumulative == (1, 2, 3)


def test_what_is_not_to_be_reconciled_is_not_counted(scraped: Scraped):
    assert scraped(http(1, 2, 3)).account(WARM) == Account("metrics")


def test_a_misspelt_label_is_no_server_without_requests(scraped: Scraped):
    asked = Reconciliation(requests=Selector("http_seconds", {"methud": ("POST",)}))

    account = scraped(http(1, 2, 3), reconciliation=asked).account(WARM)

    problem = "no series of http_seconds has a label 'methud'; they have none"
    assert account == Account("metrics", problem=problem)


@pytest.mark.parametrize(
    ("text", "requests", "problem"),
    [
        pytest.param("# TYPE http_seconds histogram\n", 0, "", id="it knows of no request"),
        pytest.param("up 1\n", None, "the server has no metric http_seconds", id="not there"),
        pytest.param(http(1, 2, 3).replace('{le', '{path="/",le'), 3, "", id="more labels"),
        pytest.param(http(1, 2, bounds=("0.5", "1")), None, "http_seconds: it has no +Inf bucket",
                     id="a broken histogram"),
    ],
)  # fmt: skip
def test_requests_that_cannot_be_reconciled(
    scraped: Scraped, text: str, requests: int | None, problem: str
):
    account = scraped(text, reconciliation=Reconciliation(requests=HTTP)).account(WARM)

    assert account is not None
    assert (account.requests, account.problem) == (requests, problem)


def test_a_window_that_was_never_run(scraped: Scraped):
    assert scraped("up 1\n").account(Window("cold", ("cold",), 1.0, 2.0)) is None


def test_a_latency_needs_a_quantile_and_a_bound(scraped: Scraped):
    asked = Indicator("p95", Kind.LATENCY, {"metrics": Ask(parts={"histogram": HTTP})})

    with pytest.raises(ValueError, match="p95: a latency needs a quantile and a bound"):
        scraped(http(1, 2, 3)).measure(asked, (WARM,))
