"""The environment is read once; what is wrong in it is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.stack.llm.faults import Fault, FaultKind
from harness.stack.llm.settings import Settings, SettingsError, read_settings


def test_everything_has_a_default():
    assert read_settings({}) == Settings(seed=7, scale=0.25, faults=(), log=None)


def test_every_variable_is_read():
    environment = {
        "SIMLLM_SEED": "11",
        "SIMLLM_SCALE": "0.5",
        "SIMLLM_FAULT": "slow:0.1",
        "SIMLLM_LOG": "truth.jsonl",
    }

    assert read_settings(environment) == Settings(
        11, 0.5, (Fault(FaultKind.SLOW, 0.1),), Path("truth.jsonl")
    )


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        pytest.param(
            {"SIMLLM_SEED": "x"}, "SIMLLM_SEED must be a whole number", id="seed is a word"
        ),
        pytest.param(
            {"SIMLLM_SCALE": "-1"}, "SIMLLM_SCALE must be a number, 0 or more", id="scale below 0"
        ),
        pytest.param(
            {"SIMLLM_SCALE": "fast"},
            "SIMLLM_SCALE must be a number, 0 or more",
            id="scale is a word",
        ),
        pytest.param(
            {"SIMLLM_SCALE": "inf"},
            "SIMLLM_SCALE must be a number, 0 or more",
            id="scale without end",
        ),
        pytest.param(
            {"SIMLLM_FAULT": "slow:2"},
            "SIMLLM_FAULT: the share in 'slow:2' must be a number above 0 and at most 1",
            id="bad share",
        ),
    ],
)
def test_what_is_wrong_is_named(environment, sentence):
    with pytest.raises(SettingsError) as refusal:
        read_settings(environment)

    assert str(refusal.value) == sentence
