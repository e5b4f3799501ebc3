"""The spans that really leave the app, one trace a chat."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from target_app.agent.llm import LLMError
from target_app.agent.messages import Reply
from target_app.observability.metrics import Metrics
from target_app.observability.redaction import Redactor
from target_app.observability.tracing import make_tracing
from target_app.settings import Settings
from tests.target_app.observability.collector import paths
from tests.target_app.scripted import ScriptedLLM, Start, call

pytestmark = pytest.mark.anyio

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
HEADERS = {
    "traceparent": f"00-{TRACE}-{PARENT}-01",
    "baggage": "run=r1,scenario=warm_cache",
}


class Seen:
    """An exported span, its attributes without their prefixes, JSON taken apart."""

    def __init__(self, span: Any) -> None:
        self.span = span
        self.name = span.name
        self.id = f"{span.context.span_id:016x}"
        self.trace_id = f"{span.context.trace_id:032x}"
        self.parent_id = f"{span.parent.span_id:016x}" if span.parent else None

    def __getitem__(self, key: str) -> Any:
        value = self.span.attributes[key]
        if isinstance(value, str) and value[:1] in {"{", "["}:
            return json.loads(value)
        return value

    def get(self, key: str) -> Any:
        return self[key] if key in self.span.attributes else None


def seen(app: Any) -> list[Seen]:
    app.app.state.services.tracing.places[0].sink.flush()
    return [Seen(span) for span in app.spans.get_finished_spans()]


async def test_a_chat_is_one_trace_in_the_callers(start: Start) -> None:
    turns = [[call("grep", pattern="alpha"), call("ls")], "done"]
    async with start(*turns, langfuse_enabled=True) as app:
        await app.ask("where is alpha?", session_id="s1", headers=HEADERS)
        spans = seen(app)

    assert sorted(paths(spans)) == sorted(
        [
            "chat",
            "iteration 1 < chat",
            "llm < iteration 1 < chat",
            "tool-execution < iteration 1 < chat",
            "grep < tool-execution < iteration 1 < chat",
            "ls < tool-execution < iteration 1 < chat",
            "iteration 2 < chat",
            "llm < iteration 2 < chat",
        ]
    )
    assert {span.trace_id for span in spans} == {TRACE}
    assert {span["langfuse.trace.tags"] for span in spans} == {("run:r1", "scenario:warm_cache")}
    assert {span["session.id"] for span in spans} == {"s1"}


async def test_the_root_is_marked_as_root_though_it_has_the_callers_parent(start: Start) -> None:
    async with start("done", langfuse_enabled=True) as app:
        await app.ask(headers=HEADERS)
        spans = seen(app)

    roots = [span for span in spans if span.get("langfuse.internal.is_app_root")]
    assert [(root.name, root.parent_id) for root in roots] == [("chat", PARENT)]
    assert roots[0]["langfuse.observation.type"] == "agent"


async def test_without_a_caller_the_trace_begins_here(start: Start) -> None:
    async with start("done", "done", langfuse_enabled=True) as app:
        await app.ask()
        await app.ask()
        spans = seen(app)

    roots = [span for span in spans if span.name == "chat"]
    assert [root.parent_id for root in roots] == [None, None]
    assert roots[0].trace_id != roots[1].trace_id
    assert roots[0].get("langfuse.trace.tags") is None


async def test_what_each_observation_says(start: Start) -> None:
    llm = ScriptedLLM([[call("cat", path="readme.md")], "It is alpha."])
    async with start(
        llm=llm,
        langfuse_enabled=True,
        langfuse_environment="bench",
        langfuse_release="r7",
    ) as app:
        await app.ask("what is first?", headers=HEADERS)
        spans = seen(app)

    by_name = {span.name: span for span in spans}
    chat, cat, llm_span = by_name["chat"], by_name["cat"], by_name["llm"]
    output = chat["langfuse.observation.output"]
    assert output.pop("duration_seconds") > 0
    assert output == {
        "answer": "It is alpha.",
        "ending": "success",
        "iterations": 2,
        "tokens": 220,
    }
    assert chat["langfuse.observation.input"] == "what is first?"
    assert (chat["langfuse.environment"], chat["langfuse.release"]) == ("bench", "r7")
    output = cat["langfuse.observation.output"]
    assert output.pop("duration_seconds") > 0
    assert output == {"success": True, "output_length": 16, "cache_hit": False, "return_code": 0}
    assert cat["langfuse.observation.input"] == {"path": "readme.md"}
    assert llm_span["langfuse.observation.model.name"] == "scripted-1"
    assert llm_span["langfuse.observation.usage_details"] == {
        "input": 80,
        "input_cached_tokens": 20,
        "output": 7,
        "output_reasoning_tokens": 3,
        "total": 110,
    }
    assert llm_span["langfuse.observation.output"] == {"content": "It is alpha.", "tool_calls": []}
    assert llm_span.get("langfuse.observation.completion_start_time") is None


async def test_the_llm_is_told_the_trace_it_is_called_in(start: Start) -> None:
    llm = ScriptedLLM(["done"])
    async with start(llm=llm, langfuse_enabled=True) as app:
        await app.ask(headers=HEADERS)
        generation = next(span for span in seen(app) if span.name == "llm")

    assert llm.prompts[0].headers == {"traceparent": f"00-{TRACE}-{generation.id}-01"}


async def test_a_streamed_chat_notes_the_first_token(start: Start) -> None:
    async with start("two words", langfuse_enabled=True) as app:
        await app.stream()
        generation = next(span for span in seen(app) if span.name == "llm")

    assert generation["langfuse.observation.completion_start_time"].startswith('"20')


async def test_long_contents_are_cut(start: Start) -> None:
    async with start("y" * 5000, langfuse_enabled=True) as app:
        await app.ask("x" * 4000)
        by_name = {span.name: span for span in seen(app)}

    cut = "x" * 1000 + "... (4000 characters)"
    assert by_name["chat"]["langfuse.observation.input"] == cut
    assert by_name["llm"]["langfuse.observation.input"][-1]["content"] == cut
    assert by_name["llm"]["langfuse.observation.output"]["content"] == (
        "y" * 1000 + "... (5000 characters)"
    )


async def test_errors_set_the_level(start: Start) -> None:
    turns = [[call("cat", path="../secret.txt")], LLMError("timeout", "too slow")]
    async with start(*turns, langfuse_enabled=True) as app:
        await app.ask()
        spans = seen(app)

    failed = {
        span.name: span["langfuse.observation.status_message"]
        for span in spans
        if span.get("langfuse.observation.level") == "ERROR"
    }
    assert failed == {
        "cat": "'..' is not allowed in a path",
        "llm": "too slow",
        "chat": "too slow",
    }


async def test_usage_that_was_not_told_is_marked_as_estimated(start: Start) -> None:
    async with start(llm=ScriptedLLM(["done"], usage=None), langfuse_enabled=True) as app:
        await app.ask()
        generation = next(span for span in seen(app) if span.name == "llm")

    usage = generation["langfuse.observation.usage_details"]
    assert usage["output"] == 1
    assert usage["total"] == usage["input"] + 1
    assert generation["langfuse.observation.metadata.usage_estimated"] == "true"
    assert generation["langfuse.observation.metadata.tools_offered"] == "10"


async def test_a_sample_rate_of_zero_sends_nothing(start: Start) -> None:
    async with start("done", langfuse_enabled=True, langfuse_sample_rate=0.0) as app:
        answer = await app.ask(headers=HEADERS)

        assert (answer.status_code, seen(app)) == (200, [])


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        pytest.param({}, "no traces are sent: LANGFUSE_ENABLED is not true", id="not wanted"),
        pytest.param(
            {"langfuse_enabled": True, "langfuse_secret_key": None},
            "no traces are sent: LANGFUSE_ENABLED is true, but LANGFUSE_PUBLIC_KEY or "
            "LANGFUSE_SECRET_KEY is missing",
            id="no key",
        ),
    ],
)
async def test_without_tracing_the_app_runs_the_same(
    start: Start, caplog: pytest.LogCaptureFixture, settings: dict[str, Any], line: str
) -> None:
    llm = ScriptedLLM([[call("ls")], "done"])
    with caplog.at_level(logging.INFO, logger="target_app"):
        async with start(llm=llm, **settings) as app:
            answer = await app.ask(headers=HEADERS)

    assert (answer.status_code, answer.json()["response"]) == (200, "done")
    assert [said for said in caplog.messages if "traces" in said] == [line]
    assert app.spans.get_finished_spans() == ()
    assert llm.prompts[0].headers == {"traceparent": HEADERS["traceparent"]}


async def test_concurrent_chats_do_not_mix(start: Start) -> None:
    class Echo:
        async def call(self, prompt: Any, on_token: Any) -> Reply:
            await asyncio.sleep(0)
            told = [m for m in prompt.messages if m["role"] == "tool"]
            if not told:
                return Reply("", (call("ls"), call("find")), None, "m")
            return Reply("done", (), None, "m")

    async with start(llm=Echo(), langfuse_enabled=True) as app:
        await asyncio.gather(
            *(
                app.ask(
                    session_id=f"s{n}",
                    headers={"traceparent": f"00-{n + 1:032x}-{PARENT}-01"},
                )
                for n in range(8)
            )
        )
        spans = seen(app)

    sessions = {(span.trace_id, span["session.id"]) for span in spans}
    assert sessions == {(f"{n + 1:032x}", f"s{n}") for n in range(8)}
    assert len(spans) == 8 * 8


async def test_tracing_is_switched_off_and_on_while_the_app_runs(start: Start) -> None:
    llm = ScriptedLLM(["one", "two", "three"])
    async with start(llm=llm, langfuse_enabled=True) as app:
        tracing = app.app.state.services.tracing
        await app.ask(headers=HEADERS)
        tracing.switch(on=False)
        assert not tracing.enabled
        await app.ask(headers=HEADERS)
        off = await app.series("tracing_enabled")
        tracing.switch(on=True)
        await app.ask()
        spans = seen(app)
        counted = await app.series("traces_total")
        on = await app.series("tracing_enabled")

    inputs = [span["langfuse.observation.output"] for span in spans if span.name == "chat"]
    assert [output["answer"] for output in inputs] == ["one", "three"]
    assert llm.prompts[1].headers == {"traceparent": HEADERS["traceparent"]}
    assert (off, on) == ({}, {"tracing_enabled": 1})
    assert counted == {"traces_total result=recorded": 2, "traces_total result=switched_off": 1}


async def test_what_was_begun_before_the_switch_is_told_to_its_end(start: Start) -> None:
    class SwitchesOff:
        async def call(self, prompt: Any, on_token: Any) -> Reply:
            app.app.state.services.tracing.switch(on=False)
            return Reply("done", (), None, "m")

    async with start(llm=SwitchesOff(), langfuse_enabled=True) as app:
        await app.ask()
        spans = seen(app)

    assert sorted(span.name for span in spans) == ["chat", "iteration 1", "llm"]


async def test_nothing_can_be_switched_on_where_there_is_no_place_for_it(start: Start) -> None:
    async with start("done") as app:
        tracing = app.app.state.services.tracing
        tracing.switch(on=True)
        await app.ask()

        assert not tracing.enabled
        assert await app.series("traces_total") == {"traces_total result=switched_off": 1}


async def test_a_sample_is_of_whole_traces_and_counted(start: Start) -> None:
    ids = [f"{n * (2**64 // 41):032x}" for n in range(1, 41)]
    async with start(*["done"] * 40, langfuse_enabled=True, langfuse_sample_rate=0.3) as app:
        for trace_id in ids:
            await app.ask(headers={"traceparent": f"00-{trace_id}-{PARENT}-01"})
        spans = seen(app)
        counted = await app.series("traces_total")

    # By the lower 64 bits of the id, as OpenTelemetry has it.
    kept = [trace_id for trace_id in ids if int(trace_id, 16) < 0.3 * 2**64]
    assert 0 < len(kept) < 40
    assert [span.trace_id for span in spans if span.name == "chat"] == kept
    assert len(spans) == 3 * len(kept)
    assert counted == {
        "traces_total result=recorded": len(kept),
        "traces_total result=not_sampled": 40 - len(kept),
    }


async def test_names_tags_and_sessions_are_redacted_too(start: Start) -> None:
    headers = {"baggage": "run=ann@example.com"}
    async with start("done", langfuse_enabled=True) as app:
        await app.ask(session_id="bob@example.com", headers=headers)
        spans = seen(app)

    told = " ".join(str(dict(span.span.attributes)) for span in spans)
    assert "example.com" not in told
    assert all(span.get("session.id") and span.get("langfuse.trace.tags") for span in spans)


@pytest.mark.parametrize(
    ("settings", "environment", "line"),
    [
        pytest.param(
            {"observability_profile": "ai", "langfuse_public_key": None},
            {},
            "no traces are sent: OBSERVABILITY_PROFILE is ai, but LANGFUSE_PUBLIC_KEY or "
            "LANGFUSE_SECRET_KEY is missing",
            id="no key in the profile",
        ),
        pytest.param(
            {"observability_profile": "off"},
            {},
            "no traces are sent: OBSERVABILITY_PROFILE is off",
            id="off",
        ),
        pytest.param(
            {"observability_profile": "minimal"},
            {},
            "no traces are sent: OBSERVABILITY_PROFILE is minimal",
            id="logs alone",
        ),
        pytest.param(
            {"observability_profile": "hybrid", "langfuse_enabled": True},
            {"OTEL_SDK_DISABLED": "true"},
            "no traces are sent: OTEL_SDK_DISABLED is true",
            id="the library is off, by OTLP",
        ),
        pytest.param(
            {"langfuse_enabled": True},
            {"OTEL_SDK_DISABLED": "true"},
            "no traces are sent: OTEL_SDK_DISABLED is true",
            id="the library is off",
        ),
        pytest.param(
            {"langfuse_enabled": True, "LANGFUSE_HOST": "http://langfuse.test"},
            {},
            "traces are sent to http://langfuse.test",
            id="to Langfuse",
        ),
        pytest.param(
            {
                "observability_profile": "hybrid",
                "otel_exporter_otlp_endpoint": "http://tempo.test",
            },
            {},
            "traces are sent to http://tempo.test",
            id="by OTLP",
        ),
    ],
)
def test_one_line_says_what_tracing_came_to(
    documents: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    environment: dict[str, str],
    line: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    keys = {"langfuse_public_key": "pk-line", "langfuse_secret_key": "sk"}
    made = Settings(data_root_path=documents, openai_api_key="unused", **(keys | settings))
    with caplog.at_level(logging.INFO, logger="target_app"):
        tracing = make_tracing(made, Metrics(), Redactor(), InMemorySpanExporter())
    asyncio.run(tracing.close())

    assert [said for said in caplog.messages if "traces" in said] == [line]


@pytest.mark.parametrize("profile", ["off", "minimal", "ai", "hybrid"])
def test_a_wish_for_langfuse_that_the_profile_does_not_grant_is_no_secret(
    documents: Path, caplog: pytest.LogCaptureFixture, profile: Any
) -> None:
    settings = Settings(
        data_root_path=documents,
        openai_api_key="unused",
        observability_profile=profile,
        langfuse_enabled=True,
        langfuse_public_key=f"pk-wish-{profile}",
        langfuse_secret_key="sk",
    )
    tracing = make_tracing(settings, Metrics(), Redactor(), InMemorySpanExporter())
    asyncio.run(tracing.close())

    warned = [line.getMessage() for line in caplog.records if line.levelno == logging.WARNING]
    told = f"LANGFUSE_ENABLED has no effect: OBSERVABILITY_PROFILE is {profile}"
    assert warned == ([] if profile == "ai" else [told])


async def test_a_flag_that_says_not_sampled_goes_on_to_the_llm(start: Start) -> None:
    llm = ScriptedLLM(["done"])
    header = f"00-{TRACE}-{PARENT}-00"
    async with start(llm=llm) as app:
        await app.ask(headers={"traceparent": header})

    assert llm.prompts[0].headers == {"traceparent": header}
