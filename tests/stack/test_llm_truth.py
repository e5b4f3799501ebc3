"""The truth log has one line for each call that ended."""

from __future__ import annotations

import json
from dataclasses import asdict

from harness.stack.llm.truth import CallRecord, TruthLog

RECORD = CallRecord(
    at=1000.5,
    trace_id="0" * 31 + "1",
    model="gpt-4o",
    stream=True,
    prompt_tokens=12,
    cached_tokens=0,
    completion_tokens=3,
    status=200,
    fault=None,
    seconds=0.25,
)


def test_a_record_can_be_read_as_soon_as_it_is_written(tmp_path):
    log = TruthLog(tmp_path / "truth.jsonl")
    log.write(RECORD)
    lines = (tmp_path / "truth.jsonl").read_text("utf-8").splitlines()
    log.close()

    assert [json.loads(line) for line in lines] == [asdict(RECORD)]


def test_a_log_that_exists_is_continued(tmp_path):
    for _ in range(2):
        log = TruthLog(tmp_path / "truth.jsonl")
        log.write(RECORD)
        log.close()

    assert len((tmp_path / "truth.jsonl").read_text("utf-8").splitlines()) == 2


def test_without_a_path_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = TruthLog(None)
    log.write(RECORD)
    log.close()

    assert list(tmp_path.iterdir()) == []
