"""What the app really sends to Langfuse, read from the bytes that were posted."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import langfuse
import pytest

from target_app.agent.messages import Reply, ToolCall, Usage
from target_app.main import create_app
from target_app.observability.langfuse_sink import LangfuseSink
from target_app.observability.metrics import Metrics
from target_app.observability.spans import Origin
from target_app.services import Edges
from tests.target_app.observability.collector import (
    Collector,
    Told,
    collector,
    paths,
    settings_for,
)
from tests.target_app.scripted import HOUR_NS, ScriptedLLM, call

pytestmark = pytest.mark.anyio

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
HEADERS = {
    "traceparent": f"00-{TRACE}-{PARENT}-01",
    "baggage": "run=r1,scenario=warm_cache",
}
GOLDEN = Path(__file__).parents[2] / "stack" / "golden" / "golden.headers.json"
OBSERVATION = "langfuse.observation."

QUESTION = "what is in alpha?"
ANSWER = "Alpha is first."


class ThreeTurns:
    """Asks for two tools, then for one again and for a file that is not there, then answers."""

    def __init__(self) -> None:
        self.asked = 0

    async def call(self, prompt: Any, on_token: Any) -> Reply:
        self.asked += 1
        usage = Usage(input=100 * self.asked, cached_input=20, output=7, reasoning=3)
        if self.asked == 1:
            return Reply("", (call("grep", pattern="alpha"), call("ls")), usage, "scripted-1")
        if self.asked == 2:
            again = (
                ToolCall("again", "grep", json.dumps({"pattern": "alpha"})),
                ToolCall("gone", "cat", json.dumps({"path": "gone.txt"})),
            )
            return Reply("", again, usage, "scripted-1")
        for word in ANSWER.split(" "):
            await asyncio.sleep(0)
            await on_token(word)
        return Reply(ANSWER, (), usage, "scripted-1")


@asynccontextmanager
async def sending_to(
    server: Collector, documents: Path, llm: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """Run the app, which sends its spans to `server`; they are all there when it has ended."""
    settings = settings_for(
        server.url,
        documents,
        langfuse_public_key=f"pk-wire-{documents}",
        langfuse_environment="bench",
        langfuse_release="r7",
        cache_directory=documents.parent / "cache",
        isolation="paths",
    )
    # An hour late, every file was written long enough ago to be remembered.
    edges = Edges(llm=llm, wall_clock_ns=lambda: time.time_ns() + HOUR_NS)
    app = create_app(settings, edges)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client,
    ):
        yield client


async def three_turns(server: Collector, documents: Path) -> list[Told]:
    """Stream a chat of three turns, and answer the spans that came over the wire."""
    body = {"message": QUESTION, "session_id": "s1"}
    async with sending_to(server, documents, ThreeTurns()) as client:
        response = await client.post("/api/chat/stream", json=body, headers=HEADERS)
        assert response.status_code == 200
    return server.spans


def read(span: Told, key: str) -> Any:
    value = span.get(OBSERVATION + key)
    return json.loads(value) if value is not None and value[:1] in '{["' else value


async def test_the_whole_trace_of_a_streamed_chat(documents: Path) -> None:
    with collector() as server:
        spans = await three_turns(server, documents)
    by_id = {span.id: span for span in spans}

    # The tree: every span, each under its own parent.
    assert Counter(paths(spans)) == Counter(
        [
            "chat",
            "iteration 1 < chat",
            "llm < iteration 1 < chat",
            "tool-execution < iteration 1 < chat",
            "grep < tool-execution < iteration 1 < chat",
            "ls < tool-execution < iteration 1 < chat",
            "iteration 2 < chat",
            "llm < iteration 2 < chat",
            "tool-execution < iteration 2 < chat",
            "grep < tool-execution < iteration 2 < chat",
            "cat < tool-execution < iteration 2 < chat",
            "iteration 3 < chat",
            "llm < iteration 3 < chat",
        ]
    )
    # No orphan: only the root's parent is elsewhere, with the caller.
    elsewhere = [span for span in spans if span.parent_id not in by_id]
    assert [(span.name, span.parent_id) for span in elsewhere] == [("chat", PARENT)]
    assert [span.name for span in spans if span.get("langfuse.internal.is_app_root")] == ["chat"]
    assert {span.trace_id for span in spans} == {TRACE}

    # Types.
    types = Counter((span.name.split(" ")[0], read(span, "type")) for span in spans)
    assert types == {
        ("chat", "agent"): 1,
        ("iteration", "span"): 3,
        ("tool-execution", "span"): 2,
        ("llm", "generation"): 3,
        ("grep", "tool"): 2,
        ("ls", "tool"): 1,
        ("cat", "tool"): 1,
    }

    # Times: each within its parent's, and iterations one after the other.
    for span in spans:
        assert span.start <= span.end
        if above := by_id.get(span.parent_id):
            assert above.start <= span.start
            assert span.end <= above.end
    iterations = sorted((s for s in spans if "iteration" in s.name), key=lambda s: s.start)
    assert [span.name for span in iterations] == ["iteration 1", "iteration 2", "iteration 3"]
    assert iterations[0].end <= iterations[1].start
    assert iterations[1].end <= iterations[2].start

    # What all of a trace share.
    for span in spans:
        assert span["session.id"] == "s1"
        assert span["langfuse.trace.tags"] == ["run:r1", "scenario:warm_cache"]
        assert span["langfuse.trace.name"] == "chat"
        assert (span["langfuse.environment"], span["langfuse.release"]) == ("bench", "r7")
        assert span.resource["service.name"] == "target-app"
        assert span.resource["langfuse.environment"] == "bench"

    # The chat.
    (chat,) = (span for span in spans if span.name == "chat")
    output = read(chat, "output")
    assert 0 < output.pop("duration_seconds") <= (chat.end - chat.start) / 1e9
    assert read(chat, "input") == QUESTION
    assert output == {
        "answer": ANSWER,
        "ending": "success",
        "iterations": 3,
        "tokens": 3 * 30 + 600,
    }

    # The LLM calls.
    calls = sorted((span for span in spans if span.name == "llm"), key=lambda span: span.start)
    assert [read(span, "usage_details") for span in calls] == [
        {
            "input": 100 * n,
            "input_cached_tokens": 20,
            "output": 7,
            "output_reasoning_tokens": 3,
            "total": 100 * n + 30,
        }
        for n in (1, 2, 3)
    ]
    assert {read(span, "model.name") for span in calls} == {"scripted-1"}
    assert {read(span, "metadata.tools_offered") for span in calls} == {"10"}
    assert {read(span, "metadata.usage_estimated") for span in calls} == {None}
    assert read(calls[0], "model.parameters")["stream"] is True
    assert read(calls[0], "input")[-1] == {"role": "user", "content": QUESTION}
    assert [message["role"] for message in read(calls[2], "input")] == [
        "system",
        "user",
        "assistant",
        "tool",
        "tool",
        "assistant",
        "tool",
        "tool",
    ]
    asked = read(calls[0], "output")["tool_calls"]
    assert [(part["name"], json.loads(part["arguments"])) for part in asked] == [
        ("grep", {"pattern": "alpha"}),
        ("ls", {}),
    ]
    assert read(calls[2], "output") == {"content": ANSWER, "tool_calls": []}
    first_tokens = [read(span, "completion_start_time") for span in calls]
    assert first_tokens[:2] == [None, None]  # no text came
    assert first_tokens[2].startswith("20")

    # The tools.
    first, again = sorted((s for s in spans if s.name == "grep"), key=lambda span: span.start)
    (gone,) = (span for span in spans if span.name == "cat")
    assert read(first, "input") == {"pattern": "alpha"}
    hits = [(read(s, "output")["success"], read(s, "output")["cache_hit"]) for s in (first, again)]
    assert hits == [(True, False), (True, True)]
    output = read(gone, "output")
    assert (output["success"], output["return_code"]) == (False, 1)
    failed = [span.name for span in spans if span.failed or read(span, "level") == "ERROR"]
    assert failed == ["cat"]
    assert gone.failed
    assert gone.reason == read(gone, "status_message") != ""
    turns = [s for s in spans if s.name == "tool-execution"]
    assert {read(span, "metadata.strategy") for span in turns} == {"parallel"}


async def test_the_headers_are_those_of_the_sdk(documents: Path) -> None:
    with collector() as server:
        await three_turns(server, documents)
    public_key = f"pk-wire-{documents}"
    (posted,) = server.posted

    recorded = json.loads(GOLDEN.read_text())
    recorded["x-langfuse-public-key"] = public_key
    recorded["x-langfuse-sdk-version"] = langfuse.__version__
    assert {name: posted.headers.get(name) for name in recorded} == recorded
    credentials = base64.b64encode(f"{public_key}:sk".encode()).decode()
    assert posted.headers["authorization"] == f"Basic {credentials}"
    assert posted.headers["content-encoding"] == "gzip"
    assert posted.path == "/api/public/otel/v1/traces"


async def test_a_trace_that_begins_here_has_no_parent_at_all(documents: Path) -> None:
    with collector() as server:
        async with sending_to(server, documents, ScriptedLLM(["one", "two"])) as client:
            for _ in range(2):
                await client.post("/api/chat", json={"message": "hi"})
        roots = [span for span in server.spans if span.name == "chat"]

    assert [root.parent_id for root in roots] == ["", ""]
    assert roots[0].trace_id != roots[1].trace_id


async def test_a_picture_in_a_message_is_not_sent_apart_from_the_trace(documents: Path) -> None:
    picture = f"data:image/png;base64,{base64.b64encode(b'picture').decode()}"
    with collector() as server:
        async with sending_to(server, documents, ScriptedLLM(["one"])) as client:
            await client.post("/api/chat", json={"message": picture})

    assert {posted.path for posted in server.posted} == {"/api/public/otel/v1/traces"}
    (chat,) = (span for span in server.spans if span.name == "chat")
    assert read(chat, "input") == picture


async def test_a_session_id_too_long_for_langfuse_is_cut_and_not_lost(
    tmp_path: Path,
) -> None:
    with collector() as server:
        metrics = Metrics()
        sink = LangfuseSink(settings_for(server.url, tmp_path), metrics)
        origin = Origin(TRACE, None, session_id="s" * 300, tags=("t" * 300,))
        sink.root("agent", "chat", {}, origin).end()
        await asyncio.to_thread(sink.close, 60)
    (span,) = server.spans

    assert (span["session.id"], span["langfuse.trace.tags"]) == ("s" * 200, ["t" * 200])
