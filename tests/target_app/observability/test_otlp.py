"""What the app really sends by OTLP in the profile `hybrid`, read from the bytes posted."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from target_app.agent.llm import LLMError
from target_app.agent.messages import Usage
from target_app.main import create_app
from target_app.observability.metrics import Metrics
from target_app.observability.otlp_sink import OtlpSink
from target_app.observability.spans import Origin
from target_app.services import Edges
from tests.target_app.observability.capturing import captured_logs
from tests.target_app.observability.collector import Collector, Told, collector, settings_for
from tests.target_app.scripted import HOUR_NS, ScriptedLLM, call

pytestmark = pytest.mark.anyio

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
HEADERS = {"traceparent": f"00-{TRACE}-{PARENT}-01", "baggage": "run=r1"}
INTERNAL, SERVER, CLIENT = 1, 2, 3


@pytest.fixture
def server() -> Iterator[Collector]:
    with collector() as made:
        yield made


async def ask(
    server: Collector, documents: Path, llm: ScriptedLLM, headers: dict[str, str], **more: Any
) -> list[Told]:
    """Ask the app one question, and answer the spans that came over the wire."""
    settings = settings_for(
        server.url,
        documents,
        observability_profile="hybrid",
        langfuse_environment="bench",
        cache_directory=documents.parent / "cache",
        isolation="paths",
        **more,
    )
    app = create_app(settings, Edges(llm=llm, wall_clock_ns=lambda: time.time_ns() + HOUR_NS))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://app"
        ) as client,
    ):
        body = {"message": "a question in words", "session_id": "s1"}
        await client.post("/api/chat", json=body, headers=headers)
        await client.get("/health")
    return server.spans


async def test_a_request_is_one_trace_from_the_server_span_to_the_tools(
    server: Collector, documents: Path
) -> None:
    llm = ScriptedLLM([[call("cat", path="readme.md")], "an answer in words"])
    spans = await ask(server, documents, llm, HEADERS)

    by_id = {span.id: span for span in spans}
    above = {
        span.name: by_id[span.parent_id].name if span.parent_id in by_id else span.parent_id
        for span in spans
        if "chat gpt" not in span.name
    }
    assert above == {
        "POST /api/chat": PARENT,
        "invoke_agent filesystem-agent": "POST /api/chat",
        "iteration 1": "invoke_agent filesystem-agent",
        "tool-execution": "iteration 1",
        "execute_tool cat": "tool-execution",
        "iteration 2": "invoke_agent filesystem-agent",
    }
    calls = [span for span in spans if span.name == "chat gpt-4o-mini"]
    assert sorted(by_id[span.parent_id].name for span in calls) == ["iteration 1", "iteration 2"]
    assert {span.trace_id for span in spans} == {TRACE}
    for span in spans:
        if over := by_id.get(span.parent_id):
            assert over.start <= span.start <= span.end <= over.end

    named = {span.name: span for span in spans}
    request, agent = named["POST /api/chat"], named["invoke_agent filesystem-agent"]
    assert (request.kind, agent.kind, calls[0].kind) == (SERVER, INTERNAL, CLIENT)
    assert request["http.request.method"] == "POST"
    assert request["http.route"] == "/api/chat"
    assert request["http.response.status_code"] == 200
    assert request["http.request.body.size"] > 0
    assert agent["gen_ai.operation.name"] == "invoke_agent"
    assert agent["gen_ai.conversation.id"] == "s1"
    assert agent["agent.tags"] == ["run:r1"]
    assert (agent["agent.ending"], agent["agent.iterations"]) == ("success", 2)
    assert (
        calls[0].attributes.items()
        >= {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o-mini",
            "gen_ai.response.model": "scripted-1",
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.cache_read.input_tokens": 20,
            "gen_ai.usage.output_tokens": 10,
            "gen_ai.usage.reasoning.output_tokens": 3,
            "agent.tools_offered": 10,
        }.items()
    )
    assert (
        named["execute_tool cat"].attributes.items()
        >= {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "cat",
            "agent.success": True,
            "agent.cache_hit": False,
            "agent.return_code": 0,
        }.items()
    )
    assert (
        request.resource.items()
        >= {
            "service.name": "target-app",
            "deployment.environment": "bench",
        }.items()
    )


async def test_log_lines_have_the_ids_of_the_spans(server: Collector, documents: Path) -> None:
    llm = ScriptedLLM([[call("cat", path="readme.md")], "an answer in words"])
    with captured_logs() as written:
        spans = await ask(server, documents, llm, HEADERS, log_format="json")
        lines = [json.loads(line) for line in written()]

    told = [line for line in lines if line["logger"] == "target_app.io"]
    by_id = {span.id: span.name for span in spans}
    assert [(line["event"], by_id.get(line["span_id"])) for line in told] == [
        ("llm_call", "chat gpt-4o-mini"),
        ("tool", "execute_tool cat"),
        ("llm_call", "chat gpt-4o-mini"),
        ("chat", "invoke_agent filesystem-agent"),
        ("request", "POST /api/chat"),
    ]
    assert len({line["span_id"] for line in told}) == 5
    above = {line["event"]: by_id.get(line["parent_span_id"]) for line in told}
    agent = "invoke_agent filesystem-agent"
    assert above == {"llm_call": agent, "tool": agent, "chat": "POST /api/chat", "request": None}


async def test_the_span_of_a_request_names_its_conversation(
    server: Collector, documents: Path
) -> None:
    spans = await ask(server, documents, ScriptedLLM(["done"]), HEADERS)

    (request,) = (span for span in spans if span.kind == SERVER)
    assert request["gen_ai.conversation.id"] == "s1"
    assert not any("session" in name for name in request.attributes)


async def test_nothing_that_anybody_said_is_sent(server: Collector, documents: Path) -> None:
    llm = ScriptedLLM([[call("cat", path="readme.md")], "an answer in words"])
    spans = await ask(server, documents, llm, HEADERS)

    told = json.dumps([(span.name, span.attributes) for span in spans])
    assert [word for word in ("question", "answer in", "readme", "alpha") if word in told] == []


async def test_errors_are_marked_up_to_the_request(server: Collector, documents: Path) -> None:
    llm = ScriptedLLM([LLMError("timeout", "too slow"), LLMError("timeout", "too slow")])
    spans = await ask(server, documents, llm, HEADERS, llm_max_attempts=1)

    assert {span.name: span.reason for span in spans if span.failed} == {
        "chat gpt-4o-mini": "too slow",
        "invoke_agent filesystem-agent": "too slow",
        "POST /api/chat": "status 502",
    }


async def test_without_a_caller_the_server_span_has_no_parent(
    server: Collector, documents: Path
) -> None:
    spans = await ask(server, documents, ScriptedLLM(["done"]), {})

    by_id = {span.id for span in spans}
    assert [(s.name, s.parent_id) for s in spans if s.parent_id not in by_id] == [
        ("POST /api/chat", ""),
    ]
    assert len({span.trace_id for span in spans}) == 1


async def test_what_is_not_in_the_sample_is_not_sent(server: Collector, documents: Path) -> None:
    llm = ScriptedLLM(["done"])
    spans = await ask(server, documents, llm, HEADERS, otel_traces_sampler_arg=0.0)

    assert (spans, server.posted) == ([], [])


def test_the_first_token_and_an_answer_that_broke_off(server: Collector, tmp_path: Path) -> None:
    sink = OtlpSink(settings_for(server.url, tmp_path), Metrics())
    request = sink.root("server", "POST", {}, Origin(TRACE))
    generation = request.child("generation", "llm", {"model_parameters": {"stream": True}})
    generation.first_token()
    generation.update({"usage": Usage(1, 0, 2, 0), "usage_estimated": True})
    generation.end()
    request.update({"metadata": {"method": "POST", "route": "/api/chat", "status": "aborted"}})
    request.fail("the answer did not come to its end")
    request.end()
    sink.close(60)

    told, whole = server.spans
    assert 0 < told["gen_ai.response.time_to_first_chunk"] < (told.end - told.start) / 1e9 + 1
    assert told["gen_ai.request.stream"] is True
    assert told["agent.usage_estimated"] is True
    assert (whole.failed, whole.get("http.response.status_code")) == (True, None)
    assert whole.name == "POST /api/chat"
