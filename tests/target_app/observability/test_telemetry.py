"""The one switch: off, every part is the very part that it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from target_app.agent.estimating import EstimatingLLM
from target_app.agent.messages import Event, ToolCall, ToolResult
from target_app.agent.orchestrator import Orchestrator
from target_app.observability.telemetry import Unobserved
from target_app.sandbox.inprocess import InProcess
from tests.target_app.exposition import exposition
from tests.target_app.scripted import RunningApp, ScriptedLLM, Start, call

pytestmark = pytest.mark.anyio

TURNS = [[call("grep", pattern="alpha"), call("cat", path="../secret.txt")], [call("ls")], "done"]


async def hear(event: Event) -> None:
    raise AssertionError


async def run_call(call: ToolCall) -> ToolResult:
    raise AssertionError


async def test_off_nothing_is_wrapped() -> None:
    llm = ScriptedLLM([])
    orchestrator = Orchestrator(2)
    sandbox: Any = object()
    telemetry = Unobserved()

    with telemetry.chat("s", "question") as seams:
        turns: Any = seams.turns(orchestrator, run_call)

        assert seams.llm(llm) is llm
        assert seams.listener(hear) is hear
        assert turns.func == orchestrator.run_turn
        assert turns.keywords == {"run_call": run_call}
    assert telemetry.sandbox(sandbox) is sandbox


async def test_off_the_app_is_made_of_its_own_parts_only(start: Start) -> None:
    async with start("done", observability_profile="off") as app:
        services = app.app.state.services

        assert type(services.chats._llm) is EstimatingLLM
        assert type(services.chats._llm._llm) is ScriptedLLM
        assert type(services.chats._run_call.__closure__[0].cell_contents.__self__._sandbox) is (
            InProcess
        )
        assert [layer.cls.__name__ for layer in app.app.user_middleware] == [
            "PageGuard",
            "BodyLimit",
        ]


async def answers(app: RunningApp) -> list[Any]:
    """Answer what a client sees, but for the ids of sessions."""
    plain = (await app.ask(session_id="s")).json()
    streamed = [(name, {**data, "session_id": ""}) for name, data in await app.stream()]
    return [plain, streamed, (await app.ask(session_id="s")).json()]


async def test_on_or_off_clients_see_the_same(start: Start) -> None:
    seen = []
    for profile in ("off", "minimal", "ai", "hybrid"):
        script: Sequence[Any] = [*TURNS, *TURNS, "a second answer"]
        async with start(*script, observability_profile=profile) as app:
            seen.append(await answers(app))

    assert seen[0][0]["response"] == "done"
    assert seen[0][2]["response"] == "a second answer"
    assert len(seen[0][1]) > 10
    assert seen[1:] == [seen[0]] * 3


async def test_off_nothing_is_counted(start: Start) -> None:
    async with start(*TURNS, observability_profile="off") as app:
        await app.ask()
        families = app.app.state.services.metrics.registry.collect()
        moved = {
            sample.name
            for family in families
            for sample in family.samples
            if sample.value
            and not sample.name.endswith("_created")
            and not sample.name.startswith(("process_", "cache_disk_usage", "log_"))
        }
        answer = await app.client.get("/metrics")

    assert moved == {"app_info", "sandbox_isolation_info"}
    assert answer.status_code == 404


async def test_prometheus_can_be_left_out_alone(start: Start) -> None:
    async with start("done", prometheus_enabled=False, langfuse_enabled=True) as app:
        answer = await app.ask()
        page = await app.client.get("/metrics")
    spans = [span.name for span in app.spans.get_finished_spans()]

    assert (answer.status_code, page.status_code) == (200, 404)
    assert sorted(spans) == ["chat", "iteration 1", "llm"]


async def test_two_apps_tell_apart(start: Start) -> None:
    async with start("done") as one, start() as other:
        await one.ask()
        series = [await exposition(app.client) for app in (one, other)]

    assert [s["llm_calls_total status=success"] for s in series] == [1, 0]
