"""Faults are declared in words and strike a declared share of calls."""

from __future__ import annotations

import pytest

from harness.stack.llm.draws import CallKey
from harness.stack.llm.faults import Fault, FaultError, FaultKind, parse_faults, struck


@pytest.mark.parametrize(
    ("declaration", "faults"),
    [
        pytest.param("", (), id="nothing goes wrong"),
        pytest.param("slow", (Fault(FaultKind.SLOW, 0.3),), id="a share of 30 % by default"),
        pytest.param(
            "error-500:0.1, timeout:1",
            (Fault(FaultKind.ERROR_500, 0.1), Fault(FaultKind.TIMEOUT, 1.0)),
            id="several, with their shares",
        ),
    ],
)
def test_a_declaration_is_read(declaration, faults):
    assert parse_faults(declaration) == faults


@pytest.mark.parametrize(
    ("declaration", "sentence"),
    [
        pytest.param(
            "sloow",
            "unknown fault 'sloow'; the known ones are slow, error-500, error-429, timeout, "
            "broken-stream, missing-usage",
            id="unknown",
        ),
        pytest.param(
            "slow:some",
            "the share in 'slow:some' must be a number above 0 and at most 1",
            id="share is a word",
        ),
        pytest.param(
            "slow:", "the share in 'slow:' must be a number above 0 and at most 1", id="no share"
        ),
        pytest.param(
            "slow:1.5",
            "the share in 'slow:1.5' must be a number above 0 and at most 1",
            id="share above 1",
        ),
        pytest.param(
            "slow:nan",
            "the share in 'slow:nan' must be a number above 0 and at most 1",
            id="share is no number",
        ),
        pytest.param("slow,slow:0.5", "fault 'slow' is given twice", id="twice"),
    ],
)
def test_a_bad_declaration_is_refused_in_a_sentence(declaration, sentence):
    with pytest.raises(FaultError) as refusal:
        parse_faults(declaration)

    assert str(refusal.value) == sentence


def test_a_fault_strikes_its_share_of_the_calls():
    faults = parse_faults("error-500:0.2")
    struck_calls = [struck(faults, CallKey(7, b"prompt", n)) for n in range(5000)]

    assert struck_calls.count(FaultKind.ERROR_500) / 5000 == pytest.approx(0.2, abs=0.02)
    assert set(struck_calls) == {FaultKind.ERROR_500, None}


def test_the_first_declared_fault_wins():
    faults = parse_faults("slow:1,timeout:1")

    assert struck(faults, CallKey(7, b"prompt", 0)) is FaultKind.SLOW


def test_declaring_a_second_fault_does_not_move_the_first():
    keys = [CallKey(7, b"prompt", n) for n in range(500)]
    alone = [struck(parse_faults("slow:0.3"), key) is FaultKind.SLOW for key in keys]
    both = [struck(parse_faults("slow:0.3,timeout:0.5"), key) is FaultKind.SLOW for key in keys]

    assert alone == both
