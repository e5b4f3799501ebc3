"""A usage that is not told is counted, and said to be."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass

import pytest

from target_app.agent.estimating import EstimatingLLM
from target_app.agent.llm import LLMError, OnToken
from target_app.agent.messages import Prompt, Reply, Usage
from target_app.agent.tokens import count_usage
from tests.target_app.scripted import CALL_USAGE, ScriptedLLM, call

pytestmark = pytest.mark.anyio

PROMPT = Prompt([{"role": "user", "content": "hello world"}], [])


async def test_a_usage_that_is_told_is_left_alone() -> None:
    reply = await EstimatingLLM(ScriptedLLM(["done"])).call(PROMPT, None)

    assert (reply.usage, reply.usage_estimated) == (CALL_USAGE, False)


async def test_a_usage_that_is_missing_is_counted() -> None:
    reply = await EstimatingLLM(ScriptedLLM(["hello"], usage=None)).call(PROMPT, None)

    assert reply == Reply("hello", (), Usage(input=9, output=1), "scripted-1", True)


async def test_tool_calls_are_counted_too() -> None:
    asked = call("cat", path="readme.md")
    reply = await EstimatingLLM(ScriptedLLM([[asked]], usage=None)).call(PROMPT, None)

    assert reply.usage == count_usage(PROMPT, Reply("", (asked,), None, ""), "")
    assert reply.usage is not None
    assert reply.usage.output > 5


async def test_a_stream_is_streamed() -> None:
    heard: list[str] = []

    async def hear(text: str) -> None:
        heard.append(text)

    reply = await EstimatingLLM(ScriptedLLM(["two words"], usage=None)).call(PROMPT, hear)

    assert (heard, reply.usage_estimated) == (["two", "words"], True)


@dataclass
class Breaking:
    """An LLM whose streamed answer breaks off after a word, in `error`."""

    error: BaseException
    usage: Usage | None = None

    async def call(self, prompt: Prompt, on_token: OnToken | None) -> Reply:
        assert prompt.broke_off is not None
        prompt.broke_off(Reply("hello", (), self.usage, "m"))
        raise self.error


@pytest.mark.parametrize(
    ("told", "counted"),
    [
        pytest.param(None, Usage(input=9, output=1), id="it was not told"),
        pytest.param(CALL_USAGE, CALL_USAGE, id="it was told"),
    ],
)
@pytest.mark.parametrize("error", [LLMError("connection", ""), asyncio.CancelledError()], ids=type)
async def test_what_broke_off_has_a_usage_too(
    error: BaseException, told: Usage | None, counted: Usage
) -> None:
    heard: list[Reply] = []
    prompt = dataclasses.replace(PROMPT, broke_off=heard.append)

    with pytest.raises(type(error)):
        await EstimatingLLM(Breaking(error, told)).call(prompt, None)

    assert heard == [Reply("hello", (), counted, "m", usage_estimated=told is None)]


async def test_an_error_stays_an_error() -> None:
    with pytest.raises(LLMError, match="too slow"):
        await EstimatingLLM(ScriptedLLM([LLMError("timeout", "too slow")])).call(PROMPT, None)
