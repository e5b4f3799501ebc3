from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from harness.cli.judging import judge_run
from harness.report import write_report
from harness.runs import RunDirectory, RunError

ROOT = Path(__file__).parents[2]


def test_three_pages_beside_the_verdicts(tmp_path: Path, document: dict[str, Any]) -> None:
    (tmp_path / "verdicts.json").write_text(json.dumps(document), encoding="utf-8")
    assert write_report(tmp_path) == tmp_path / "report.html"
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["junit.xml", "report.html", "summary.md", "verdicts.json"]


def test_the_same_verdicts_give_the_same_bytes(tmp_path: Path, document: dict[str, Any]) -> None:
    (tmp_path / "verdicts.json").write_text(json.dumps(document), encoding="utf-8")
    write_report(tmp_path)
    first = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    write_report(tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == first


def test_without_verdicts_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"verdicts\.json does not exist"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_the_judge_wrote_can_be_shown(known_run: Callable[..., RunDirectory]) -> None:
    directory = known_run()
    verdicts = judge_run(directory, ROOT / "slo.yaml", ROOT / "prices.yaml")
    html = write_report(directory.path).read_text(encoding="utf-8")
    for verdict in verdicts["verdicts"]:
        assert verdict["reason"] in unescape(html)
    cases = ET.parse(directory.path / "junit.xml").iter("testcase")
    assert len(list(cases)) == len(verdicts["verdicts"]) + len(verdicts["missing"])
