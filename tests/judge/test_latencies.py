"""Quantiles of every witness, with the ends between which the true ones lie."""

from __future__ import annotations

from dataclasses import dataclass

from harness.judge.latencies import CURVE, QUANTILES, Quantile, latencies
from harness.model import Account, Indicator, Interval, Measurement, Selector, Window

CLIENT = (
    "response_time of everything", "service_time of everything", "ttft", "tpot", "inter_token",
)  # fmt: skip
WARM = Window("warm", ("warm",), 0.0, 10.0)


@dataclass(frozen=True)
class Ladder:
    """A witness of n requests: the i-th fastest took i milliseconds."""

    witness: str
    n: int
    knows: tuple[str, ...]

    def measure(self, indicator: Indicator, windows: tuple[Window, ...]) -> Measurement:
        ask = indicator.asks[self.witness]
        if str(ask) not in self.knows or indicator.quantile is None:
            return Measurement(self.witness, None, 0, str(ask))
        at = Interval.exactly(round(indicator.quantile * self.n) / 1000)
        return Measurement(self.witness, at, self.n, str(ask), quantile=at)

    def account(self, window: Window) -> Account | None:
        return None


def test_quantiles_with_their_confidence():
    client = Ladder("client", 1000, ("response_time of everything",))

    table, curve = latencies([WARM], {"client": client}, None)

    assert table[1] == Quantile(
        window="warm",
        witness="client",
        time="response_time",
        quantile=0.95,
        events=1000,
        value=Interval.exactly(0.950),
        confidence=(0.936, 0.964),
    )
    assert [(q.quantile, q.confidence) for q in table] == [
        (0.5, (0.469, 0.532)), (0.95, (0.936, 0.964)), (0.99, (0.983, 0.997)),
    ]  # fmt: skip
    assert [q.quantile for q in curve] == [q for q in CURVE if q <= 0.999]


def test_few_requests_give_no_upper_end():
    table, curve = latencies(
        [WARM], {"client": Ladder("client", 20, ("response_time of everything",))}, None
    )

    assert [q.confidence for q in table] == [(0.006, 0.015), (0.017, None), (0.019, None)]
    assert max(q.quantile for q in curve) == 0.95


def test_every_witness_is_asked_for_what_it_knows():
    evidence = {
        "client": Ladder("client", 100, CLIENT),
        "metrics": Ladder("metrics", 100, ("histogram: http_seconds",)),
        "langfuse": Ladder("langfuse", 100, ("trace_latency",)),
    }

    table, curve = latencies([WARM], evidence, Selector("http_seconds"))

    rows = [
        ("client", "response_time"), ("client", "service_time"),
        ("client", "ttft"), ("client", "tpot"), ("client", "inter_token"),
        ("metrics", "request time"), ("langfuse", "trace_latency"),
    ]  # fmt: skip
    assert [(q.witness, q.time, q.quantile) for q in table] == [
        (*row, q) for row in rows for q in QUANTILES
    ]
    assert {(q.witness, q.time) for q in curve} == {rows[0], rows[1], rows[5]}


def test_gaps_between_tokens_hang_together_so_nothing_is_said_of_the_true_quantile():
    table, _ = latencies([WARM], {"client": Ladder("client", 1000, ("inter_token",))}, None)

    assert [(q.value, q.confidence) for q in table] == [
        (Interval.exactly(at), (None, None)) for at in (0.5, 0.95, 0.99)
    ]


def test_a_witness_without_data_has_no_row():
    assert latencies([WARM], {"client": Ladder("client", 0, ())}, None) == ([], [])
