"""What one app adds to the other, from pairs of blocks."""

from __future__ import annotations

import pytest

from benchmarks.side_by_side import Measured, Pair, added_cpu, added_latency


def pair(off: list[float], on: list[float], cpu: tuple[float, float] = (0.004, 0.005)) -> Pair:
    return Pair(Measured(off, cpu[0]), Measured(on, cpu[1]))


def test_added_latency_compares_the_quantiles_of_all_pairs_together() -> None:
    slow = [0.1 * number for number in range(1, 11)]
    pairs = [pair(slow, [latency + 0.1 for latency in slow]) for _ in range(4)]

    added = added_latency("p50", pairs, 0.5)

    # The median of both is the fifth of ten: 0.5 and 0.6.
    assert added["p50_added"].value == pytest.approx(0.2)
    assert added["p50_added_seconds"].value == pytest.approx(0.1)
    assert added["p50_added"].count == 40
    assert (added["p50_added"].low, added["p50_added"].high) == pytest.approx((0.2, 0.2))


def test_noise_of_one_pair_widens_the_interval() -> None:
    pairs = [pair([1.0], [1.0]), pair([1.0], [1.0]), pair([1.0], [3.0])]

    added = added_latency("p95", pairs, 0.95)["p95_added"]

    assert (added.value, added.low, added.high) == (2.0, 0.0, 2.0)


def test_added_cpu_is_a_share_of_what_the_other_side_used() -> None:
    pairs = [pair([1.0], [1.0], cpu) for cpu in ((0.004, 0.005), (0.006, 0.007))]

    added = added_cpu("cpu", pairs)

    assert added["cpu_added"].value == pytest.approx(0.2)
    assert added["cpu_added_seconds"].value == pytest.approx(0.001)
    assert added["cpu_added"].low == pytest.approx(1 / 6)
    assert added["cpu_added"].high == pytest.approx(1 / 4)
