"""How a scenario went is said in one line, failures included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from harness.cli.tally import tally
from harness.model import Outcome, Sample
from tests.conftest import known_samples

NO_TEXT = "the answer has no text at outputs[0].text"
OK = known_samples(count=2)
BAD = [replace(s, outcome=Outcome.BAD_ANSWER, detail=NO_TEXT) for s in OK]
LATER = replace(OK[1], outcome=Outcome.TIMEOUT, start=OK[1].start + 9, end=OK[1].end + 9)
SHED = replace(OK[1], outcome=Outcome.SHED, detail="1000 journeys were under way")


@pytest.mark.parametrize(
    ("samples", "shed", "said"),
    [
        pytest.param(OK, 0, "2 requests in 40 s", id="all is well"),
        pytest.param(OK[:1], 0, "1 request in 40 s", id="one"),
        pytest.param(
            [LATER, *BAD],
            0,
            f"3 requests in 40 s, 3 failed (first: bad_answer: {NO_TEXT})",
            id="the first to begin, though it was not the first to end",
        ),
        pytest.param(
            [OK[0], LATER], 0, "2 requests in 40 s, 1 failed (first: timeout)", id="no detail"
        ),
        pytest.param(
            [OK[0], SHED], 1, "1 request in 40 s, 1 shed", id="what was shed was never sent"
        ),
    ],
)
def test_what_is_said_of_a_scenario(
    known_run: Callable[..., Any],
    known: Callable[..., Any],
    samples: list[Sample],
    shed: int,
    said: str,
) -> None:
    run = known_run(known(samples=samples, told={"requests": len(samples) - shed, "shed": shed}))
    assert tally(run, run.read_window("warm_cache")) == said
