"""What is logged is read by the public tools, and what they log is read here."""

from __future__ import annotations

from pathlib import Path

import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from harness import histogram_log
from harness.distribution import Distribution
from harness.histogram_log import LoggedInterval

BASE = 1_790_000_000

# The first lines of a log in HdrHistogram's own tests, written by Java.
JAVA = """\
#[Logged with jHiccup version 2.0.7-SNAPSHOT, manually edited to duplicate contents with Tag=A]
#[Histogram log format version 1.2]
#[StartTime: 1441812279.474 (seconds since epoch), Wed Sep 09 08:24:39 PDT 2015]
"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"
Tag=A,0.127,1.007,2.769,HISTFAAAAEV42pNpmSzMwMCgyAABTBDKT4GBgdnNYMcCBvsPEBEJISEuATEZMQ4uASkhIR4\
nrxg9v2lMaxhvMekILGZkKmcCAEf2CsI=
"""


def logged(tag: str, second: int, *seconds: float) -> LoggedInterval:
    return LoggedInterval.of(tag, second, Distribution(seconds))


def log(*intervals: LoggedInterval, base: int = BASE) -> str:
    return histogram_log.header(base) + "".join(histogram_log.lines(intervals, base))


def test_a_log_is_written_as_java_writes_it():
    text = log(logged("a/chat/ok/ttft", BASE + 12, 0.241663, 0.1), logged("b", BASE, 0.0005))

    first = Distribution([0.0005]).hdr
    second = Distribution([0.241663, 0.1]).hdr
    assert text == (
        "#[Histogram log format version 1.3]\n"
        "#[StartTime: 1790000000.000 (seconds since epoch), Mon Sep 21 14:13:20 UTC 2026]\n"
        "#[BaseTime: 1790000000.000 (seconds since epoch)]\n"
        '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n'
        f"Tag=b,0.000,1.000,0.500,{first}\n"
        f"Tag=a/chat/ok/ttft,12.000,1.000,241.663,{second}\n"
    )


def test_a_line_has_the_fields_of_a_line_from_java():
    java = JAVA.splitlines()[-1].split(",")
    ours = log(logged("A", BASE + 3, 0.002769)).splitlines()[-1].split(",")

    assert len(ours) == len(java) == 5
    assert [ours[0], ours[3]] == [java[0], java[3]] == ["Tag=A", "2.769"]
    decimals = [[len(field.split(".")[1]) for field in line[1:4]] for line in (ours, java)]
    assert decimals == [[3, 3, 3], [3, 3, 3]]
    assert ours[4].startswith("HISTFAAAA")
    assert java[4].startswith("HISTFAAAA")


def test_a_line_from_java_is_read():
    (interval,) = histogram_log.read(JAVA.splitlines(keepends=True))

    assert interval.tag == "A"
    assert interval.start == 1441812279.601  # told from the start time on: there is no base time
    assert (interval.length, interval.largest) == (1.007, 0.002769)
    assert HdrHistogram.decode(interval.hdr).get_total_count() == 741


@pytest.mark.parametrize(
    ("comments", "start"),
    [
        pytest.param("", 7.5, id="told from the epoch"),
        pytest.param("#[StartTime: 1790000000.250 (seconds\n", 1790000007.75, id="from the start"),
        pytest.param("#[StartTime: 5.000 (seconds\n", 7.5, id="not so far from the start"),
        pytest.param(
            "#[StartTime: 1790000000.250 (seconds\n#[BaseTime: 100.000 (seconds\n", 107.5,
            id="from the base",
        ),
    ],
)  # fmt: skip
def test_what_times_are_told_from(comments: str, start: float):
    line = f"7.500,1.000,2.000,{Distribution([0.002]).hdr}\n"

    (interval,) = histogram_log.read((comments + line).splitlines(keepends=True))

    assert interval == LoggedInterval("", start, 1.0, 0.002, Distribution([0.002]).hdr)


def test_hdrhs_own_reader_finds_every_interval_with_its_tag_and_every_count(tmp_path: Path):
    seconds = {
        ("a", BASE): (0.1, 0.2),
        ("b", BASE): (0.3,),
        ("a", BASE + 1): (0.1, 7.0, 0.000003),
        ("a", BASE + 9): (3600.0, 0.0),
    }
    path = tmp_path / "intervals.hlog"
    path.write_text(log(*(logged(*place, *values) for place, values in seconds.items())))
    reader = HistogramLogReader(str(path), HdrHistogram(1, 3_600_000_000, 3))
    found = {}
    while (histogram := reader.get_next_interval_histogram()) is not None:
        assert histogram.get_end_time_stamp() == histogram.get_start_time_stamp() + 1000
        found[histogram.get_tag(), histogram.get_start_time_stamp() / 1000] = histogram
    reader.close()

    assert list(found) == sorted(seconds, key=lambda place: (place[1], place[0]))
    for place, values in seconds.items():
        assert found[place].encode().decode("ascii") == Distribution(values).hdr

    whole = HistogramLogReader(str(path), HdrHistogram(1, 3_600_000_000, 3))
    while whole.add_next_interval_histogram() is not None:
        pass
    whole.close()
    everything = Distribution(v for values in seconds.values() for v in values)
    assert whole.reference_histogram.encode().decode("ascii") == everything.hdr


def test_a_second_before_the_base_has_a_base_of_its_own(tmp_path: Path):
    intervals = [logged("a", BASE + s, 0.5) for s in (-3600, -2, 0, 1)]
    path = tmp_path / "intervals.hlog"
    path.write_text(log(*intervals))

    assert list(histogram_log.read(log(*intervals).splitlines(keepends=True))) == intervals
    reader = HistogramLogReader(str(path), HdrHistogram(1, 3_600_000_000, 3))
    starts = [reader.get_next_interval_histogram().get_start_time_stamp() for _ in intervals]
    reader.close()
    assert starts == [interval.start * 1000 for interval in intervals]


def test_what_was_logged_is_read_again():
    intervals = [logged("a", BASE, 0.1, 0.2), logged("", BASE + 1, 5.0)]

    read = list(histogram_log.read(log(*intervals).splitlines(keepends=True)))

    assert read == intervals
    assert read[0].distribution.count == 2
    assert read[0].distribution.largest == 0.2


def test_a_last_line_that_was_cut_short_is_left_out():
    text = log(logged("a", BASE, 0.1), logged("a", BASE + 1, 0.2))

    assert [i.start for i in histogram_log.read(text[:-9].splitlines(keepends=True))] == [BASE]


def test_a_line_that_is_none_is_named():
    text = log(logged("a", BASE, 0.1)) + "Tag=a,soon,1.000,1.000,HISTFAAAA\n"

    with pytest.raises(ValueError, match="line 6 is not one of a histogram log"):
        list(histogram_log.read(text.splitlines(keepends=True)))


def test_intervals_of_one_second_and_tag_are_joined():
    parts = [logged("a", BASE, 0.1, 0.2), logged("b", BASE, 1.0), logged("a", BASE, 0.15)]

    assert histogram_log.joined(parts) == [logged("a", BASE, 0.1, 0.2, 0.15), parts[1]]
