"""An LLM that dies in the middle of a streamed answer: client, metrics and trace say the same."""

from __future__ import annotations

import asyncio
import json
import re
import time
from bisect import bisect_left
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from httpx import AsyncClient
from prometheus_client.parser import text_string_to_metric_families

from target_app.agent.messages import Prompt, Reply
from target_app.agent.tokens import count_usage
from target_app.main import create_app
from target_app.observability.metrics.edges import LADDER
from tests.target_app.exposition import Series, exposition
from tests.target_app.observability.collector import Collector, Told, collector, settings_for
from tests.target_app.observability.serving import served
from tests.target_app.scripted import PRICES

pytestmark = pytest.mark.anyio

DIES_AFTER_SECONDS = 0.34
"""A little above an edge, so that what all else takes stays below the next."""

ROUTE = "endpoint=/api/chat/stream method=POST"


WORDS = ("One ", "two ")


@dataclass
class HalfLLM:
    """An LLM that streams two words of an answer, and after a while hangs up; or it waits."""

    waits: bool
    url: str = ""
    asked: list[Prompt] = field(default_factory=list)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        (size,) = re.findall(rb"content-length: (\d+)", head.lower())
        body = json.loads(await reader.readexactly(int(size)))
        self.asked.append(Prompt(body["messages"], body["tools"]))
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for word in WORDS:
            delta = {"index": 0, "delta": {"content": word}, "finish_reason": None}
            piece = {"model": "scripted-1", "choices": [delta]}
            line = b"data: " + json.dumps(piece).encode() + b"\n\n"
            writer.write(b"%x\r\n%b\r\n" % (len(line), line))
        if self.waits:
            await reader.read()
        else:
            await asyncio.sleep(DIES_AFTER_SECONDS)
        writer.transport.abort()


@asynccontextmanager
async def half_llm(*, waits: bool) -> AsyncIterator[HalfLLM]:
    llm = HalfLLM(waits)
    server = await asyncio.start_server(llm.answer, "127.0.0.1", 0)
    async with server:
        llm.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        yield llm


@asynccontextmanager
async def serving(folder: Path, langfuse: Collector, llm: HalfLLM) -> AsyncIterator[AsyncClient]:
    """Serve the app, started, with these two at its other ends."""
    (folder / "documents").mkdir()
    (folder / "prices.yaml").write_text(PRICES)
    app = create_app(
        settings_for(
            langfuse.url,
            folder / "documents",
            openai_base_url=llm.url,
            cache_directory=folder / "cache",
            prices_path=folder / "prices.yaml",
            isolation="paths",
        )
    )
    async with served(app) as client:
        await client.get("/health")
        yield client


def check_tokens(series: Series, generation: Told, llm: HalfLLM) -> None:
    """See that the tokens of the two words are counted, everywhere the same."""
    (prompt,) = llm.asked
    counted = count_usage(prompt, Reply("One two ", (), None, ""), "scripted-1")
    assert counted.input > 1000
    assert counted.output == 3
    for kind, tokens in (("input", counted.input), ("output", 3), ("total", counted.total)):
        assert series[f"llm_tokens_total type={kind}"] == tokens
        assert series[f"llm_tokens_per_request_sum type={kind}"] == tokens
    assert series["llm_usage_estimated_total"] == 1
    # It had yet to come: no proxy is at fault.
    assert series["errors_total component=llm error_type=usage_missing"] == 0
    assert series["llm_cost_usd_total model=scripted"] == pytest.approx(
        (counted.input + 4 * counted.output) / 1e6
    )

    told = json.loads(generation["langfuse.observation.output"])
    assert told == {"content": "One two ", "tool_calls": []}
    assert json.loads(generation["langfuse.observation.usage_details"]) == {
        "input": counted.input,
        "output": 3,
        "total": counted.total,
    }
    assert generation["langfuse.observation.metadata.usage_estimated"] == "true"
    assert generation["langfuse.observation.model.name"] == "scripted-1"


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
    with collector() as langfuse:
        async with half_llm(waits=False) as llm, serving(tmp_path, langfuse, llm) as client:
            started = time.perf_counter()
            answer = await client.post("/api/chat/stream", json={"message": "question"})
            seconds = time.perf_counter() - started
            series = await exposition(client)
            text = (await client.get("/metrics")).text

    blocks = [block.split("\n") for block in answer.text.strip().split("\n\n")]
    events = [name.removeprefix("event: ") for name, _ in blocks]
    assert answer.status_code == 200
    assert events == ["status", "status", "token", "token", "error"]
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
    check_tokens(series, spans["llm"], llm)

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


async def test_what_a_client_took_that_left_is_counted(tmp_path: Path) -> None:
    with collector() as langfuse:
        async with half_llm(waits=True) as llm, serving(tmp_path, langfuse, llm) as client:
            request = client.stream("POST", "/api/chat/stream", json={"message": "question"})
            async with request as answer:
                async for line in answer.aiter_lines():
                    if WORDS[-1] in line:
                        break
            series: Series = {}
            while not series.get(f"http_requests_total {ROUTE} status=aborted"):
                series = await exposition(client)

    assert series["agent_completions_total status=error"] == 1
    assert series["llm_calls_total status=error"] == 1
    assert series["errors_total component=agent error_type=client_disconnected"] == 1
    (generation,) = (span for span in langfuse.spans if span.name == "llm")
    assert generation["langfuse.observation.level"] == "ERROR"
    check_tokens(series, generation, llm)
