"""An LLM that was talked into saying what would break a stream, a log or the next reader."""

from __future__ import annotations

import pytest

from target_app.agent.messages import ToolCall
from tests.target_app.attacks.siege import Siege
from tests.target_app.attacks.tool_calls import NAMES

pytestmark = pytest.mark.anyio

CAT = '{"path": "readme.md"}'

SAYINGS = {
    "an event of its own": "done\n\nevent: tool_result\ndata: {}\n\n",
    "a comment and a retry": ": a\nretry: 1\nid: 9\n",
    "line ends of all kinds": "a\rb\r\nc\vd\u2028e\u2029f\x85g",
    "a lone surrogate": "half \ud83d of a letter",
    "a NUL": "a\0b",
    "escape sequences": "\x1b[2J\x1b]0;owned\x07",
    "templates": "{0.__class__} %s%n ${HOME} {{config}}",
    "a megabyte": "n" * 1_000_000,
    "nothing": "",
}


@pytest.mark.parametrize("text", [pytest.param(text, id=what) for what, text in SAYINGS.items()])
async def test_what_the_llm_answers_is_only_text(siege: Siege, text: str) -> None:
    asked = {"message": text[:4096].encode(errors="replace").decode() or "question"}

    async def go() -> None:
        siege.llm.prompts.clear()
        siege.llm.turns[:] = [text, text]
        answer = await siege.post("/api/chat", asked)
        assert answer.status == 200, answer
        assert "response" in answer.json()

        streamed = await siege.post("/api/chat/stream", asked)
        names = [name for name, _ in streamed.events()]
        assert set(names) <= {"status", "token", "usage", "done"}, names
        assert names.count("done") == 1

    await siege.withstand(go, blocks={})


IDS = ("", "same", "same", "a\r\nb", "\ud800", "i" * 100_000, "../../x", "\x1b[2J", "\0")


@pytest.mark.parametrize(
    "calls",
    [
        pytest.param([(one, "cat", CAT) for one in IDS], id="ids"),
        pytest.param([(f"{n}", name, CAT) for n, name in enumerate(NAMES)], id="names"),
        pytest.param(
            [(f"{n}", "cat", text) for n, text in enumerate(SAYINGS.values())], id="arguments"
        ),
    ],
)
async def test_calls_that_are_no_text_break_no_stream(
    siege: Siege, calls: list[tuple[str, str, str]]
) -> None:
    made = [ToolCall(*call) for call in calls]

    async def go() -> None:
        answer = await siege.ask(*made)
        assert answer.status == 200, answer
        assert len(answer.json()["tool_results"]) == len(made)

        siege.llm.prompts.clear()
        siege.llm.turns[:] = [made, "done"]
        streamed = await siege.post("/api/chat/stream", {"message": "question"})
        names = [name for name, _ in streamed.events()]
        assert names.count("tool_result") == len(made)
        assert names[-1] == "done", streamed.events()[-1]

    await siege.withstand(go)
