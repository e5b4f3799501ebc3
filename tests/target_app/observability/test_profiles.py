"""What each profile has and has not, and that one trace id links all that it has."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.target_app.observability.collector import Told, collector
from tests.target_app.resilience.llm_server import LLMServer, Trouble, llm_up, plan
from tests.target_app.scripted import call

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]
TRACE = "0af7651916cd43dd8448eb211c80319c"
HEADERS = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
OPEN_METRICS = {"accept": "application/openmetrics-text; version=1.0.0"}

STARTED = {"langfuse": "/api/public/otel/v1/traces", "otlp": "/v1/traces"}
TOLD_OF_IO = {"request", "chat", "llm_call", "tool"}
"""What the log lines of input and output are called."""


@dataclass(frozen=True)
class Seen:
    """What a process of the app told, of a chat that went well and of one that failed."""

    statuses: list[int]
    page: str | None
    posted_to: set[str]
    spans: list[Told]
    lines: list[dict[str, Any]]

    def events(self, *, trace_id: str | None) -> set[str]:
        """Name the log lines that carry this trace id, or those that carry none."""
        return {line["event"] for line in self.lines if line.get("trace_id") == trace_id}

    @property
    def exemplars(self) -> dict[str, str]:
        """Read the trace ids in the metrics, by metric."""
        found = re.findall(r'^(\w+)_bucket.*# \{trace_id="(\w+)"\}', self.page or "", re.MULTILINE)
        return dict(found)


@asynccontextmanager
async def process(environment: dict[str, str]) -> AsyncIterator[tuple[str, list[str]]]:
    """Run the app; hands out its address, and its log, which is whole when the block has ended."""
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "target_app"), env=environment, stderr=asyncio.subprocess.PIPE
    )
    assert running.stderr is not None
    log: list[str] = []
    try:
        async with asyncio.timeout(60):
            while not (address := re.search(r"running on (http://[\d.:]+)", "".join(log[-1:]))):
                line = (await running.stderr.readline()).decode()
                assert line, log
                log.append(line)
        yield address[1], log
    finally:
        running.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            log += (await running.stderr.read()).decode().splitlines(keepends=True)
            await running.wait()


async def chats(client: httpx.AsyncClient, llm: LLMServer) -> list[int]:
    """Have one chat with a tool call, and one in which the LLM refuses its key."""
    question = {"message": plan([call("cat", path="readme.md")])}
    answers = [await client.post("/api/chat", json=question, headers=HEADERS)]
    llm.trouble = Trouble(401)
    answers.append(await client.post("/api/chat", json=question, headers=HEADERS))
    llm.recover()
    return [answer.status_code for answer in answers]


async def seen_with(profile: str, documents: Path, **more: str) -> Seen:
    with collector() as sinks:
        async with llm_up() as llm:
            environment = {
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "PORT": "0",
                "DATA_ROOT_PATH": str(documents),
                "CACHE_DIRECTORY": str(documents.parent / "cache"),
                "ISOLATION": "paths",
                "OPENAI_API_KEY": "unused",
                "OPENAI_BASE_URL": llm.url,
                "TOKEN_CHECK_EVERY": "0",
                "OBSERVABILITY_PROFILE": profile,
                "LANGFUSE_HOST": sinks.url,
                "LANGFUSE_PUBLIC_KEY": "pk",
                "LANGFUSE_SECRET_KEY": "sk",
                "OTEL_EXPORTER_OTLP_ENDPOINT": sinks.url,
                **more,
            }
            async with process(environment) as (address, log):  # noqa: SIM117 - in this order
                async with httpx.AsyncClient(base_url=address, timeout=30) as client:
                    statuses = await chats(client, llm)
                    page = await client.get("/metrics", headers=OPEN_METRICS)
        return Seen(
            statuses,
            page.text if page.status_code == 200 else None,
            {posted.path for posted in sinks.posted},
            sinks.spans,
            [json.loads(line) for line in log],
        )


FAILED = "a chat failed: the LLM answered with status 401; is the key right?"


@pytest.mark.parametrize(
    ("profile", "posted_to", "of_io"),
    [
        pytest.param("off", None, set(), id="off"),
        pytest.param("minimal", None, TOLD_OF_IO, id="minimal"),
        pytest.param("ai", "langfuse", set(), id="ai"),
        pytest.param("hybrid", "otlp", TOLD_OF_IO, id="hybrid"),
    ],
)
async def test_a_profile_has_what_it_says_and_one_trace_id_links_it(
    documents: Path, profile: str, posted_to: str | None, of_io: set[str]
) -> None:
    seen = await seen_with(profile, documents)

    assert seen.statuses == [200, 502]
    assert (seen.page is None) is (profile == "off")

    # Traces.
    assert seen.posted_to == ({STARTED[posted_to]} if posted_to else set())
    assert {span.trace_id for span in seen.spans} == ({TRACE} if posted_to else set())
    names = {span.name for span in seen.spans}
    tree = {"chat", "iteration 1", "llm", "tool-execution", "cat", "iteration 2"}
    assert len(names) >= len(tree) if posted_to else not names
    if posted_to == "langfuse":
        assert names == tree

    # Logs.
    linked = {FAILED, *of_io}
    if profile == "off":
        assert seen.events(trace_id=TRACE) == set()
        assert FAILED in seen.events(trace_id=None)
    else:
        assert seen.events(trace_id=TRACE) == linked
        assert not seen.events(trace_id=None) & linked

    # Exemplars: only of what can be looked up.
    durations = {
        "http_request_duration_seconds",
        "agent_execution_duration_seconds",
        "llm_call_duration_seconds",
        "tool_execution_duration_seconds",
    }
    shown = dict.fromkeys(durations, TRACE) if profile != "off" else {}
    assert seen.exemplars == shown


@pytest.mark.parametrize(
    ("more", "line"),
    [
        pytest.param(
            {"LANGFUSE_ENABLED": "false"},
            "no traces are sent: LANGFUSE_ENABLED is not true",
            id="switched off",
        ),
        pytest.param(
            {"LANGFUSE_PUBLIC_KEY": ""},
            "no traces are sent: OBSERVABILITY_PROFILE is ai, but LANGFUSE_PUBLIC_KEY or "
            "LANGFUSE_SECRET_KEY is missing",
            id="without a key",
        ),
    ],
)
async def test_without_langfuse_the_app_runs_the_same(
    documents: Path, more: dict[str, str], line: str
) -> None:
    seen = await seen_with("ai", documents, **more)

    assert seen.statuses == [200, 502]
    assert (seen.posted_to, seen.spans) == (set(), [])
    assert [said["event"] for said in seen.lines if "traces" in said["event"]] == [line]
    assert seen.events(trace_id=TRACE) == {FAILED}
    # An id that nobody can look up is no exemplar.
    assert seen.page is not None
    assert seen.exemplars == {}
