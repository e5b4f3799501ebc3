"""What a client should have measured: worked out on paper, and held against what it did."""

from __future__ import annotations

import pytest

from benchmarks.figures import quantile
from benchmarks.truth import error, even_schedule, own_statistics, true_response_times


def test_an_error_is_told_in_seconds_and_as_a_share() -> None:
    wrong = error(0.11, 0.1)

    assert (wrong.seconds, wrong.relative) == (pytest.approx(0.01), pytest.approx(0.1))
    assert error(0.09, 0.1).relative == pytest.approx(-0.1)


def test_an_even_schedule_is_known_from_its_first_arrival() -> None:
    assert even_schedule(7.0, 4, 5) == [7.0, 7.25, 7.5, 7.75, 8.0]


def test_who_comes_in_a_freeze_waits_for_its_end() -> None:
    intended = [0.0, 3.985, 4.0, 4.5, 4.99, 5.0]

    times = true_response_times(intended, [(4.0, 5.0)], 0.02)

    # The second was read before the freeze, and its answer was due in it.
    assert times == pytest.approx([0.02, 1.015, 1.02, 0.52, 0.03, 0.02])


def test_with_a_freeze_of_1_s_in_every_5_the_p90_is_half_a_second() -> None:
    freezes = [(4.0, 5.0), (9.0, 10.0)]

    times = true_response_times(even_schedule(0.0, 100, 1000), freezes, 0.02)

    # Of each 500, 100 come in the freeze and 2 have not been answered before it.
    assert quantile(times, 0.9) == pytest.approx(0.52, abs=0.02)
    assert quantile(times, 1 - 0.204) == pytest.approx(0.02)
    assert sum(times) == pytest.approx(1000 * 0.02 + 2 * (50.5 + 1.99))


SUMMARY = """
Type     Name                # reqs      # fails |    Avg     Min     Max    Med |   req/s
--------|------------------|-------|-------------|-------|-------|-------|-------|--------
         Aggregated             233     0(0.00%) |    156      24     593    130 |   26.71

Response time percentiles (approximated)
Type     Name             50%    66%    95%    99%  99.9%   100% # reqs
--------|--------------|--------|------|------|------|------|------|------
POST     /api/chat        130    160    380    550    590    590    230
GET      /health            2      3      4      5      6      7      3
--------|--------------|--------|------|------|------|------|------|------
         Aggregated       130    160    370    540    580    590    233
"""


def test_locusts_own_quantiles_are_read_from_what_it_prints() -> None:
    own = own_statistics(SUMMARY)

    assert own == {0.5: 0.13, 0.66: 0.16, 0.95: 0.37, 0.99: 0.54, 0.999: 0.58, 1.0: 0.59}


@pytest.mark.parametrize("summary", ["", "Type  Name  50%  66% # reqs\n", SUMMARY[:600]])
def test_no_quantiles_are_an_error(summary: str) -> None:
    with pytest.raises(ValueError, match="Locust printed no percentiles"):
        own_statistics(summary)
