"""The real openai SDK talks to the simulated LLM on a real port without complaint."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from contextlib import contextmanager

import httpx
import openai
import pytest
import uvicorn

from harness.stack.llm import tokens
from harness.stack.llm.app import build_app, create_app
from harness.stack.llm.faults import parse_faults
from harness.stack.llm.settings import Settings

ASK = {"role": "user", "content": 'Which port does "amber-heron" listen on?'}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"Run {name} in the documents.",
            "parameters": {
                "type": "object",
                "properties": {key: {"type": "string"} for key in arguments},
                "required": arguments,
            },
        },
    }
    for name, arguments in {
        "ls": ["path"],
        "find": ["path", "name_pattern"],
        "grep": ["pattern", "path"],
    }.items()
]
WITH_USAGE = {"include_usage": True}
EXPECTED_CALLS = [
    ("grep", {"pattern": "amber-heron", "path": "."}),
    ("find", {"path": ".", "name_pattern": "*amber-heron*"}),
]
EXPECTED_ANSWER = (
    'I found "amber-heron" in one place of the documents:\n- a.yaml, line 1: amber-heron: 4312'
)


class Server(uvicorn.Server):
    """A server that says when it accepts calls."""

    def __init__(self, config):
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets=None):
        await super().startup(sockets)
        self.ready.set()


@contextmanager
def serving(settings):
    """Serve on a free port; gives the address. Every call has ended when this ends."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(build_app(settings), ws="none", log_config=None)
        server = Server(config)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        assert server.ready.wait(timeout=20)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def address():
    with serving(Settings(scale=0)) as where:
        yield where


@pytest.fixture(params=["openai", "azure"])
def client(request, address):
    with sdk(address, request.param) as made:
        yield made


def sdk(address, dialect="openai", **options):
    if dialect == "azure":
        return openai.AzureOpenAI(
            azure_endpoint=address,
            api_key="key",
            api_version="2024-10-21",
            max_retries=0,
            **options,
        )
    return openai.OpenAI(base_url=f"{address}/v1", api_key="key", max_retries=0, **options)


def ask(client, messages=(ASK,), **options):
    return client.chat.completions.create(model="gpt-4o-mini", messages=list(messages), **options)


def tool_answers(calls):
    outputs = {"grep": "a.yaml:1:amber-heron: 4312", "find": ""}
    return [
        {"role": "tool", "tool_call_id": call.id, "content": outputs[call.function.name]}
        for call in calls
    ]


def collect(stream):
    """Join the chunks of a stream: text, arguments of the tool calls by name, reason, usage."""
    text, calls, reason, usage = "", [], None, None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reason = choice.finish_reason or reason
            for part in choice.delta.tool_calls or ():
                if part.id:
                    calls.append([part.function.name, ""])
                calls[part.index][1] += part.function.arguments
    return text, [(name, json.loads(arguments)) for name, arguments in calls], reason, usage


def truth(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_whole_conversation(client):
    first = ask(client, tools=TOOLS).choices[0]
    calls = first.message.tool_calls
    asked = [(call.function.name, json.loads(call.function.arguments)) for call in calls]
    messages = [ASK, first.message.model_dump(exclude_none=True), *tool_answers(calls)]
    second = ask(client, messages, tools=TOOLS).choices[0]

    assert (first.finish_reason, asked) == ("tool_calls", EXPECTED_CALLS)
    assert len({call.id for call in calls}) == 2
    assert (second.finish_reason, second.message.content) == ("stop", EXPECTED_ANSWER)


def test_a_streamed_conversation(client):
    options = {"stream": True, "stream_options": WITH_USAGE}
    text, calls, reason, usage = collect(ask(client, tools=TOOLS, **options))
    whole = ask(client, tools=TOOLS)

    assert (text, calls, reason) == ("", EXPECTED_CALLS, "tool_calls")
    assert usage == whole.usage

    message = whole.choices[0].message
    messages = [ASK, message.model_dump(exclude_none=True), *tool_answers(message.tool_calls)]
    text, calls, reason, usage = collect(ask(client, messages, tools=TOOLS, **options))

    assert (text, calls, reason) == (EXPECTED_ANSWER, [], "stop")
    assert usage.completion_tokens == tokens.count(EXPECTED_ANSWER, "o200k_base")


def test_the_sdk_s_own_stream_helper_gives_the_same_message(address):
    with (
        sdk(address) as client,
        client.chat.completions.stream(
            model="gpt-4o-mini", messages=[ASK], tools=TOOLS, stream_options=WITH_USAGE
        ) as stream,
    ):
        final = stream.get_final_completion()

    calls = final.choices[0].message.tool_calls
    assert [
        (call.function.name, json.loads(call.function.arguments)) for call in calls
    ] == EXPECTED_CALLS
    assert final.usage.completion_tokens > 0


@pytest.mark.parametrize("dialect", ["openai", "azure"])
def test_many_conversations_at_once(address, dialect):
    def connect():
        if dialect == "azure":
            return openai.AsyncAzureOpenAI(
                azure_endpoint=address, api_key="key", api_version="2024-10-21"
            )
        return openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="key")

    async def streamed(client):
        parts = [part async for part in await ask(client, stream=True)]
        return "".join(part.choices[0].delta.content or "" for part in parts if part.choices)

    async def run():
        async with connect() as client:
            whole = await asyncio.gather(*(ask(client, tools=TOOLS) for _ in range(10)))
            texts = await asyncio.gather(*(streamed(client) for _ in range(10)))
            return whole, texts

    whole, texts = asyncio.run(run())

    ids = [call.id for one in whole for call in one.choices[0].message.tool_calls]
    assert len(set(ids)) == 20
    assert set(texts) == {
        'I cannot look up "amber-heron" without tools that search the documents.'
    }


def test_usage_is_absent_from_a_stream_unless_asked_for(client):
    *_, usage = collect(ask(client, stream=True))

    assert usage is None


def test_prompt_tokens_are_the_tokenizer_s(client):
    counted = tokens.count(ASK["content"], "o200k_base") + tokens.count("user", "o200k_base")

    assert ask(client).usage.prompt_tokens == counted + 6  # 3 for the message, 3 for the reply


def test_a_long_beginning_is_cached_the_second_time(client):
    system = {"role": "system", "content": f"{client.base_url} " + "Read carefully. " * 600}
    first, second = (ask(client, [system, ASK]).usage for _ in range(2))

    assert first.prompt_tokens_details.cached_tokens == 0
    assert second.prompt_tokens_details.cached_tokens == second.prompt_tokens // 128 * 128


def test_models_are_listed(address):
    with sdk(address) as client:
        assert [model.id for model in client.models.list()] == [
            "gpt-4o",
            "gpt-4o-mini",
            "gpt-5",
            "gpt-5-mini",
        ]


def test_health_says_what_is_simulated():
    with serving(Settings(seed=3, scale=0, faults=parse_faults("slow:0.5"))) as address:
        answer = httpx.get(f"{address}/health")

    assert answer.json() == {"status": "ok", "seed": 3, "scale": 0, "faults": {"slow": 0.5}}


def test_a_bad_script_is_the_caller_s_fault(client):
    with pytest.raises(openai.BadRequestError) as refusal:
        ask(client, [{"role": "user", "content": "[[plan: rm path=.]]"}], tools=TOOLS)

    assert refusal.value.body == {
        "message": "Bad plan in the message: tool 'rm' is not offered; "
        "offered are find, grep, ls.",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "bad_plan",
    }


@pytest.mark.parametrize(
    ("path", "headers", "refusal"),
    [
        pytest.param("/v1/chat/completions", {}, (401, "invalid_api_key"), id="no key"),
        pytest.param(
            "/openai/deployments/d/chat/completions?api-version=1",
            {},
            (401, "invalid_api_key"),
            id="no key for Azure",
        ),
        pytest.param(
            "/openai/deployments/d/chat/completions",
            {"api-key": "key"},
            (404, "404"),
            id="no version for Azure",
        ),
        pytest.param(
            "/v1/chat/completions",
            {"authorization": "Bearer key"},
            (400, None),
            id="a body that is not JSON",
        ),
    ],
)
def test_calls_that_cannot_be_served_are_refused(address, path, headers, refusal):
    answer = httpx.post(address + path, headers=headers, content="{broken")

    assert (answer.status_code, answer.json()["error"]["code"]) == refusal


def test_models_are_not_listed_without_a_key(address):
    assert httpx.get(f"{address}/v1/models").json()["error"]["code"] == "invalid_api_key"


def test_the_truth_log_tells_what_was_answered(tmp_path):
    log = tmp_path / "truth.jsonl"
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    with serving(Settings(scale=0, log=log)) as address, sdk(address) as client:
        header = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        whole = ask(client, tools=TOOLS, extra_headers=header)
        *_, streamed = collect(ask(client, stream=True, stream_options=WITH_USAGE))
        with pytest.raises(openai.BadRequestError):
            ask(client, n=2)

    shown = "trace_id", "model", "stream", "prompt_tokens", "completion_tokens", "status", "fault"
    assert [tuple(line[key] for key in shown) for line in truth(log)] == [
        (trace, "gpt-4o-mini", False, *usage_of(whole.usage), 200, None),
        (None, "gpt-4o-mini", True, *usage_of(streamed), 200, None),
        (None, "", False, 0, 0, 400, None),
    ]


def usage_of(usage):
    return usage.prompt_tokens, usage.completion_tokens


@pytest.mark.parametrize(
    ("fault", "error", "status"),
    [
        pytest.param("error-500", openai.InternalServerError, 500, id="server error"),
        pytest.param("error-429", openai.RateLimitError, 429, id="rate limit"),
        pytest.param("timeout", openai.APITimeoutError, 499, id="no answer, ever"),
        pytest.param("slow", openai.APITimeoutError, 499, id="six seconds more than it has"),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_fault_reaches_the_client_and_the_log(tmp_path, fault, error, status, stream):
    log = tmp_path / "truth.jsonl"
    settings = Settings(scale=0, faults=parse_faults(f"{fault}:1"), log=log)
    with serving(settings) as address, sdk(address, timeout=0.3) as client, pytest.raises(error):
        ask(client, stream=stream)

    (line,) = truth(log)
    assert (line["fault"], line["status"], line["stream"]) == (fault, status, stream)


def test_a_rate_limit_says_when_to_come_back():
    settings = Settings(scale=0, faults=parse_faults("error-429:1"))
    with (
        serving(settings) as address,
        sdk(address) as client,
        pytest.raises(openai.RateLimitError) as refusal,
    ):
        ask(client)

    assert refusal.value.response.headers["retry-after"] == "1"
    assert refusal.value.code == "rate_limit_exceeded"


def test_a_broken_stream_stops_half_way(tmp_path):
    log = tmp_path / "truth.jsonl"
    settings = Settings(scale=0, faults=parse_faults("broken-stream:1"), log=log)
    seen = ""
    with serving(settings) as address, sdk(address) as client:
        chunks = ask(client, stream=True)
        with pytest.raises(openai.APIConnectionError):  # noqa: PT012 - it breaks amid the loop
            for chunk in chunks:
                seen += chunk.choices[0].delta.content or ""
        with pytest.raises(openai.APIConnectionError):
            ask(client)

    whole = 'I cannot look up "amber-heron" without tools that search the documents.'
    assert whole.startswith(seen)
    assert 0 < len(seen) < len(whole)
    assert [line["fault"] for line in truth(log)] == ["broken-stream"] * 2
    assert [line["completion_tokens"] for line in truth(log)] == [
        tokens.count(whole, "o200k_base")
    ] * 2


def test_missing_usage_is_known_to_the_log_only(tmp_path):
    log = tmp_path / "truth.jsonl"
    settings = Settings(scale=0, faults=parse_faults("missing-usage:1"), log=log)
    with serving(settings) as address, sdk(address) as client:
        whole = ask(client)
        *_, streamed = collect(ask(client, stream=True, stream_options=WITH_USAGE))

    assert (whole.usage, streamed) == (None, None)
    assert [line["fault"] for line in truth(log)] == ["missing-usage"] * 2
    assert all(line["prompt_tokens"] > 0 for line in truth(log))


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        pytest.param(
            "SIMLLM_FAULT",
            "gremlins",
            "The simulated LLM cannot start: SIMLLM_FAULT: unknown fault 'gremlins'",
            id="unknown fault",
        ),
        pytest.param(
            "SIMLLM_LOG",
            "/nowhere/truth.jsonl",
            "The simulated LLM cannot start: .*'/nowhere/truth.jsonl'",
            id="a log that cannot be written",
        ),
    ],
)
def test_bad_settings_end_the_start_with_a_sentence(monkeypatch, variable, value, sentence):
    monkeypatch.setenv(variable, value)

    with pytest.raises(SystemExit, match=sentence):
        create_app()


def test_the_environment_s_settings_are_served(monkeypatch):
    monkeypatch.setenv("SIMLLM_SEED", "11")

    async def health():
        transport = httpx.ASGITransport(create_app())
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/health")

    assert asyncio.run(health()).json()["seed"] == 11
