"""
Was the load generator the bottleneck? All rules and limits, in one place.

A generator that cannot keep up sends late, or reads late what has long been
answered, and both look like a slow target. Three rules find it out; none of
them minds a busy machine on which requests still leave and return in time.
docs/methodology.md gives the reasons for the limits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median

from harness.judge.statistics import share_at_least
from harness.model import GeneratorSecond

# What a request may be late, or the loop stand still at a time: whichever is more.
_HELD_UP_SECONDS = 0.1
_HELD_UP_OF_RESPONSE = 0.1
# Late beyond that: surely more than one request in a hundred.
_LATE_SHARE, _CONFIDENCE = 0.01, 0.95
# Standing still beyond that: this much of the whole window.
_STANDSTILL_SHARE = 0.05
# A process at its limit: this much of one core, in so many of its seconds.
_PINNED_CORE, _PINNED_SHARE = 0.9, 0.5
# And it matters if the loop then makes everything wait this much of the median response.
_PINNED_LAG_OF_RESPONSE = 0.1
# A cause is named when it was there in so many seconds.
_MACHINE_FULL, _CAUSE_SHARE = 0.95, 0.2
# Garbage collection is the cause if it explains this much of the standstill.
_COLLECTING_SHARE = 0.5


def bottleneck(
    seconds: Sequence[GeneratorSecond],
    lateness: Sequence[float],
    response_median: float | None,
    duration: float,
) -> str:
    """
    Say that the load generator was the bottleneck of a window, by what figure, and the mend.

    `seconds` is what the load processes noted of themselves, `lateness` how late
    each request was sent, `response_median` what half of the requests took at
    most, and `duration` the length of the window, all in seconds. Gives "" when
    the generator kept up, or when nothing says that it did not.
    """
    tolerable = max(_HELD_UP_SECONDS, _HELD_UP_OF_RESPONSE * (response_median or 0.0))
    by_process: dict[int, list[GeneratorSecond]] = {}
    for second in seconds:
        by_process.setdefault(second.process, []).append(second)
    figure = (
        _late(lateness, tolerable)
        or _stood_still(by_process, tolerable, duration)
        or _pinned(by_process, response_median)
    )
    if not figure:
        return ""
    return f"the load generator was the bottleneck: {figure}; {_cause(by_process, tolerable)}"


def late_p99(lateness: Sequence[float]) -> float | None:
    """How late all but one request in a hundred were sent at most; None without any."""
    late = sorted(lateness)
    return late[math.ceil(0.99 * len(late)) - 1] if late else None


def _late(lateness: Sequence[float], tolerable: float) -> str:
    """Requests left later than is tolerable: visible where there is a schedule."""
    late = sum(one > tolerable for one in lateness)
    if not late or share_at_least(late, len(lateness), _CONFIDENCE) <= _LATE_SHARE:
        return ""
    return (
        f"{late} of {len(lateness)} requests were sent more than {_ms(tolerable)} after they were "
        f"due (p99 {_ms(late_p99(lateness) or 0.0)})"
    )


def _stood_still(
    by_process: Mapping[int, Sequence[GeneratorSecond]], tolerable: float, duration: float
) -> str:
    """The loops stood still for long, often enough to hold up many answers."""
    lags = [s.loop_lag for own in by_process.values() for s in own]
    still = sum(lag for lag in lags if lag > tolerable)
    share = still / (duration * len(by_process)) if by_process and duration > 0 else 0.0
    if share <= _STANDSTILL_SHARE:
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
        "for a scenario that waits without gevent, or for a machine that pauses"
    )


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
