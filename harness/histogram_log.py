"""
Histograms of one second each, as lines of text that HdrHistogram's own tools read.

The format is that of Java's HistogramLogWriter, version 1.3: comments that tell
the times, a legend, then lines such as

    Tag=warm_cache/chat/ok/response_time,12.000,1.000,241.663,HISTFAAAA...

A line holds a tag without commas and spaces, the start of its interval in
seconds after the base time, the length of the interval in seconds, the largest
value in it, and the histogram itself, compressed (V2) and in base64. The
histogram counts microseconds; the largest value (Interval_Max) is in
milliseconds, as it is by convention, and exact.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from harness.distribution import Distribution

_LEGEND = '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n'
_TIME_COMMENT = re.compile(r"#\[(StartTime|BaseTime): *([\d.]+) ")
_INTERVAL = re.compile(
    r"(?:Tag=(?P<tag>[^, ]*),)?"
    r"(?P<start>-?[\d.]+),(?P<length>[\d.]+),(?P<most>[\d.]+),(?P<hdr>\S+)\n"
)
_YEAR_SECONDS = 365 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class LoggedInterval:
    """
    One histogram of a log: its tag, when its interval began, how long that was, what it holds.

    `start` is in seconds since the epoch, `length` and `largest` in seconds, and
    `hdr` is the histogram in the interchange format.
    """

    tag: str
    start: float
    length: float
    largest: float
    hdr: str

    @classmethod
    def of(cls, tag: str, second: int, distribution: Distribution) -> LoggedInterval:
        """Log the durations of one second under a tag."""
        return cls(tag, float(second), 1.0, distribution.largest or 0.0, distribution.hdr)

    @property
    def distribution(self) -> Distribution:
        """Its durations; raises ValueError when the histogram is damaged."""
        return Distribution.of_hdr(self.hdr, self.largest)


def header(base: int) -> str:
    """Begin a log whose intervals are told from this second of the epoch on."""
    return f"#[Histogram log format version 1.3]\n{_times(base)}{_LEGEND}"


def lines(intervals: Iterable[LoggedInterval], base: int) -> Iterator[str]:
    """
    Write intervals sorted by start and tag, for a log of this base time.

    Should one have begun before the base, by another machine's clock, a base
    of its own goes before it, since readers take no negative times.
    """
    ordered = sorted(intervals, key=lambda i: (i.start, i.tag))
    early = [i for i in ordered if i.start < base]
    if early:
        yield _times(int(early[0].start))
        yield from (_line(i, int(early[0].start)) for i in early)
        yield _times(base)
    yield from (_line(i, base) for i in ordered[len(early) :])


def read(text: Iterable[str]) -> Iterator[LoggedInterval]:
    """
    Read a log, whoever wrote it; a last line that was cut short is left out.

    Without a base time, times far before the start time are counted from it and
    others from the epoch, as the Java reader does. Raises ValueError on a line that is none.
    """
    started, base = 0.0, None
    for number, line in enumerate(text, start=1):
        if found := _TIME_COMMENT.match(line):
            if found[1] == "StartTime":
                started = float(found[2])
            else:
                base = float(found[2])
        elif line.startswith(("#", '"')) or not line.endswith("\n"):
            continue
        elif (found := _INTERVAL.fullmatch(line)) is None:
            msg = f"line {number} is not one of a histogram log"
            raise ValueError(msg)
        else:
            start = float(found["start"])
            if base is None:
                base = started if start < started - _YEAR_SECONDS else 0.0
            yield LoggedInterval(
                found["tag"] or "",
                round(base + start, 3),
                float(found["length"]),
                round(float(found["most"]) / 1e3, 6),
                found["hdr"],
            )


def joined(intervals: Iterable[LoggedInterval]) -> list[LoggedInterval]:
    """Make one interval of those with the same tag and start; counts stay exact."""
    by_place: dict[tuple[float, str], list[LoggedInterval]] = {}
    for interval in intervals:
        by_place.setdefault((interval.start, interval.tag), []).append(interval)
    return [_one(same) for same in by_place.values()]


def _one(same: list[LoggedInterval]) -> LoggedInterval:
    if len(same) == 1:
        return same[0]
    whole = Distribution()
    for interval in same:
        whole.merge(interval.distribution)
    return replace(same[0], largest=max(i.largest for i in same), hdr=whole.hdr)


def _times(base: int) -> str:
    shown = time.strftime("%a %b %d %H:%M:%S UTC %Y", time.gmtime(base))
    return (
        f"#[StartTime: {base:.3f} (seconds since epoch), {shown}]\n"
        f"#[BaseTime: {base:.3f} (seconds since epoch)]\n"
    )


def _line(i: LoggedInterval, base: int) -> str:
    tag = f"Tag={i.tag}," if i.tag else ""
    return f"{tag}{i.start - base:.3f},{i.length:.3f},{i.largest * 1e3:.3f},{i.hdr}\n"
