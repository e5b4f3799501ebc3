"""
Was the load generator the bottleneck? All rules and limits, in one place.

A generator that cannot keep up sends late, or reads late what has long been
answered, and both look like a slow target. Three rules find out one that was
not fit for a window at all; none of them minds a busy machine on which requests
still leave and return in time. Two more look at a single promise that would be
missed: could it be the generator alone that broke it?
docs/methodology.md gives the reasons for the limits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from harness.judge.statistics import share_at_least
from harness.model import GeneratorSecond, Interval, Measurement

# What a request may be late, or the loop stand still at a time: whichever is more.
_HELD_UP_SECONDS = 0.1
_HELD_UP_OF_RESPONSE = 0.1
# Late beyond that: surely more than one request in a hundred.
_LATE_SHARE, _CONFIDENCE = 0.01, 0.95
# Standing still beyond that: so much of the whole window that no promise can be judged. Less of
# it is weighed against the quantile of each promise that would be missed.
_STANDSTILL_SHARE = 0.2
# A process at its limit: this much of one core, in so many of its seconds.
_PINNED_CORE, _PINNED_SHARE = 0.9, 0.5
# And it matters if the loop then makes everything wait this much of the median response.
_PINNED_LAG_OF_RESPONSE = 0.1
# A cause is named when it was there in so many seconds.
_MACHINE_FULL, _CAUSE_SHARE = 0.95, 0.2
# Garbage collection is the cause if it explains this much of the standstill.
_COLLECTING_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Sending:
    """
    How the requests of a window, or of several together, were sent; times in seconds.

    `seconds` is what the load processes noted of themselves, `lateness` how late
    each request was sent, `response_median` what half of the requests took at
    most, and `duration` the length of the window.
    """

    seconds: Sequence[GeneratorSecond]
    lateness: Sequence[float]
    response_median: float | None
    duration: float

    @classmethod
    def together(cls, windows: Sequence[Sending]) -> Sending:
        """Join windows that a promise is about; the least patient one says what is tolerable."""
        medians = [w.response_median for w in windows if w.response_median is not None]
        return cls(
            [s for w in windows for s in w.seconds],
            [late for w in windows for late in w.lateness],
            min(medians, default=None),
            sum(w.duration for w in windows),
        )

    @property
    def tolerable(self) -> float:
        """How long a request may be late, or the loop stand still at a time."""
        return max(_HELD_UP_SECONDS, _HELD_UP_OF_RESPONSE * (self.response_median or 0.0))

    @property
    def by_process(self) -> dict[int, list[GeneratorSecond]]:
        """What each load process noted."""
        found: dict[int, list[GeneratorSecond]] = {}
        for second in self.seconds:
            found.setdefault(second.process, []).append(second)
        return found


def bottleneck(sending: Sending) -> str:
    """
    Say that the load generator was the bottleneck of a window, by what figure, and the mend.

    Gives "" when the generator kept up, or when nothing says that it did not.
    """
    by_process, tolerable = sending.by_process, sending.tolerable
    figure = (
        _late(sending.lateness, tolerable)
        or _stood_still(sending, _STANDSTILL_SHARE)
        or _pinned(by_process, sending.response_median)
    )
    if not figure:
        return ""
    return f"the load generator was the bottleneck: {figure}; {_cause(by_process, tolerable)}"


def lateness_carried(sending: Sending, quantile: float, m: Measurement) -> str:
    """
    Say that lateness alone carried a quantile (a share) over its bound, with figures and the mend.

    Whether it is not over its bound with the lateness taken out is for the caller to decide.
    """
    late = sorted(sending.lateness)
    middle, most = (_ms(_rank(late, share)) for share in (0.5, 0.99))
    within = _percent(m.punctual.low) if m.punctual else "more"
    places = [i.high for i in (m.punctual_quantile, m.quantile) if i and math.isfinite(i.high)]
    p = f"p{100 * quantile:g}"
    moved = f" ({p} {_ms(places[0])} instead of {_ms(places[1])})" if len(places) > 1 else ""
    return (
        f"only the load generator's own lateness carried {p} over the bound: half of the requests "
        f"were sent {middle} or more after they were due (p99 {most}), and counted from when they "
        f"were sent, {within} are within the bound{moved}; "
        f"{_cause(sending.by_process, sending.tolerable)}"
    )


def standstill_carried(sending: Sending, quantile: float, bound: float, seen: Interval) -> str:
    """
    Say that standing still may have carried a quantile over its bound; "" when it cannot have.

    It can where the loop stood still for a larger share of the window than may
    be above the quantile, since as many answers were read late; and where the
    longest standstill is at least what the quantile is over its bound, since an
    answer waits for one standstill at most: the one it comes in. A quantile
    that is among the failures no standstill has carried there.
    """
    longest = max((s.loop_lag for s in sending.seconds), default=0.0)
    figure = _stood_still(sending, 1.0 - quantile)
    if not figure or math.isinf(seen.high) or seen.low - longest > bound:
        return ""
    p = f"p{100 * quantile:g}"
    return (
        f"the load generator's own standstill may have carried {p} over its bound: "
        f"{figure}; {_cause(sending.by_process, sending.tolerable)}"
    )


def late_p99(lateness: Sequence[float]) -> float | None:
    """How late all but one request in a hundred were sent at most; None without any."""
    return _rank(sorted(lateness), 0.99) if lateness else None


def _rank(ascending: Sequence[float], share: float) -> float:
    """Of these values, the one that this share of them does not exceed; 0 without any."""
    return ascending[max(1, math.ceil(share * len(ascending))) - 1] if ascending else 0.0


def _late(lateness: Sequence[float], tolerable: float) -> str:
    """Requests left later than is tolerable: visible where there is a schedule."""
    late = sum(one > tolerable for one in lateness)
    if not late or share_at_least(late, len(lateness), _CONFIDENCE) <= _LATE_SHARE:
        return ""
    return (
        f"{late} of {len(lateness)} requests were sent more than {_ms(tolerable)} after they were "
        f"due (p99 {_ms(late_p99(lateness) or 0.0)})"
    )


def _stood_still(sending: Sending, allowed: float) -> str:
    """The loops stood still for more than this share of the window, and held up answers."""
    lags = [s.loop_lag for s in sending.seconds]
    processes = len({s.process for s in sending.seconds})
    still = sum(lag for lag in lags if lag > sending.tolerable)
    share = still / (sending.duration * processes) if processes and sending.duration > 0 else 0.0
    if share <= allowed:
        return ""
    return (
        f"its loop stood still for {_percent(min(share, 1.0))} of the window, up to "
        f"{_ms(max(lags))} at a time"
    )


def _pinned(
    by_process: Mapping[int, Sequence[GeneratorSecond]], response_median: float | None
) -> str:
    """A process used all of its core, and its loop makes requests wait for their turn."""
    if response_median is None:
        return ""
    for process, own in sorted(by_process.items()):
        lag = median(s.loop_lag for s in own)
        pinned = sum(s.cpu_share >= _PINNED_CORE for s in own)
        if pinned > _PINNED_SHARE * len(own) and lag > _PINNED_LAG_OF_RESPONSE * response_median:
            return (
                f"the loop of load process {process} was {_ms(lag)} behind in most seconds, where "
                f"half of the requests took {_ms(response_median)} or less"
            )
    return ""


def _cause(by_process: Mapping[int, Sequence[GeneratorSecond]], tolerable: float) -> str:
    """Name what kept it from sending in time, and what helps."""
    everything = [s for own in by_process.values() for s in own]
    full = [s for s in everything if s.machine_cpu_share >= _MACHINE_FULL]
    if everything and len(full) >= _CAUSE_SHARE * len(everything):
        return (
            f"the CPU of its machine was in full use in {len(full)} of {len(everything)} seconds; "
            "send from another machine than the target's, or fewer requests"
        )
    for process, own in sorted(by_process.items()):
        pinned = [s.cpu_share for s in own if s.cpu_share >= _PINNED_CORE]
        if pinned and len(pinned) >= _CAUSE_SHARE * len(own):
            return (
                f"load process {process} used {_percent(max(pinned))} of a core, its limit, in "
                f"{len(pinned)} of {len(own)} seconds; start it with more --processes"
            )
    held_up = [s for s in everything if s.loop_lag > tolerable]
    collecting = sum(s.gc_seconds for s in held_up)
    if held_up and collecting >= _COLLECTING_SHARE * sum(s.loop_lag for s in held_up):
        return (
            f"garbage collection took {_ms(collecting)} of it; start it with more --processes, so "
            "that each keeps less"
        )
    return (
        "its process was held up though neither its core nor its machine was in full use; look "
        "for a scenario that computes long or waits without gevent, or for a machine that pauses"
    )


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _percent(share: float) -> str:
    return f"{round(100 * share, 1):g} %"
