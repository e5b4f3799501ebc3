"""What goes over the wire to OpenAI and Azure, and what becomes of what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
import respx

from target_app.agent.llm import LLMError, OpenAILLM, make_client, read_retry_after
from target_app.agent.messages import Prompt, Reply, ToolCall, Usage
from target_app.settings import Settings

pytestmark = pytest.mark.anyio

OPENAI = "http://llm.test/v1/chat/completions"
PROMPT = Prompt(
    [{"role": "user", "content": "q"}], [{"type": "function"}], {"traceparent": "00-a-b-01"}
)
USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 10,
    "total_tokens": 110,
    "prompt_tokens_details": {"cached_tokens": 20},
    "completion_tokens_details": {"reasoning_tokens": 3},
}


def settings(root: Path, **more: Any) -> Settings:
    return Settings(
        data_root_path=root, openai_api_key="key-1", openai_base_url="http://llm.test/v1", **more
    )


def completion(message: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": USAGE,
        **more,
    }


def chunk(delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": choices,
        **more,
    }


def sse(*chunks: dict[str, Any]) -> httpx.Response:
    text = "".join(f"data: {json.dumps(part)}\n\n" for part in chunks) + "data: [DONE]\n\n"
    return httpx.Response(200, text=text, headers={"content-type": "text/event-stream"})


async def ask(chosen: Settings, *, stream: bool = False) -> tuple[Reply, list[str]]:
    tokens: list[str] = []

    async def on_token(text: str) -> None:
        tokens.append(text)

    async with make_client(chosen) as client:
        llm = OpenAILLM(client, chosen.model)
        return await llm.call(PROMPT, on_token if stream else None), tokens


async def test_openai_is_asked_as_its_api_wants_it(
    tmp_path: Path, httpx2_mock: respx.Router
) -> None:
    route = httpx2_mock.post(OPENAI).respond(
        json=completion({"role": "assistant", "content": "a"})
    )

    reply, _ = await ask(settings(tmp_path))

    request = route.calls.last.request
    assert json.loads(request.content) == {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": "q"}],
        "tools": [{"type": "function"}],
        "tool_choice": "auto",
    }
    assert request.headers["authorization"] == "Bearer key-1"
    assert request.headers["traceparent"] == "00-a-b-01"
    assert reply == Reply("a", (), Usage(80, 20, 7, 3), "gpt-4o-mini-2024-07-18")


async def test_azure_is_asked_for_a_deployment(tmp_path: Path, httpx2_mock: respx.Router) -> None:
    route = httpx2_mock.post(
        "http://azure.test/openai/deployments/my-gpt/chat/completions",
        params={"api-version": "2024-10-21"},
    ).respond(json=completion({"role": "assistant", "content": "a"}))

    reply, _ = await ask(
        settings(
            tmp_path,
            azure_openai_endpoint="http://azure.test",
            azure_openai_api_key="key-2",
            azure_openai_deployment_name="my-gpt",
        )
    )

    assert route.calls.last.request.headers["api-key"] == "key-2"
    assert reply.content == "a"


@pytest.mark.parametrize(
    "usage",
    [
        pytest.param({}, id="nothing in it"),
        pytest.param({**USAGE, "prompt_tokens": None}, id="a part is missing"),
        pytest.param({**USAGE, "prompt_tokens": 5}, id="more cached than there is"),
        pytest.param({**USAGE, "completion_tokens": 1}, id="more reasoning than there is"),
        pytest.param({**USAGE, "completion_tokens": -1}, id="less than nothing"),
    ],
)
async def test_a_usage_that_cannot_be_is_as_good_as_none(
    tmp_path: Path, httpx2_mock: respx.Router, usage: dict[str, Any]
) -> None:
    message = {"role": "assistant", "content": "done"}
    httpx2_mock.post(OPENAI).respond(json=completion(message, usage=usage))

    reply, _ = await ask(settings(tmp_path))

    assert (reply.content, reply.usage) == ("done", None)


async def test_tool_calls_are_taken_from_a_whole_answer(
    tmp_path: Path, httpx2_mock: respx.Router
) -> None:
    calls = [
        {"id": "1", "type": "function", "function": {"name": "ls", "arguments": "{}"}},
        {"id": "2", "type": "function", "function": {"name": "cat", "arguments": '{"path":"a"}'}},
    ]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    httpx2_mock.post(OPENAI).respond(json=completion(message, usage=None))

    reply, _ = await ask(settings(tmp_path))

    assert reply == Reply(
        "",
        (ToolCall("1", "ls", "{}"), ToolCall("2", "cat", '{"path":"a"}')),
        None,
        "gpt-4o-mini-2024-07-18",
    )


async def test_a_streamed_answer_is_handed_over_piece_by_piece(
    tmp_path: Path, httpx2_mock: respx.Router
) -> None:
    route = httpx2_mock.post(OPENAI).mock(
        return_value=sse(
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": "Hel"}),
            chunk({"content": "lo"}),
            chunk({}, "stop"),
            chunk(None, usage=USAGE),
        )
    )

    reply, tokens = await ask(settings(tmp_path), stream=True)

    sent = json.loads(route.calls.last.request.content)
    assert (sent["stream"], sent["stream_options"]) == (True, {"include_usage": True})
    assert tokens == ["Hel", "lo"]
    assert reply == Reply("Hello", (), Usage(80, 20, 7, 3), "gpt-4o-mini-2024-07-18")


async def test_streamed_tool_calls_are_put_together(
    tmp_path: Path, httpx2_mock: respx.Router
) -> None:
    def part(index: int, arguments: str, **begin: str) -> dict[str, Any]:
        function = {"arguments": arguments} | ({"name": begin["name"]} if begin else {})
        call: dict[str, Any] = {"index": index, "function": function}
        return chunk({"tool_calls": [call | ({"id": begin["id"]} if begin else {})]})

    httpx2_mock.post(OPENAI).mock(
        return_value=sse(
            part(0, "", id="1", name="ls"),
            part(1, "", id="2", name="cat"),
            part(1, '{"path":'),
            part(0, "{}"),
            part(1, '"a"}'),
            chunk({}, "tool_calls"),
        )
    )

    reply, tokens = await ask(settings(tmp_path), stream=True)

    assert tokens == []
    assert reply.tool_calls == (ToolCall("1", "ls", "{}"), ToolCall("2", "cat", '{"path":"a"}'))
    assert reply.usage is None


@pytest.mark.parametrize(
    ("answer", "kind", "status"),
    [
        pytest.param(httpx.Response(500), "http_error", 500, id="server error"),
        pytest.param(httpx.Response(401), "http_error", 401, id="wrong key"),
        pytest.param(httpx.Response(429), "rate_limit", 429, id="too many calls"),
        pytest.param(httpx2.ReadTimeout("slow"), "timeout", None, id="no answer in time"),
        pytest.param(httpx2.ConnectError("down"), "connection", None, id="nobody there"),
        pytest.param(
            httpx.Response(200, json=completion({}, choices=[])),
            "broken_answer",
            None,
            id="no choices",
        ),
        pytest.param(
            httpx.Response(200, text="{", headers={"content-type": "application/json"}),
            "broken_answer",
            None,
            id="half an object",
        ),
    ],
)
async def test_a_failed_call_says_how_and_is_made_once(
    tmp_path: Path,
    httpx2_mock: respx.Router,
    answer: httpx.Response | Exception,
    kind: str,
    status: int | None,
) -> None:
    route = httpx2_mock.post(OPENAI).mock(side_effect=[answer])

    with pytest.raises(LLMError) as failed:
        await ask(settings(tmp_path))

    assert (failed.value.kind, failed.value.status) == (kind, status)
    assert route.call_count == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_how_long_the_llm_wants_to_be_left_alone_is_told(
    tmp_path: Path, httpx2_mock: respx.Router, status: int
) -> None:
    httpx2_mock.post(OPENAI).respond(status, headers={"retry-after": "7"})

    with pytest.raises(LLMError) as failed:
        await ask(settings(tmp_path))

    assert failed.value.retry_after_seconds == 7.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        pytest.param("120", 120.0, id="seconds"),
        pytest.param("0.5", 0.5, id="a part of a second"),
        pytest.param("Thu, 01 Jan 1970 00:16:45 GMT", 5.0, id="a date"),
        pytest.param("Thu, 01 Jan 1970 00:00:00 GMT", 0.0, id="a date that is past"),
        pytest.param("-5", 0.0, id="less than nothing"),
        pytest.param("inf", None, id="for ever"),
        pytest.param("nan", None, id="no number"),
        pytest.param("soon", None, id="a word"),
        pytest.param("", None, id="nothing"),
        pytest.param(None, None, id="no header"),
    ],
)
async def test_retry_after_is_read_in_both_its_forms(
    value: str | None, seconds: float | None
) -> None:
    assert read_retry_after(value, now=1000.0) == seconds


@pytest.mark.parametrize("on_token", [None, print], ids=["whole", "streamed"])
async def test_a_call_without_time_left_is_given_up(tmp_path: Path, on_token: Any) -> None:
    chosen = settings(tmp_path)
    async with make_client(chosen) as client:
        with pytest.raises(LLMError) as failed:
            await OpenAILLM(client, chosen.model).call(
                dataclasses.replace(PROMPT, timeout_seconds=0.0), on_token
            )

    assert failed.value.kind == "timeout"


@pytest.mark.parametrize(
    ("call", "taken"),
    [
        pytest.param({"id": "1"}, ToolCall("1", "", ""), id="no function"),
        pytest.param({"id": "1", "function": None}, ToolCall("1", "", ""), id="null function"),
        pytest.param(
            {"id": "\ud800", "function": {"name": "ls\ud800", "arguments": "{}"}},
            ToolCall("?", "ls?", "{}"),
            id="half a character",
        ),
        pytest.param(
            {"id": None, "function": {"name": None, "arguments": None}},
            ToolCall("", "", ""),
            id="null everywhere",
        ),
        pytest.param(
            {"id": 7, "function": {"name": "cat", "arguments": {"path": "a"}}},
            ToolCall("7", "cat", '{"path": "a"}'),
            id="arguments as an object",
        ),
        pytest.param(
            {"id": "1", "function": {"name": ["ls"], "arguments": "not JSON"}},
            ToolCall("1", '["ls"]', "not JSON"),
            id="a list for a name",
        ),
    ],
)
async def test_malformed_calls_are_taken_in(
    tmp_path: Path, httpx2_mock: respx.Router, call: dict[str, Any], taken: ToolCall
) -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    httpx2_mock.post(OPENAI).mock(
        side_effect=[
            httpx.Response(
                200,
                # In escapes, as only they can write half a character.
                content=json.dumps(completion(message)),
                headers={"content-type": "application/json"},
            ),
            sse(chunk({"tool_calls": [call]}), chunk({}, "tool_calls")),
        ]
    )

    whole, _ = await ask(settings(tmp_path))
    streamed, _ = await ask(settings(tmp_path), stream=True)

    assert (whole.tool_calls, streamed.tool_calls) == ((taken,), (taken,))


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([chunk({"content": "Hel"})], id="no finish reason"),
        pytest.param([], id="nothing at all"),
    ],
)
async def test_a_stream_that_ends_early_is_no_answer(
    tmp_path: Path, httpx2_mock: respx.Router, chunks: Sequence[dict[str, Any]]
) -> None:
    httpx2_mock.post(OPENAI).mock(return_value=sse(*chunks))

    with pytest.raises(LLMError) as failed:
        await ask(settings(tmp_path), stream=True)

    assert failed.value.kind == "broken_answer"


PIECES = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Let me "}),
    chunk({"content": "look"}),
    chunk({"tool_calls": [{"index": 0, "id": "1", "function": {"name": "cat"}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"path": "rea'}}]}),
]
CUT = ToolCall("1", "cat", '{"path": "rea')


@pytest.mark.parametrize(
    ("chunks", "content", "calls"),
    [
        pytest.param(PIECES, "Let me look", (CUT,), id="within a tool call"),
        pytest.param(PIECES[:2], "Let me ", (), id="within the text"),
        pytest.param(PIECES[:1], "", (), id="before the first word"),
    ],
)
@pytest.mark.parametrize("leaves", [False, True], ids=["the LLM breaks off", "the client leaves"])
async def test_what_came_of_an_answer_that_broke_off_is_told(
    tmp_path: Path,
    httpx2_mock: respx.Router,
    chunks: Sequence[dict[str, Any]],
    content: str,
    calls: tuple[ToolCall, ...],
    leaves: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    came = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        for part in chunks:
            yield f"data: {json.dumps(part)}\n\n".encode()
        came.set()
        if leaves:
            await asyncio.Event().wait()

    httpx2_mock.post(OPENAI).mock(
        return_value=httpx.Response(
            200, content=pieces(), headers={"content-type": "text/event-stream"}
        )
    )
    told: list[Reply] = []
    prompt = dataclasses.replace(PROMPT, broke_off=told.append)
    chosen = settings(tmp_path)
    async with make_client(chosen) as client:
        asking = asyncio.ensure_future(OpenAILLM(client, chosen.model).call(prompt, _ignore))
        await came.wait()
        if leaves:
            asking.cancel()
        with pytest.raises(asyncio.CancelledError if leaves else LLMError):
            await asking

    assert told == [Reply(content, calls, None, "gpt-4o-mini-2024-07-18")]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(sse(*PIECES, chunk({}, "tool_calls")), id="a whole answer"),
        pytest.param(sse(), id="nothing at all"),
        pytest.param(httpx.Response(500), id="no answer"),
    ],
)
async def test_where_nothing_broke_off_nothing_is_told(
    tmp_path: Path, httpx2_mock: respx.Router, answer: httpx.Response
) -> None:
    httpx2_mock.post(OPENAI).mock(return_value=answer)
    told: list[Reply] = []
    prompt = dataclasses.replace(PROMPT, broke_off=told.append)
    chosen = settings(tmp_path)
    async with make_client(chosen) as client:
        with contextlib.suppress(LLMError):
            await OpenAILLM(client, chosen.model).call(prompt, _ignore)

    assert told == []


async def _ignore(_: str) -> None:
    pass


class Clock:
    """The clock of the event loop, which a test can put forward."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self._ahead_seconds = 0.0
        real = loop.time
        monkeypatch.setattr(loop, "time", lambda: real() + self._ahead_seconds)

    async def pass_by(self, seconds: float) -> None:
        """Put it forward, and let happen what is due then."""
        self._ahead_seconds += seconds
        for _ in range(3):
            await asyncio.sleep(0)


MINUTE = dataclasses.replace(PROMPT, timeout_seconds=60.0)

WORDS = [chunk({"content": word}) for word in ("a", "b", "c")] + [chunk({}, "stop")]


async def test_a_slow_listener_is_no_slow_llm(
    tmp_path: Path, httpx2_mock: respx.Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    httpx2_mock.post(OPENAI).mock(return_value=sse(*WORDS))
    clock = Clock(monkeypatch)
    chosen = settings(tmp_path)

    async def dawdle(_: str) -> None:
        await clock.pass_by(100)

    async with make_client(chosen) as client:
        reply = await OpenAILLM(client, chosen.model).call(MINUTE, dawdle)

    assert reply.content == "abc"


async def test_the_pieces_of_an_answer_share_the_time_of_the_call(
    tmp_path: Path, httpx2_mock: respx.Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    chosen = settings(tmp_path)
    heard: list[str] = []

    async def slow_pieces() -> AsyncIterator[bytes]:
        for part in WORDS:
            await clock.pass_by(25)
            yield f"data: {json.dumps(part)}\n\n".encode()

    async def on_token(text: str) -> None:
        heard.append(text)

    httpx2_mock.post(OPENAI).mock(
        return_value=httpx.Response(
            200, content=slow_pieces(), headers={"content-type": "text/event-stream"}
        )
    )
    async with make_client(chosen) as client:
        with pytest.raises(LLMError) as failed:
            await OpenAILLM(client, chosen.model).call(MINUTE, on_token)

    assert (failed.value.kind, heard) == ("timeout", ["a", "b"])


@pytest.mark.parametrize("error", [TimeoutError, ValueError], ids=["timeout", "a bad value"])
async def test_what_fails_in_the_listener_is_not_the_llms(
    tmp_path: Path, httpx2_mock: respx.Router, error: type[Exception]
) -> None:
    httpx2_mock.post(OPENAI).mock(return_value=sse(*WORDS))
    chosen = settings(tmp_path)

    async def fail(_: str) -> None:
        raise error

    async with make_client(chosen) as client:
        with pytest.raises(error):
            await OpenAILLM(client, chosen.model).call(PROMPT, fail)
