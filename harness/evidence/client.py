"""The client witness: what the load generator measured of every request."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from harness.distribution import Distribution
from harness.judge.latencies import OF_EVERYTHING
from harness.model import (
    Account,
    Indicator,
    Interval,
    Kind,
    Measurement,
    Outcome,
    Sample,
    Window,
)
from harness.runs import RunDirectory

_STREAMED = ("ttft", "tpot", "inter_token")
# Times that hold the generator's own lateness.
_FROM_INTENDED_START = ("response_time", "ttft")
_LONGEST_SECONDS = 3600.0  # what a histogram holds at most
_KINDS_OF_FAILURE = 40

_Operations = frozenset[tuple[str, str]]
_Failure = tuple[str, Outcome, int | None, str]


class ClientEvidence:
    """Samples and HDR histograms of a run, as its load processes wrote them."""

    witness = "client"

    def __init__(self, run: RunDirectory) -> None:
        """Read the samples of every window."""
        self._samples = {name: run.read_samples(name) for name in run.window_names()}
        self._histograms = {name: run.read_histograms(name) for name in run.window_names()}
        self._joined: dict[tuple[object, ...], Distribution] = {}
        self._chosen: dict[tuple[object, ...], _Chosen] = {}
        self._probes = {name: run.read_window(name).null_probes for name in run.window_names()}

    def measure(self, indicator: Indicator, windows: tuple[Window, ...]) -> Measurement:
        """Answer a latency, the share of requests that went well, or the number that did not."""
        what = indicator.asks[self.witness].what
        names = tuple(w.name for w in windows)
        asked = f"{what} of {', '.join(names)}"
        chosen = self._choose(names, everything=what.endswith(OF_EVERYTHING))
        if not chosen.events:
            note = chosen.note or "it sent no request"
            return Measurement(self.witness, None, 0, asked, note=note)
        if indicator.kind is Kind.LATENCY:
            time = what.removesuffix(OF_EVERYTHING)
            chosen = self._choose(names, everything=what != time, streamed=time)
            good, events = self._merged(names, time, chosen.operations), chosen.events
            if time == "inter_token":
                # Every gap is one; of a failed stream nobody knows how many it should have had.
                events = good.count + chosen.failed
            if not good.count and (chosen.failed < chosen.events or not chosen.events):
                missing = (
                    f"no histogram holds its {time}" if chosen.events else "nothing was streamed"
                )
                return Measurement(self.witness, None, 0, asked, note=missing)
            if good.count > events:  # rows are missing, so the share of all is not known
                missing = f"{events} rows but {good.count} values in its histograms"
                return Measurement(self.witness, None, 0, asked, note=missing)
            found = _share_within(indicator, good, events, asked, chosen.note)
            return self._with_punctual(indicator, found, names, time, chosen.operations)
        if indicator.kind is Kind.RATIO:
            good_share = Interval.exactly((chosen.events - chosen.failed) / chosen.events)
            return Measurement(self.witness, good_share, chosen.events, asked, note=chosen.note)
        failed = Interval.exactly(chosen.failed)
        return Measurement(self.witness, failed, chosen.events, asked, note=chosen.note)

    def _with_punctual(
        self,
        indicator: Indicator,
        found: Measurement,
        windows: tuple[str, ...],
        time: str,
        operations: _Operations,
    ) -> Measurement:
        """Add what would have been seen if every request had been sent when it was due."""
        if time not in _FROM_INTENDED_START or indicator.bound is None:
            return found
        times = sorted(
            taken - max(0.0, s.lateness)
            for name in windows
            for s in self._samples.get(name, ())
            if s.outcome is Outcome.OK
            and (s.scenario, s.operation) in operations
            and (taken := s.ttft if time == "ttft" else s.response_time) is not None
        )
        within = bisect_right(times, indicator.bound)
        rank = _rank(indicator, found.events)
        at = times[rank - 1] if rank <= len(times) else math.inf
        return replace(
            found,
            punctual=Interval.exactly(within / found.events),
            punctual_quantile=Interval.exactly(at),
        )

    def _choose(
        self, windows: tuple[str, ...], *, everything: bool, streamed: str = ""
    ) -> _Chosen:
        """Choose once what indicators are about: readers come often, and rows may be many."""
        time = streamed if streamed in _STREAMED else ""
        key = (windows, everything, time)
        if key not in self._chosen:
            samples = [s for name in windows for s in self._samples.get(name, ())]
            counted, note = _counted(samples, everything=everything)
            if time:
                counted = _streamed(counted, time)
            self._chosen[key] = _Chosen(
                events=len(counted),
                failed=sum(s.outcome is not Outcome.OK for s in counted),
                operations=frozenset((s.scenario, s.operation) for s in counted),
                note=note,
            )
        return self._chosen[key]

    def account(self, window: Window) -> Account | None:
        """Count requests, losses, tokens and durations of one window."""
        samples = self._samples.get(window.name)
        if samples is None:
            return None
        outcomes = Counter(s.outcome for s in samples)
        unsent = outcomes[Outcome.REFUSED] + outcomes[Outcome.SHED]
        answers = [s for s in samples if s.outcome.answered]
        # Of a document that was read there is no trace, and it says nothing of calls and tokens.
        chats = [s for s in answers if s.traced]
        probes = sorted(self._probes[window.name])
        p99 = probes[math.ceil(0.99 * len(probes)) - 1] if probes else None
        return Account(
            witness=self.witness,
            requests=len(answers),
            unanswered=len(samples) - len(answers) - unsent,
            unsent=unsent,
            untold=_untold(chats),
            untraced=len(answers) - len(chats),
            llm_calls=_sum_if_all_know([s.llm_calls for s in chats]),
            tool_calls=_sum_if_all_know([s.tool_calls for s in chats]),
            input_tokens=_sum_if_all_know([s.input_tokens for s in chats]),
            output_tokens=_sum_if_all_know([s.output_tokens for s in chats]),
            client_durations=self._merged((window.name,), "service_time"),
            null_probe_p99=p99,
            traces=frozenset(s.trace_id for s in chats),
            unanswered_traces=frozenset(s.trace_id for s in samples if not s.outcome.answered),
            problem=self._audit(window.name, samples),
        )

    def lateness(self, window: Window) -> list[float]:
        """How late each request of a window was sent, in seconds; what was shed was not sent."""
        samples = self._samples.get(window.name, ())
        return [s.lateness for s in samples if s.outcome is not Outcome.SHED]

    def response_median(self, window: Window) -> float | None:
        """What half of the good answers that are judged took at most; None without any."""
        counted, _ = _counted(self._samples.get(window.name, ()))
        good = [s.response_time for s in counted if s.outcome is Outcome.OK]
        return median(good) if good else None

    def failures(self, window: Window) -> list[dict[str, object]]:
        """What went wrong, how often, and the trace of one example; the most frequent first."""
        examples: dict[_Failure, str] = {}
        counts: Counter[_Failure] = Counter()
        for sample in self._samples.get(window.name, ()):
            if sample.outcome is not Outcome.OK:
                kind: _Failure = (
                    sample.operation, sample.outcome, sample.http_status, sample.detail,
                )  # fmt: skip
                counts[kind] += 1
                examples.setdefault(kind, "" if _unsent(sample) else sample.trace_id)
        for kind, count in counts.most_common()[_KINDS_OF_FAILURE:]:
            rest = (*kind[:3], "other details")
            del counts[kind]
            counts[rest] += count
            examples.setdefault(rest, examples[kind])
        return [
            {
                "operation": operation,
                "outcome": outcome,
                "status": status,
                "detail": detail,
                "count": count,
                "trace_id": examples[operation, outcome, status, detail],
            }
            for (operation, outcome, status, detail), count in counts.most_common()
        ]

    def _audit(self, window: str, samples: list[Sample]) -> str:
        """Compare rows with histograms, count and exact sum: two records of the same requests."""
        own = [d for k, d in self._histograms[window].items() if k.time == "service_time"]
        held, total = sum(d.count for d in own), sum(d.total_seconds for d in own)
        rows = sum(min(max(0.0, s.service_time), _LONGEST_SECONDS) for s in samples)
        if held == len(samples):
            # Histograms hold whole microseconds, so each row may be off by half of one.
            if abs(rows - total) <= 1e-6 * max(1, held):
                return ""
            return f"its rows last {rows:.6f} s in all, its histograms {total:.6f} s"
        if not self._histograms[window]:
            return f"its window was never closed: {len(samples)} rows but no histogram"
        return f"{len(samples)} rows but {held} values in the histograms"

    def _merged(
        self, windows: tuple[str, ...], time: str, operations: _Operations | None = None
    ) -> Distribution:
        """Merge histograms of one time: of the successes of operations, or of all answers."""
        key = (windows, time, operations)
        if key in self._joined:
            return self._joined[key]
        merged = Distribution()
        for name in windows:
            for of, distribution in self._histograms.get(name, {}).items():
                fits = (
                    of.outcome.answered
                    if operations is None
                    else of.outcome is Outcome.OK and (of.scenario, of.operation) in operations
                )
                if of.time == time and fits:
                    merged.merge(distribution)
        self._joined[key] = merged
        return merged


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The requests that an indicator is about, and a note on those that were left out."""

    events: int
    failed: int
    operations: _Operations
    note: str


def _counted(samples: Sequence[Sample], *, everything: bool = False) -> tuple[list[Sample], str]:
    """
    Choose the requests that an indicator is about, and say what was left out and why.

    Where there are chats, it is about these alone: they are what leaves a trace.
    A journey that was shed counts with the scenario it was of.
    """
    counted = [s for s in samples if s.outcome is not Outcome.CUT_OFF]
    notes = _noted(len(samples) - len(counted), "requests were cut off by the end of the load")
    chats = {(s.scenario, s.operation) for s in counted if s.traced}
    if chats and not everything:
        scenarios = {scenario for scenario, _ in chats}
        kept = [
            s
            for s in counted
            if (s.scenario, s.operation) in chats
            or (s.outcome is Outcome.SHED and s.scenario in scenarios)
        ]
        notes += _noted(len(counted) - len(kept), "requests that are no chats are left out")
        counted = kept
    shed = sum(s.outcome is Outcome.SHED for s in counted)
    notes += _noted(shed, "journeys were shed, and count as failed")
    return counted, "; ".join(notes)


def _noted(count: int, what: str) -> list[str]:
    return [f"{count} {what}"] if count else []


def _streamed(counted: Sequence[Sample], what: str) -> list[Sample]:
    """Only operations that stream have such a time, but their failures count."""
    streaming = {(s.scenario, s.operation) for s in counted if s.first_token is not None}
    scenarios = {scenario for scenario, _ in streaming}
    return [
        s
        for s in counted
        if (s.outcome is Outcome.SHED and s.scenario in scenarios)
        or (
            (s.scenario, s.operation) in streaming
            and (s.outcome is not Outcome.OK or _has(s, what))
        )
    ]


def _has(sample: Sample, what: str) -> bool:
    if what == "tpot":
        return sample.tpot is not None
    return sample.first_token is not None


def _unsent(sample: Sample) -> bool:
    """Whether nobody but the client can know of it."""
    return sample.outcome in (Outcome.REFUSED, Outcome.SHED)


def _share_within(
    indicator: Indicator, good: Distribution, events: int, asked: str, note: str
) -> Measurement:
    """Share at or below the bound; failures count as slower than every success."""
    if indicator.quantile is None or indicator.bound is None:
        msg = f"{indicator.name}: a latency needs a quantile and a bound"
        raise ValueError(msg)
    surely, possibly = good.at_or_below(indicator.bound)
    rank = _rank(indicator, events)
    beyond = Interval(good.largest or 0.0, math.inf)
    return Measurement(
        "client",
        Interval(surely / events, possibly / events),
        events,
        asked,
        quantile=good.at_rank(rank) or beyond,
        note=note,
    )


def _rank(indicator: Indicator, events: int) -> int:
    """Which of so many events, counted from the quickest, is at the quantile."""
    return max(1, math.ceil((indicator.quantile or 0.0) * events - 1e-9))


def _untold(answers: list[Sample]) -> int:
    """How many answers say nothing of calls and tokens, where others do: failed ones, mostly."""
    told = sum(
        any(v is not None for v in (s.llm_calls, s.tool_calls, s.input_tokens, s.output_tokens))
        for s in answers
    )
    return len(answers) - told if told else 0


def _sum_if_all_know(values: list[int | None]) -> int | None:
    known = [v for v in values if v is not None]
    return sum(known) if known and len(known) == len(values) else None
