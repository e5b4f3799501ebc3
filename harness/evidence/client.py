"""The client witness: what the load generator measured of every request."""

from __future__ import annotations

import math
from collections import Counter

from harness.distribution import Distribution
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


class ClientEvidence:
    """Samples and HDR histograms of a run, as its load processes wrote them."""

    witness = "client"

    def __init__(self, run: RunDirectory) -> None:
        """Read the samples of every window."""
        self._samples = {name: run.read_samples(name) for name in run.window_names()}
        self._histograms = {name: run.read_histograms(name) for name in run.window_names()}
        self._joined: dict[tuple[object, ...], Distribution] = {}
        self._probes = {name: run.read_window(name).null_probes for name in run.window_names()}

    def measure(self, indicator: Indicator, windows: tuple[Window, ...]) -> Measurement:
        """Answer a latency, the share of requests that went well, or the number that did not."""
        what = indicator.asks[self.witness].what
        samples = [s for w in windows for s in self._samples.get(w.name, ())]
        asked = f"{what} of {', '.join(w.name for w in windows)}"
        counted = [s for s in samples if s.outcome is not Outcome.CUT_OFF]
        note = _cut_off_note(len(samples) - len(counted))
        if not counted:
            return Measurement(self.witness, None, 0, asked, note=note or "it sent no request")
        failed = sum(s.outcome is not Outcome.OK for s in counted)
        if indicator.kind is Kind.LATENCY:
            if what == "ttft":
                # Only operations that stream have a first token, but their failures count.
                streaming = {s.operation for s in counted if s.first_token is not None}
                counted = [
                    s
                    for s in counted
                    if s.operation in streaming
                    and (s.first_token is not None or s.outcome is not Outcome.OK)
                ]
                if not counted:
                    return Measurement(self.witness, None, 0, asked, note="nothing was streamed")
            return _latency(indicator, self._merged(windows, what), len(counted), asked, note)
        if indicator.kind is Kind.RATIO:
            share = Interval.exactly((len(counted) - failed) / len(counted))
            return Measurement(self.witness, share, len(counted), asked, note=note)
        return Measurement(self.witness, Interval.exactly(failed), len(counted), asked, note=note)

    def account(self, window: Window) -> Account | None:
        """Count requests, losses, tokens and durations of one window."""
        samples = self._samples.get(window.name)
        if samples is None:
            return None
        outcomes = Counter(s.outcome for s in samples)
        unsent = outcomes[Outcome.REFUSED]
        answers = [s for s in samples if s.outcome.answered]
        probes = sorted(self._probes[window.name])
        p99 = probes[math.ceil(0.99 * len(probes)) - 1] if probes else None
        return Account(
            witness=self.witness,
            requests=len(answers),
            unanswered=len(samples) - len(answers) - unsent,
            unsent=unsent,
            untold=_untold(answers),
            llm_calls=_sum_if_all_know([s.llm_calls for s in answers]),
            tool_calls=_sum_if_all_know([s.tool_calls for s in answers]),
            input_tokens=_sum_if_all_know([s.input_tokens for s in answers]),
            output_tokens=_sum_if_all_know([s.output_tokens for s in answers]),
            client_durations=self._merged((window,), "service_time", answered_only=True),
            null_probe_p99=p99,
            traces=frozenset(s.trace_id for s in answers),
            unanswered_traces=frozenset(s.trace_id for s in samples if not s.outcome.answered),
            problem=self._audit(window.name, samples),
        )

    def lateness_p99(self, window: Window) -> float | None:
        """How late the generator sent at worst, but for one in a hundred; None without samples."""
        late = sorted(s.lateness for s in self._samples.get(window.name, ()))
        return late[math.ceil(0.99 * len(late)) - 1] if late else None

    def failures(self, window: Window) -> list[dict[str, object]]:
        """What went wrong, how often, and the trace of one example; the most frequent first."""
        examples: dict[tuple[str, Outcome, str], str] = {}
        counts: Counter[tuple[str, Outcome, str]] = Counter()
        for sample in self._samples.get(window.name, ()):
            if sample.outcome is not Outcome.OK:
                kind = (sample.operation, sample.outcome, sample.detail)
                counts[kind] += 1
                examples.setdefault(kind, sample.trace_id)
        return [
            {
                "operation": operation,
                "outcome": outcome,
                "detail": detail,
                "count": count,
                "trace_id": examples[operation, outcome, detail],
            }
            for (operation, outcome, detail), count in counts.most_common()
        ]

    def _audit(self, window: str, samples: list[Sample]) -> str:
        """Compare rows with histograms, count and exact sum: two records of the same requests."""
        own = [d for k, d in self._histograms[window].items() if k.time == "service_time"]
        held, total = sum(d.count for d in own), sum(d.total_seconds for d in own)
        rows = sum(max(0.0, s.service_time) for s in samples)
        if held == len(samples):
            # Histograms hold whole microseconds, so each row may be off by half of one.
            if abs(rows - total) <= 1e-6 * max(1, held):
                return ""
            return f"its rows last {rows:.6f} s in all, its histograms {total:.6f} s"
        if not self._histograms[window]:
            return f"its window was never closed: {len(samples)} rows but no histogram"
        return f"{len(samples)} rows but {held} values in the histograms"

    def _merged(
        self, windows: tuple[Window, ...], time: str, *, answered_only: bool = False
    ) -> Distribution:
        """Merge histograms of one time: of successes, or of everything that was answered."""
        names = tuple(w.name for w in windows)
        if (names, time, answered_only) in self._joined:
            return self._joined[names, time, answered_only]
        merged = Distribution()
        for name in names:
            for key, distribution in self._histograms.get(name, {}).items():
                fits = key.outcome.answered if answered_only else key.outcome is Outcome.OK
                if key.time == time and fits:
                    merged.merge(distribution)
        self._joined[names, time, answered_only] = merged
        return merged


def _latency(
    indicator: Indicator, good: Distribution, events: int, asked: str, note: str
) -> Measurement:
    """Share at or below the bound; failures count as slower than every success."""
    if indicator.quantile is None or indicator.bound is None:
        msg = f"{indicator.name}: a latency needs a quantile and a bound"
        raise ValueError(msg)
    surely, possibly = good.at_or_below(indicator.bound)
    rank = max(1, math.ceil(indicator.quantile * events - 1e-9))
    beyond = Interval(good.largest or 0.0, math.inf)
    return Measurement(
        "client",
        Interval(surely / events, possibly / events),
        events,
        asked,
        quantile=good.at_rank(rank) or beyond,
        note=note,
    )


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


def _cut_off_note(cut_off: int) -> str:
    return f"{cut_off} requests were cut off by the end of the load" if cut_off else ""
