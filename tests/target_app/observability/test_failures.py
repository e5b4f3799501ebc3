"""An error that nothing catches, behind a real server: answered, measured and logged once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.responses import StreamingResponse

from target_app.main import create_app
from target_app.services import Edges
from tests.target_app.exposition import exposition
from tests.target_app.observability.capturing import captured_logs
from tests.target_app.observability.collector import settings_for
from tests.target_app.observability.serving import served
from tests.target_app.scripted import ScriptedLLM

pytestmark = pytest.mark.anyio

TRACE = "0af7651916cd43dd8448eb211c80319c"
HEADERS = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}


def failing_app(documents: Path) -> Any:
    """Make an app whose LLM raises what no LLM raises, and with a route that breaks off."""
    settings = settings_for(
        "http://unused",
        documents,
        cache_directory=documents.parent / "cache",
        isolation="paths",
        langfuse_enabled=False,
        log_format="json",
        observability_profile="minimal",
        token_check_every=0,
    )
    app = create_app(settings, Edges(llm=ScriptedLLM([RuntimeError("a fault")])))

    async def pieces() -> AsyncIterator[bytes]:
        yield b"begun"
        raise RuntimeError("a fault")

    @app.get("/breaks")
    async def breaks() -> StreamingResponse:
        return StreamingResponse(pieces())

    return app


def failures(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Take the lines that say of an error where it was, and what a server says of one."""
    return [
        line
        for line in lines
        if "a fault" in line.get("exception", "")
        or (line["logger"].startswith("uvicorn") and line["level"] != "info")
    ]


async def test_before_the_answer_it_is_a_500_like_any_other(documents: Path) -> None:
    with captured_logs() as lines:
        async with served(failing_app(documents)) as client:
            body = {"message": "question", "session_id": "s1"}
            answer = await client.post("/api/chat", json=body, headers=HEADERS)
            again = await client.get("/health")
            series = await exposition(client)
        told = [json.loads(line) for line in lines()]

    assert (answer.status_code, answer.json()["error"]) == (500, "INTERNAL_ERROR")
    assert again.status_code == 200
    labels = "endpoint=/api/chat method=POST"
    assert series[f"http_requests_total {labels} status=500"] == 1
    assert series[f"http_response_size_bytes_sum {labels}"] == len(answer.content) == 84

    (failure,) = failures(told)
    assert (failure["trace_id"], failure["session_id"]) == (TRACE, "s1")
    assert (failure["route"], failure["level"]) == ("/api/chat", "error")
    (request,) = (line for line in told if line["event"] == "request")
    assert (request["trace_id"], request["session_id"]) == (TRACE, "s1")
    assert (request["status"], request["response_bytes"]) == (500, 84)


async def test_in_the_midst_of_the_answer_the_connection_breaks(documents: Path) -> None:
    with captured_logs() as lines:
        async with served(failing_app(documents)) as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get("/breaks", headers=HEADERS)
            series = await exposition(client)
        told = [json.loads(line) for line in lines()]

    assert series["http_requests_total endpoint=/breaks method=GET status=aborted"] == 1
    (failure,) = failures(told)
    assert (failure["trace_id"], failure["route"]) == (TRACE, "/breaks")


async def test_no_failure_is_missed_for_want_of_a_zero_before_it(documents: Path) -> None:
    with captured_logs():
        async with served(failing_app(documents)) as client:
            before = await exposition(client)
            await client.post("/api/chat", json={"message": "question"})
            after = await exposition(client)

    known = {name for name in before if name.startswith("http_requests_total")}
    assert {before[name] for name in known} == {0}
    failed = "http_requests_total endpoint=/api/chat method=POST status=500"
    assert after[failed] - before[failed] == 1
    good = {name.rpartition(" ")[0]: name for name in known if not name.endswith("500")}
    assert len(known) == 2 * len(good) > 20
    labels = "http_requests_total endpoint=/api/documents"
    assert good[f"{labels} method=POST"].endswith("status=201")
    assert good[f"{labels} method=GET"].endswith("status=200")
    # What is not counted has no series.
    assert not any("/health" in name or "/metrics" in name for name in known)
