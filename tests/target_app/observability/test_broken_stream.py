"""An LLM that dies in the middle of a streamed answer: client, metrics and trace say the same."""

from __future__ import annotations

import asyncio
import json
import time
from bisect import bisect_left
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from target_app.main import create_app
from target_app.observability.metrics.edges import LADDER
from tests.target_app.exposition import exposition
from tests.target_app.observability.collector import collector, settings_for
from tests.target_app.observability.serving import served

pytestmark = pytest.mark.anyio

DIES_AFTER_SECONDS = 0.34
"""A little above an edge, so that what all else takes stays below the next."""

ROUTE = "endpoint=/api/chat/stream method=POST"


@asynccontextmanager
async def dying_llm() -> AsyncIterator[str]:
    """Run an LLM that streams one word of an answer, and hangs up a while later."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        delta = {"index": 0, "delta": {"content": "One "}, "finish_reason": None}
        piece = b"data: " + json.dumps({"model": "m", "choices": [delta]}).encode() + b"\n\n"
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(piece), piece)
        )
        await asyncio.sleep(DIES_AFTER_SECONDS)
        writer.transport.abort()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


def bucket(seconds: float) -> int:
    """Number the bucket that a time falls into."""
    return bisect_left(LADDER, seconds)


def bucket_of_one(text: str, name: str, labels: dict[str, str]) -> int:
    """Number the bucket of the only observation of a histogram."""
    (family,) = (f for f in text_string_to_metric_families(text) if f.name == name)
    edges = [
        float(sample.labels["le"])
        for sample in family.samples
        if sample.name.endswith("_bucket")
        and labels.items() <= sample.labels.items()
        and sample.value == 1
    ]
    return bucket(min(edges))


async def test_client_metrics_and_trace_agree(tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    with collector() as langfuse:
        async with dying_llm() as url:
            app = create_app(
                settings_for(
                    langfuse.url,
                    folder,
                    openai_base_url=url,
                    cache_directory=tmp_path / "cache",
                    isolation="paths",
                    token_check_every=0,
                )
            )
            async with served(app) as client:
                await client.get("/health")  # the app has started
                started = time.perf_counter()
                answer = await client.post("/api/chat/stream", json={"message": "question"})
                seconds = time.perf_counter() - started
                series = await exposition(client)
                text = (await client.get("/metrics")).text

    blocks = [block.split("\n") for block in answer.text.strip().split("\n\n")]
    events = [name.removeprefix("event: ") for name, _ in blocks]
    assert answer.status_code == 200
    assert events == ["status", "status", "token", "error"]
    told = json.loads(blocks[-1][1].removeprefix("data: "))
    assert (told["type"], told["kind"]) == ("LLM_ERROR", "connection")

    assert series[f"http_requests_total {ROUTE} status=200"] == 1
    assert series["agent_completions_total status=error"] == 1
    assert series["agent_completions_total status=success"] == 0
    assert series["llm_calls_total status=error"] == 1
    assert series["errors_total component=llm error_type=connection"] == 1

    spans = {span.name: span for span in langfuse.spans}
    assert set(spans) == {"chat", "iteration 1", "llm"}
    for name in ("chat", "llm"):
        assert spans[name]["langfuse.observation.level"] == "ERROR"
        assert spans[name]["langfuse.observation.status_message"] == told["message"]

    chat = (spans["chat"].end - spans["chat"].start) / 1e9
    buckets = {
        "client": bucket(seconds),
        "http": bucket_of_one(
            text, "http_request_duration_seconds", {"endpoint": "/api/chat/stream"}
        ),
        "agent": bucket_of_one(text, "agent_execution_duration_seconds", {"status": "error"}),
        "llm": bucket_of_one(text, "llm_call_duration_seconds", {}),
        "trace": bucket(chat),
    }
    assert DIES_AFTER_SECONDS < chat <= seconds
    assert max(buckets.values()) - min(buckets.values()) <= 1, buckets
