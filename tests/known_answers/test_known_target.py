"""`harness run` and `harness judge` against a target of which everything is known."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.whole

HERE = Path(__file__).parent
OWN = ("--scenarios", str(HERE / "scenarios"), "--slo", str(HERE / "slo.yaml"))


def run_and_judge(workspace: Any, host: str) -> tuple[Any, Any, dict[str, Any]]:
    ran = workspace.run("run", "--host", host, *OWN)
    judged = workspace.run("judge", "reports/latest")
    return ran, judged, json.loads((workspace.reports / "latest/verdicts.json").read_text())


def samples(workspace: Any) -> list[dict[str, Any]]:
    path = workspace.reports / "latest/windows/steady/samples.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def statuses(document: dict[str, Any]) -> dict[str, str]:
    return {v["objective"]["name"]: v["status"] for v in document["verdicts"]}


def requests(document: dict[str, Any]) -> dict[str, int]:
    return {a["witness"]: a["requests"] for a in document["accounts"]}


def test_a_target_that_keeps_its_promise_is_met(workspace: Any, target: Any, chats: Any) -> None:
    url = target()
    ran, judged, document = run_and_judge(workspace, url)
    assert (ran.code, judged.code) == (0, 0), ran.words + judged.words
    assert statuses(document) == {"answered": "met", "fast": "met"}
    assert requests(document) == {"client": 200, "metrics": 200}
    assert chats(url) == 200
    assert Counter((s["operation"], s["outcome"]) for s in samples(workspace)) == {
        ("chat", "ok"): 100,
        ("chat_stream", "ok"): 100,
    }
    # Every request took the 20 ms it was told to, by the client's clock and the server's.
    assert all(s["end"] - s["start"] >= 0.02 for s in samples(workspace))
    shares = {m["witness"]: m["value"] for m in document["verdicts"][0]["measurements"]}
    assert shares == {
        "client": {"low": 1.0, "high": 1.0},
        "metrics": {"low": 1.0, "high": 1.0},
    }
    assert "MET: " in judged.flat


def test_one_failure_in_ten_breaks_the_promise_for_both_witnesses_but_not_every_promise(
    workspace: Any, target: Any, tmp_path: Path
) -> None:
    ran, judged, document = run_and_judge(workspace, target(fails_every=10))
    assert (ran.code, judged.code) == (0, 1), ran.words + judged.words
    assert statuses(document)["answered"] == "missed"
    assert requests(document) == {"client": 200, "metrics": 200}
    shares = {m["witness"]: m["value"] for m in document["verdicts"][0]["measurements"]}
    assert shares == {
        "client": {"low": 0.9, "high": 0.9},
        "metrics": {"low": 0.9, "high": 0.9},
    }
    # The upper Clopper-Pearson limit of 180 in 200 is 93.27 %.
    assert "90 % of 200, 95 % sure of at most 93.27 % (98 % promised)" in document["sentence"]
    # The same evidence under another promise, with no server: twice the same bytes.
    other = tmp_path / "other.yaml"
    other.write_text((HERE / "slo.yaml").read_text().replace("98%", "80%"))
    first = workspace.run("judge", "reports/latest", "--slo", str(other))
    document_bytes = (workspace.reports / "latest/verdicts.json").read_bytes()
    again = workspace.run("judge", "reports/latest", "--slo", str(other))
    assert (first.code, again.code) == (0, 0)
    assert (workspace.reports / "latest/verdicts.json").read_bytes() == document_bytes
    assert again.words == first.words


def test_a_server_that_forgets_to_count_is_contradicted(workspace: Any, target: Any) -> None:
    ran, judged, document = run_and_judge(workspace, target(loses_every=5))
    assert (ran.code, judged.code) == (0, 3), ran.words + judged.words
    assert requests(document) == {"client": 200, "metrics": 160}
    assert statuses(document) == {"answered": "inconclusive", "fast": "inconclusive"}
    assert document["sentence"] == (
        "Inconclusive: client and metrics contradict each other on requests in steady: client "
        "counts 40 more than metrics (200 against 160)."
    )


def test_a_target_that_dies_on_the_way_leaves_its_evidence_and_no_verdict(
    workspace: Any, target: Any
) -> None:
    ran, judged, document = run_and_judge(workspace, target(dies_after=100))
    assert (ran.code, judged.code) == (0, 3), ran.words + judged.words
    ends = Counter(s["outcome"] for s in samples(workspace))
    assert ends["ok"] > 50
    assert ends["refused"] > 0
    assert sum(ends.values()) == 200
    assert set(ends) <= {"ok", "refused", "broken_stream"}
    assert document["sentence"].startswith(
        "Inconclusive: the metrics witness is missing in steady: no scrape after the window: "
    )
    assert statuses(document)["answered"] == "inconclusive"


def test_a_scenario_that_finds_the_target_gone_does_not_cost_the_others_their_evidence(
    workspace: Any, target: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "two"
    folder.mkdir()
    text = (HERE / "scenarios/steady.py").read_text()
    (folder / "steady.py").write_text(text)
    (folder / "then.py").write_text(text.replace("class Steady", "class Then"))
    host = target(dies_after=100)
    ran = workspace.run(
        "run", "steady", "then", "--host", host, "--scenarios", str(folder),
        "--slo", str(HERE / "slo.yaml"),
    )  # fmt: skip
    judged = workspace.run("judge", "reports/latest")
    assert (ran.code, judged.code) == (0, 3), ran.words + judged.words
    assert f"then could not be run: the target {host} cannot be reached" in ran.flat
    assert len(samples(workspace)) == 200
    document = json.loads((workspace.reports / "latest/verdicts.json").read_text())
    assert "no evidence at all of then" in document["missing"]
