"""Two scrapes, subtracted: what happened in between, or why that cannot be said."""

from __future__ import annotations

import math

import pytest

from harness.evidence.exposition import ExpositionError, Fold, add, fold, parse
from harness.model import Buckets, Selector

HITS = Selector("hits_total")


def between(before: str, after: str) -> Fold:
    return fold(parse(before), parse(after))


def hits(before: str, after: str) -> tuple[float | None, tuple[str, ...]]:
    """Read the increase of hits_total, and the resets found."""
    folded = between(
        f"# TYPE hits_total counter\n{before}\n", f"# TYPE hits_total counter\n{after}\n"
    )
    return folded.total(HITS), folded.resets


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param("hits_total 3", "hits_total 10", (7.0, ()), id="it went up"),
        pytest.param("hits_total 3", "hits_total 3", (0.0, ()), id="nothing happened"),
        pytest.param("", "hits_total 5", (5.0, ()), id="a series appears: it began at zero"),
        pytest.param("", "", (0, ()), id="declared, but never counted: zero"),
        pytest.param('hits_total{a="x"} 3', 'hits_total{a="x"} 4\nhits_total{a="y"} 9',
                     (10.0, ()), id="a new label"),
        pytest.param('hits_total{a="x",b="y"} 3', 'hits_total{b="y",a="x"} 4', (1.0, ()),
                     id="labels in another order"),
        pytest.param("hits_total 3 1700000000000", "hits_total 4 1700000009000", (1.0, ()),
                     id="with timestamps"),
        pytest.param("hits_total 1e3", "hits_total 1.5e3", (500.0, ()), id="scientific notation"),
        pytest.param("hits_total 10", "hits_total 4", (4.0, (("hits_total went down or lost a "
                     "series"),)), id="a reset: it counts from zero"),
        pytest.param('hits_total{a="x"} 3\nhits_total{a="y"} 0', 'hits_total{a="x"} 3',
                     (0.0, ("hits_total went down or lost a series",)), id="a series was lost"),
    ],
)  # fmt: skip
def test_a_counter(before: str, after: str, expected: tuple[float, tuple[str, ...]]):
    assert hits(before, after) == expected


STARTED = "process_start_time_seconds 1.0\n"


@pytest.mark.parametrize(
    ("before", "after", "resets"),
    [
        pytest.param(STARTED + "hits_total 3\n", STARTED + "hits_total 4\n", (), id="same process"),
        pytest.param(STARTED + "hits_total 3\n", "process_start_time_seconds 2.0\nhits_total 4\n",
                     ("the process was restarted",), id="restarted, and already beyond"),
        pytest.param("# TYPE hits_total counter\nhits_total 3\n"
                     "# TYPE hits_created gauge\nhits_created 5.0\n",
                     "# TYPE hits_total counter\nhits_total 4\n"
                     "# TYPE hits_created gauge\nhits_created 6.0\n",
                     ("hits_created changed",), id="created anew, and already beyond"),
        pytest.param('# TYPE hits_total counter\nhits_total{a="x"} 3\n'
                     '# TYPE hits_created gauge\nhits_created{a="x"} 5.0\n',
                     '# TYPE hits_total counter\nhits_total{a="x"} 3\nhits_total{a="y"} 1\n'
                     '# TYPE hits_created gauge\nhits_created{a="x"} 5.0\n'
                     'hits_created{a="y"} 7.0\n',
                     (), id="a new label is created within"),
        pytest.param("# TYPE files_created gauge\nfiles_created 5\n",
                     "# TYPE files_created gauge\nfiles_created 9\n", (),
                     id="a gauge that only sounds like a creation time"),
        pytest.param("# TYPE files_created counter\nfiles_created 5\n",
                     "# TYPE files_created counter\nfiles_created 9\n", (),
                     id="a counter that only sounds like a creation time"),
        pytest.param("# TYPE sessions gauge\nsessions 9\n", "# TYPE sessions gauge\nsessions 2\n",
                     (), id="a gauge may go down"),
        pytest.param("# TYPE active_total gauge\nactive_total 9\n",
                     "# TYPE active_total gauge\nactive_total 2\n", (),
                     id="even one with the name of a counter"),
        pytest.param('# TYPE gc summary\ngc{quantile="0.5"} 3\ngc_sum 1\ngc_count 2\n',
                     '# TYPE gc summary\ngc{quantile="0.5"} NaN\ngc_sum 1\ngc_count 2\n', (),
                     id="the quantiles of a summary may go down"),
        pytest.param("# TYPE gc summary\ngc_sum 1\ngc_count 2\n",
                     "# TYPE gc summary\ngc_sum 1\ngc_count 1\n",
                     ("gc_count went down or lost a series",),
                     id="the count of a summary may not"),
        pytest.param('h_bucket{le="+Inf"} 5\n', 'h_bucket{le="+Inf"} 4\n',
                     ("h_bucket went down or lost a series",), id="an untyped bucket went down"),
        pytest.param("temperature 5\n", "temperature 4\n", (), id="an untyped value may go down"),
    ],
)  # fmt: skip
def test_resets(before: str, after: str, resets: tuple[str, ...]):
    assert between(before, after).resets == resets


def test_labels_are_matched_by_any_of_the_wanted_values():
    text = 'hits_total{{a="x"}} {}\nhits_total{{a="y"}} {}\nhits_total{{b="x"}} {}\n'
    folded = between(text.format(0, 0, 0), text.format(1, 20, 300))

    assert folded.total(Selector("hits_total", {"a": ("x", "y")})) == 21
    assert folded.total(Selector("hits_total", {"a": ("y",)})) == 20
    assert folded.total(Selector("hits_total", {"a": ("z",)})) == 0
    assert folded.total(HITS) == 321


def test_labels_are_unescaped():
    folded = between("other 1\n", 'hits_total{path="a\\"b\\\\c\\nd"} 4\n')

    assert folded.total(Selector("hits_total", {"path": ('a"b\\c\nd',)})) == 4


def test_a_counter_answers_to_its_own_name_with_and_without_total():
    folded = between(
        "# TYPE requests counter\nrequests 1\n", "# TYPE requests counter\nrequests 5\n"
    )

    assert folded.total(Selector("requests")) == 4


def test_a_metric_that_was_never_declared_is_not_zero():
    assert between("a_total 1\n", "a_total 1\n").total(HITS) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("# TYPE hits_total gauge\nhits_total 3\n", ("hits_total is not a counter, so it cannot be "
         "counted")),
        ("# TYPE hits_total counter\nhits_total NaN\n", "hits_total is nan, not a number"),
        ("# TYPE hits_total counter\nhits_total +Inf\n", "hits_total is inf, not a number"),
    ],
)  # fmt: skip
def test_what_cannot_be_counted(text: str, problem: str):
    folded = between("other 1\n", text)

    with pytest.raises(ExpositionError) as caught:
        folded.total(HITS)

    assert str(caught.value) == problem


# -- histograms ---------------------------------------------------------------------

HTTP = Selector("http")


def histogram(counts: dict[str, int], total: float = 1.0, labels: str = "") -> str:
    comma = f"{labels}," if labels else ""
    lines = [f'http_bucket{{{comma}le="{le}"}} {n}' for le, n in counts.items()]
    return "\n".join([*lines, f"http_sum{{{labels}}} {total}", f"http_count{{{labels}}} 9"]) + "\n"


def test_a_histogram_is_subtracted_bucket_by_bucket():
    folded = between(
        "# TYPE http histogram\n" + histogram({"1.0": 1, "5.0": 2, "+Inf": 3}, 10.0),
        "# TYPE http histogram\n" + histogram({"1.0": 2, "5.0": 5, "+Inf": 9}, 40.0),
    )

    assert folded.buckets(HTTP) == Buckets((1.0, 5.0, math.inf), (1, 3, 6), 30.0)


def test_a_bound_is_one_however_it_is_written():
    folded = between(
        histogram({"0.50": 1, "5": 2, "+Inf": 3}), histogram({"0.5": 2, "5.0": 5, "Inf": 9})
    )

    assert folded.resets == ()
    assert folded.buckets(HTTP) == Buckets((0.5, 5.0, math.inf), (1, 3, 6), 0.0)
    assert folded.total(Selector("http_bucket", {"le": ("5",)})) == 3
    assert folded.total(Selector("http_bucket", {"le": ("5.00",)})) == 3


def test_series_of_a_histogram_are_added():
    after = histogram({"1": 1, "+Inf": 2}, 3.0, 'path="/a"') + histogram(
        {"1": 10, "+Inf": 20}, 30.0, 'path="/b"'
    )
    folded = between("# TYPE http histogram\n", "# TYPE http histogram\n" + after)

    assert folded.buckets(HTTP) == Buckets((1.0, math.inf), (11, 22), 33.0)
    assert folded.buckets(Selector("http", {"path": ("/b",)})) == Buckets(
        (1.0, math.inf), (10, 20), 30.0
    )
    assert folded.buckets(Selector("http", {"path": ("/c",)})) is None
    assert folded.buckets(Selector("other")) is None


@pytest.mark.parametrize(
    ("after", "problem"),
    [
        pytest.param(histogram({"1": 1, "+Inf": 2}, labels='a="x"')
                     + histogram({"2": 1, "+Inf": 2}, labels='a="y"'),
                     "http: its series have different bucket bounds and cannot be added",
                     id="differing bounds"),
        pytest.param(histogram({"1": 1, "5": 2}), "http: it has no +Inf bucket", id="no +Inf"),
        pytest.param(histogram({"1": 3, "+Inf": 2}),
                     "http: its bucket counts go down as the bounds go up", id="not cumulative"),
        pytest.param('http_bucket{le="+Inf"} 2\nhttp_count 2\n', "http: it has no _sum",
                     id="no sum"),
        pytest.param('http_bucket{le="+Inf"} NaN\nhttp_sum 1\n',
                     "http: one of its bucket counts is not a number", id="a count of NaN"),
        pytest.param(histogram({"+Inf": 2}, math.nan), "http_sum is nan, not a number",
                     id="a sum of NaN"),
    ],
)  # fmt: skip
def test_a_histogram_that_cannot_be_read(after: str, problem: str):
    folded = between("other 1\n", after)

    with pytest.raises(ExpositionError) as caught:
        folded.buckets(HTTP)

    assert str(caught.value) == problem


# -- several windows ------------------------------------------------------------------


def test_windows_are_added():
    first = between("hits_total 1\n", 'hits_total 3\nother_total{a="x"} 4\n')
    second = between("hits_total 9\n", "hits_total 2\n")

    joined = add([first, second])

    assert joined.total(HITS) == 2 + 2
    assert joined.total(Selector("other_total")) == 4
    assert joined.resets == ("hits_total went down or lost a series",)


# -- what is no exposition --------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("", "it holds no metric", id="nothing"),
        pytest.param("# hello\n\n", "it holds no metric", id="only comments"),
        pytest.param("<!doctype html>\n<html></html>\n", "invalid metric name:<!doctype html>",
                     id="HTML"),
        pytest.param('{"detail":"Not Found"}', 'Invalid labels: "detail":"Not Found"', id="JSON"),
        pytest.param("OK\n", "could not convert string to float: 'OK'", id="a word"),
        pytest.param('hits_total{a="b"} many\n', "could not convert string to float: 'many'",
                     id="a value in words"),
        pytest.param("hits_total\n", "Invalid value: 'hits_total'", id="no value"),
        pytest.param('hits_total{a="b 1\n', "could not convert string to float: '{a=\"b'",
                     id="a quote never closed"),
    ],
)  # fmt: skip
def test_what_is_no_exposition(text: str, problem: str):
    with pytest.raises(ExpositionError) as caught:
        parse(text)

    assert str(caught.value) == f"not Prometheus text exposition: {problem}"


def test_openmetrics_text_is_understood_too():
    text = (
        "# TYPE hits counter\n"
        'hits_total{{a="b"}} {n}.0 # {{trace_id="x"}} 1.0 123.0\n'
        'hits_created{{a="b"}} 12.0\n'
        "# TYPE http histogram\n"
        '# UNIT http seconds\n'
        'http_bucket{{le="1.0"}} {n} # {{trace_id="x"}} 0.5\n'
        'http_bucket{{le="+Inf"}} {n}\n'
        "http_count {n}\nhttp_sum {n}\nhttp_created 5\n"
        "# EOF\n"
    )  # fmt: skip

    folded = between(text.format(n=1), text.format(n=4))

    assert (folded.total(HITS), folded.resets) == (3, ())
    assert folded.buckets(HTTP) == Buckets((1.0, math.inf), (3, 3), 3.0)
