"""
Every scenario that ships, for five seconds against the embedded stack, all in one load.

One load and not ten, to save time: each sample, histogram and trace names its scenario, and the
server counts by method and endpoint, which tells the scenarios' requests apart well enough.
"""

from __future__ import annotations

import os
import re
import signal
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.evidence.exposition import parse
from harness.model import Outcome, Sample
from harness.runs import HistogramKey, RunDirectory

pytestmark = pytest.mark.whole

ROOT = Path(__file__).parents[2]
NAMES = {p.stem for p in (ROOT / "scenarios").glob("*.py") if not p.stem.startswith("_")}
CHAT, DOCUMENTS, ONE = "/api/chat", "/api/documents", "/api/documents/{path:path}"
# Where each operation goes, as the server's metrics name it.
ENDPOINTS = {
    "chat": ("POST", CHAT),
    "chat_stream": ("POST", f"{CHAT}/stream"),
    "create": ("POST", DOCUMENTS),
    "read": ("GET", ONE),
    "update": ("PUT", ONE),
    "list": ("GET", DOCUMENTS),
    "download": ("GET", ONE),
    "delete": ("DELETE", ONE),
    "read_deleted": ("GET", ONE),
    "empty_message_stream": ("POST", f"{CHAT}/stream"),
    "unknown_session": ("GET", f"{CHAT}/sessions/{{session_id}}/history"),
    "unknown_document": ("GET", ONE),
    "path_traversal": ("GET", ONE),
    "write_outside": ("POST", DOCUMENTS),
    "upload_no_form": ("POST", f"{DOCUMENTS}/upload"),
    "unknown_route": ("GET", "unmatched"),
    "wrong_method": ("PUT", CHAT),
}
# What the harness itself asks meanwhile.
NOT_OF_THE_LOAD = {"/health", "/metrics"}


@dataclass(frozen=True)
class Load:
    """A load that is over: what each witness says of it, and what it left behind."""

    samples: list[Sample]
    histograms: Mapping[HistogramKey, Any]
    server: Mapping[tuple[str, str], int]
    observations: list[dict[str, Any]]
    documents: Path
    words: str


@pytest.fixture(scope="module")
def load(workspaces: Any) -> Iterator[Load]:
    workspace = workspaces("all-scenarios")
    stack = workspace.start("stack")
    words = ""
    for line in stack.stdout:
        words += line
        if "Ctrl-C stops it" in line:
            break
    found = re.search(r"harness run --host (\S+)", words)
    assert found, words
    done = workspace.run(
        "-f", "scenarios", "--headless", "--open-loop", "--load-duration", "5s", "--host", found[1],
        program="locust",
    )  # fmt: skip
    try:
        assert done.code == 0, done.words
        (path,) = workspace.runs()
        run = RunDirectory(path)
        observations, _ = run.read_observations("mixed")
        yield Load(
            samples=run.read_samples("mixed"),
            histograms=run.read_histograms("mixed"),
            server=counted(run),
            observations=observations,
            documents=workspace.path / ".stack/documents",
            words=done.words,
        )
    finally:
        os.killpg(stack.pid, signal.SIGINT)
        workspace.finish(stack)


def counted(run: RunDirectory) -> dict[tuple[str, str], int]:
    """What the server counted in the window, by method and endpoint."""
    total: Counter[tuple[str, str]] = Counter()
    for which, sign in (("after", 1), ("before", -1)):
        snapshot = run.read_snapshot("mixed", which)
        assert snapshot is not None
        assert snapshot.text is not None, snapshot.problem
        for labels, count in parse(snapshot.text).series["http_requests_total"].items():
            of = dict(labels)
            total[of["method"], of["endpoint"]] += sign * int(count)
    return {key: n for key, n in total.items() if n and key[1] not in NOT_OF_THE_LOAD}


def test_every_scenario_was_sent_and_every_request_went_well(load: Load) -> None:
    assert {s.scenario for s in load.samples} == NAMES
    failures = [(s.scenario, s.operation, s.detail) for s in load.samples if s.outcome != "ok"]
    assert failures == []


def test_rows_and_histograms_count_the_same_for_every_scenario_and_operation(load: Load) -> None:
    rows = Counter((s.scenario, s.operation) for s in load.samples)
    for time in ("response_time", "service_time"):
        values: Counter[tuple[str, str]] = Counter()
        for key, distribution in load.histograms.items():
            if key.time == time:
                assert key.outcome is Outcome.OK
                values[key.scenario, key.operation] += distribution.count
        assert values == rows


def test_the_server_counts_what_was_sent_at_every_endpoint(load: Load) -> None:
    # Whatever is not named above is a mistake in a chat.
    sent = Counter(ENDPOINTS.get(s.operation, ("POST", CHAT)) for s in load.samples)
    assert load.server == sent


def test_each_chat_has_its_trace_and_nothing_else_has_one(load: Load) -> None:
    sent, traced = defaultdict(set), defaultdict(set)
    for sample in load.samples:
        if sample.traced:
            sent[sample.scenario].add(sample.trace_id)
    for row in load.observations:
        (scenario,) = (t.removeprefix("scenario:") for t in row["tags"] if "scenario:" in t)
        traced[scenario].add(row["traceId"])
    assert traced == sent
    assert set(sent) == NAMES - {"bad_input", "documents"}
    chats = [s for s in load.samples if s.operation in ("chat", "chat_stream")]
    assert sum(map(len, sent.values())) == len(chats)


def test_only_streams_have_first_tokens(load: Load) -> None:
    for sample in load.samples:
        streamed = sample.operation == "chat_stream"
        assert (sample.first_token is not None) is streamed
        assert ((sample.events or 0) > 1) is streamed
    assert {s.operation for s in load.samples if s.scenario == "streaming"} == {"chat_stream"}


def test_every_conversation_is_three_turns_in_one_session(load: Load) -> None:
    sessions = defaultdict(set)
    for row in load.observations:
        if "scenario:multi_turn" in row["tags"]:
            sessions[row["sessionId"]].add(row["traceId"])
    assert sessions
    assert {len(turns) for turns in sessions.values()} == {3}


def test_the_next_turn_is_due_when_the_answer_was_read(load: Load) -> None:
    due = [s for s in load.samples if s.scenario == "multi_turn"]
    ends = sorted(s.end for s in due)
    # Two in three are next turns: due 1.5 s after some answer, to the clock's own precision.
    follow = [s for s in due if any(abs(s.intended_start - end - 1.5) < 0.01 for end in ends)]
    assert len(follow) >= 2 * len(due) // 3


def test_every_mistake_was_made_equally_often(load: Load) -> None:
    made = Counter(s.operation for s in load.samples if s.scenario == "bad_input")
    assert len(made) >= 10
    assert len(set(made.values())) == 1


def test_no_document_is_left_behind(load: Load) -> None:
    assert load.documents.is_dir()
    assert any(load.documents.iterdir())
    assert list(load.documents.rglob("journey-*")) == []
