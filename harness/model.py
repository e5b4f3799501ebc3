"""
The nouns of the harness: what was sent, what each witness saw, what was promised.

Everything here is immutable and imports only the standard library, so any
other module may use it and none of it can touch the network.
All times are seconds; instants are seconds since the epoch; all quantiles and
shares are fractions between 0 and 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class HarnessError(Exception):
    """What is wrong, where, and the mend, in one sentence: users see it without a traceback."""


class Outcome(StrEnum):
    """How a request ended. A closed set, because it names files and columns."""

    OK = "ok"
    HTTP_ERROR = "http_error"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    BROKEN_STREAM = "broken_stream"
    BAD_ANSWER = "bad_answer"
    SHED = "shed"  # turned away by the load's own ceiling, and never sent
    CUT_OFF = "cut_off"

    @property
    def answered(self) -> bool:
        """Whether the client received a whole HTTP answer, good or bad."""
        return self in (Outcome.OK, Outcome.HTTP_ERROR, Outcome.BAD_ANSWER)


@dataclass(frozen=True, slots=True)
class Sample:
    """
    One request as the client saw it, failures included.

    `events` are the tokens or pieces of text that a stream brought,
    `longest_gap` the longest silence between two of them, in seconds. `traced`
    tells whether the target keeps a trace of such a request: of a chat it does,
    of a file it serves or a request it rejects it need not.
    """

    scenario: str
    operation: str
    trace_id: str
    intended_start: float
    start: float
    end: float
    outcome: Outcome
    first_token: float | None = None
    http_status: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    llm_calls: int | None = None
    tool_calls: int | None = None
    events: int | None = None
    longest_gap: float | None = None
    traced: bool = True
    detail: str = ""

    @property
    def response_time(self) -> float:
        """Time the user waited, counting any wait for the client to send."""
        return self.end - self.intended_start

    @property
    def service_time(self) -> float:
        """Time from sending the request to its last byte."""
        return self.end - self.start

    @property
    def lateness(self) -> float:
        """How late the generator sent it: its own fault, never the target's."""
        return self.start - self.intended_start

    @property
    def ttft(self) -> float | None:
        """Time to first token from the intended start; None when nothing was streamed."""
        return None if self.first_token is None else self.first_token - self.intended_start

    @property
    def tpot(self) -> float | None:
        """Time per output token after the first; None unless more than one was streamed."""
        if self.first_token is None or self.output_tokens is None or self.output_tokens < 2:
            return None
        return (self.end - self.first_token) / (self.output_tokens - 1)


@dataclass(frozen=True, slots=True)
class GeneratorSecond:
    """
    What one load process noted of itself in one second that ended at `at`.

    `process` counts the load processes from 0. `begun` journeys began in that
    second and `in_flight` were under way at its end. `lateness` is the largest
    of start minus intended start (None when nothing was due), `loop_lag` by how
    much a timer of the greenlet loop was late at worst, `gc_seconds` the time
    in garbage collection, all in seconds. `cpu_share` is of one core,
    `machine_cpu_share` of all cores together.
    """

    process: int
    at: float
    begun: int
    in_flight: int
    lateness: float | None
    loop_lag: float
    cpu_share: float
    machine_cpu_share: float
    sockets: int
    gc_seconds: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Window:
    """The half-open interval [start, end) that every witness is asked about."""

    name: str
    scenarios: tuple[str, ...]
    start: float
    end: float

    def __post_init__(self) -> None:
        """Refuse a window that cannot hold anything."""
        if not self.start < self.end:
            msg = f"empty window {self.name}: start {self.start} is not before end {self.end}"
            raise ValueError(msg)

    @property
    def duration(self) -> float:
        """Its length."""
        return self.end - self.start

    def __contains__(self, instant: float) -> bool:
        """Whether the instant lies in it."""
        return self.start <= instant < self.end


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the system a run was made with, and whether it was real or a stand-in."""

    name: str
    real: bool
    description: str


@dataclass(frozen=True, slots=True)
class Run:
    """What was run, when, against what, on which machine, and what stood in."""

    id: str
    started: float
    target: str
    command: str
    parts: tuple[Part, ...]
    versions: Mapping[str, str]
    machine: Mapping[str, str]
    expected_windows: tuple[str, ...]
    ended: float | None = None
    interrupted: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Interval:
    """A number known only to lie between two bounds, both included."""

    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse bounds in the wrong order, and NaN."""
        if not self.low <= self.high:
            msg = f"not an interval: {self.low} to {self.high}"
            raise ValueError(msg)

    @classmethod
    def exactly(cls, value: float) -> Interval:
        """A number known without doubt."""
        return cls(value, value)


class Kind(StrEnum):
    """What sort of number an indicator is."""

    LATENCY = "latency"
    RATIO = "ratio"
    COUNT = "count"
    AMOUNT = "amount"


@dataclass(frozen=True, slots=True)
class Selector:
    """
    The series of one metric whose labels have one of the listed values.

    That no series matches is no data, unless `absent_is_zero`: then it never happened.
    """

    metric: str
    match: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    absent_is_zero: bool = False

    def __str__(self) -> str:
        """Write it as people read it in Prometheus."""
        labels = ", ".join(f"{k}={'|'.join(v)}" for k, v in self.match.items())
        return f"{self.metric}{{{labels}}}" if labels else self.metric


@dataclass(frozen=True, slots=True)
class Ask:
    """
    What one witness is asked for one indicator.

    `parts` names the selectors (for metrics: histogram and failed; good or bad,
    and total; counter); `what` names a quantity the witness knows by itself
    (client: response_time, service_time, ttft; langfuse: usd_per_request, ...),
    or the figure that `benchmark` measured before the run.
    """

    what: str = ""
    parts: Mapping[str, Selector] = field(default_factory=dict)
    benchmark: str = ""

    def __str__(self) -> str:
        """Say what is asked, in one line."""
        if self.benchmark:
            return f"{self.what} of the benchmark {self.benchmark}"
        if not self.parts:
            return self.what
        return ", ".join(f"{name}: {selector}" for name, selector in self.parts.items())


@dataclass(frozen=True, slots=True)
class Indicator:
    """One SLI: its kind, its bound where it has one, and how each witness is asked for it."""

    name: str
    kind: Kind
    asks: Mapping[str, Ask]
    quantile: float | None = None
    bound: float | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Objective:
    """
    What was promised of one indicator, in which scenario, with what confidence.

    For latency and ratio the target is a share of good events that must be
    reached; for count and amount it is the largest value allowed.
    `scenario` is a name, or "all" for the whole run.
    """

    name: str
    sentence: str
    scenario: str
    indicator: Indicator
    target: float
    promise: str
    at_least: bool = True
    confidence: float = 0.95
    min_events: int = 1
    gate: bool = False


@dataclass(frozen=True, slots=True)
class Measurement:
    """
    One witness's answer to one indicator.

    A witness that has no data answers None; it never answers zero. One that
    knows only a range, as a histogram bucket does, answers the range. For
    latency and ratio `value` is the share of good events among `events`;
    `quantile` is where a latency's quantile lies, in seconds. A client also
    knows how late it sent itself: `punctual` and `punctual_quantile` are the
    same two with its lateness taken out.
    """

    witness: str
    value: Interval | None
    events: int
    asked: str
    quantile: Interval | None = None
    note: str = ""
    punctual: Interval | None = None
    punctual_quantile: Interval | None = None


class Evidence(Protocol):
    """One vantage point on a run: answers indicators about windows."""

    witness: str

    def measure(self, indicator: Indicator, windows: tuple[Window, ...]) -> Measurement:
        """Answer one indicator over these windows together."""
        ...

    def account(self, window: Window) -> Account | None:
        """Say what was counted in one window; None when there is no evidence of it."""
        ...


@dataclass(frozen=True, slots=True)
class Buckets:
    """A server's histogram over one window: counts at or below each upper bound, and the sum."""

    bounds: tuple[float, ...]
    cumulative: tuple[int, ...]
    total_seconds: float

    @property
    def count(self) -> int:
        """How many observations it holds."""
        return self.cumulative[-1] if self.cumulative else 0


class Durations(Protocol):
    """Durations of requests as a client counted them, to the precision of its cells."""

    @property
    def count(self) -> int:
        """How many there are."""
        ...

    @property
    def total_seconds(self) -> float:
        """Their exact sum."""
        ...

    def at_or_below(self, bound: float) -> tuple[int, int]:
        """How many are surely, and how many possibly, at or below the bound."""
        ...


@dataclass(frozen=True, slots=True)
class Account:
    """
    What one witness counted in one window; None where it does not know.

    `unanswered` and `unsent` are losses the witness knows of: requests the
    server may have seen without the client getting an answer, and requests
    that never reached the server. `untold` are answers that say less than
    others do of calls and tokens, so that their sums are not known. `traces`
    are the trace ids of the requests counted. `untraced` of the requests leave
    no trace, so that who counts traces cannot have seen them.
    """

    witness: str
    requests: int | None = None
    unanswered: int = 0
    unsent: int = 0
    untold: int = 0
    untraced: int = 0
    llm_calls: int | None = None
    tool_calls: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    client_durations: Durations | None = None
    server_durations: Buckets | None = None
    null_probe_p99: float | None = None
    traces: frozenset[str] | None = None
    unanswered_traces: frozenset[str] = frozenset()
    problem: str = ""


class Finding(StrEnum):
    """What reconciling two witnesses found."""

    AGREE = "agree"
    UNACCOUNTED_TIME = "unaccounted time"
    CONTRADICTION = "contradiction"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True, slots=True)
class BoundCheck:
    """Client and server counts at one bucket bound, and whether they interleave."""

    bound: float
    client_low: int
    client_high: int
    server: int
    client_with_overhead: int
    holds: bool


@dataclass(frozen=True, slots=True)
class Agreement:
    """Whether two witnesses tell the same story about one quantity in one window."""

    window: str
    about: str
    witnesses: tuple[str, str]
    finding: Finding
    reason: str
    values: tuple[float | None, float | None] = (None, None)
    allowance: float = 0.0
    bounds: tuple[BoundCheck, ...] = ()


class Status(StrEnum):
    """The three things a judge may say."""

    MET = "met"
    MISSED = "missed"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement on one objective, with the measurements and agreements it rests on."""

    objective: Objective
    status: Status
    reason: str
    measurements: tuple[Measurement, ...]
    agreements: tuple[Agreement, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """Everything the judge has to say of one run, and the one sentence on top."""

    status: Status
    sentence: str
    verdicts: tuple[Verdict, ...]
    agreements: tuple[Agreement, ...]
    missing: tuple[str, ...]
