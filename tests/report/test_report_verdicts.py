from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.report.html import page
from harness.report.verdicts import by_gravity, disputes, gravest, read_verdicts, witnesses
from harness.runs import RunError


def test_reads_what_was_written(tmp_path: Path, document: dict[str, Any]) -> None:
    (tmp_path / "verdicts.json").write_text(json.dumps(document), encoding="utf-8")
    assert read_verdicts(tmp_path) == document


def test_what_an_older_document_does_not_say_is_empty(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    later = ("benchmarks", "unmeasured", "traces")
    older = {k: v for k, v in document.items() if k not in later}
    (tmp_path / "verdicts.json").write_text(json.dumps(older), encoding="utf-8")
    assert read_verdicts(tmp_path) == {**older, **{k: [] for k in later}}


def test_a_window_of_an_older_document_shed_and_lost_nothing(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    later = ("begun", "shed", "not_sent", "may_be_lost", "stopped_by", "notices", "generator",
             "spent_usd", "budget_usd")  # fmt: skip
    (window,) = document["windows"]
    older = {**document, "windows": [{k: v for k, v in window.items() if k not in later}]}
    (tmp_path / "verdicts.json").write_text(json.dumps(older), encoding="utf-8")
    read = read_verdicts(tmp_path)["windows"][0]
    assert {k: read[k] for k in later} == {
        "begun": None, "shed": 0, "not_sent": None, "may_be_lost": 0, "stopped_by": "",
        "notices": [], "generator": {"processes": [], "piece": 1.0, "moments": []},
        "spent_usd": None, "budget_usd": None,
    }  # fmt: skip
    assert "warm_cache" in page(read_verdicts(tmp_path))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param(None, "does not exist; judge the run first: harness judge", id="missing"),
        pytest.param("{", "is damaged: Expecting property name", id="cut short"),
        pytest.param("[]", "is damaged: not an object", id="not an object"),
        pytest.param('{"version": 7}', "has version 7, this harness reads 1", id="other version"),
        pytest.param('{"version": 1}', "is damaged: it has no accounts, agreements", id="hollow"),
    ],
)
def test_refuses_in_one_sentence(tmp_path: Path, text: str | None, sentence: str) -> None:
    if text is not None:
        (tmp_path / "verdicts.json").write_text(text, encoding="utf-8")
    with pytest.raises(RunError) as refused:
        read_verdicts(tmp_path)
    assert str(refused.value).startswith(f"{tmp_path}/verdicts.json {sentence}")


def test_gates_come_first_and_the_missed_before_the_met(document: dict[str, Any]) -> None:
    order = [v["objective"]["name"] for v in by_gravity(document["verdicts"])]
    assert order == ["hit_rate", "chat_p95", "cost", "blocks"]


def test_the_gravest_finding_counts(disputed: dict[str, Any]) -> None:
    assert gravest(disputed["agreements"]) == "contradiction"
    assert gravest([]) is None


def test_contradictions_of_one_pair_are_one_dispute(disputed: dict[str, Any]) -> None:
    found = disputes(disputed)
    assert [[a["about"] for a in dispute] for dispute in found] == [["requests", "LLM calls"]]


def test_every_witness_is_named_once(document: dict[str, Any]) -> None:
    assert witnesses(document) == ["client", "metrics", "langfuse"]
