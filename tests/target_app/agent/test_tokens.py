"""Tokens are counted as OpenAI's tokenizers do, and around texts as its cookbook says."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import bpe_openai
import pytest

from target_app.agent import tokens
from target_app.agent.messages import Prompt, Reply, ToolCall, Usage
from target_app.agent.tokens import (
    PIECE_CHARACTERS,
    count,
    count_aside,
    count_usage,
    encoding_name,
    load_tokenizers,
)
from target_app.agent.tools import offered

SHORT, LONG = "a b " * 25, "a b " * 7_500


def said(text: str) -> Prompt:
    return Prompt([{"role": "user", "content": text}], [])


def called(name: str, arguments: str) -> Prompt:
    """A prompt that repeats a tool call of the LLM."""
    asked = {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}
    return Prompt([{"role": "assistant", "content": None, "tool_calls": [asked]}], [])


def replied(text: str) -> Reply:
    return Reply(text, (), None, "")


def wanted(name: str, arguments: str) -> Reply:
    return Reply("", (ToolCall("1", name, arguments),), None, "")


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-4o", "o200k_base"),
        ("gpt-4o-mini-2024-07-18", "o200k_base"),
        ("gpt-4.1", "o200k_base"),
        ("gpt-5", "o200k_base"),
        ("my-deployment", "o200k_base"),
        ("", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-4-32k", "cl100k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("gpt-35-turbo", "cl100k_base"),
    ],
)
def test_the_encoding_of_a_model(model: str, encoding: str) -> None:
    assert encoding_name(model) == encoding


@pytest.mark.parametrize(
    ("text", "current", "former"),
    [
        pytest.param("", 0, 0, id="nothing"),
        pytest.param("hello world", 2, 2, id="two words"),
        pytest.param("antidisestablishmentarianism", 6, 6, id="a long word"),
        pytest.param("お誕生日おめでとう", 8, 9, id="Japanese"),
        pytest.param("<|endoftext|>", 7, 7, id="what would be a control token"),
    ],
)
def test_texts_are_counted_exactly(text: str, current: int, former: int) -> None:
    # The first four are known answers of OpenAI's cookbook.
    assert (count(text, "o200k_base"), count(text, "cl100k_base")) == (current, former)


def test_half_a_character_is_counted_somehow() -> None:
    assert count("\ud800", "o200k_base") >= 1


def test_a_text_of_more_tokens_than_the_tokenizer_takes_is_counted_in_pieces() -> None:
    text = "a b " * 75_000

    assert len(text) > 5 * PIECE_CHARACTERS
    assert count(text, "o200k_base") == pytest.approx(150_000, rel=1e-4)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("prompt", "reply", "threads"),
    [
        pytest.param(said(SHORT), replied(SHORT), 0, id="a short call"),
        pytest.param(said(LONG), replied(SHORT), 1, id="a long prompt"),
        pytest.param(called("ls", LONG), replied(SHORT), 1, id="long arguments before"),
        pytest.param(called(LONG, "{}"), replied(SHORT), 1, id="a long name before"),
        pytest.param(said(SHORT), replied(LONG), 1, id="a long answer"),
        pytest.param(said(SHORT), wanted("ls", LONG), 1, id="long arguments"),
        pytest.param(said(SHORT), wanted(LONG, "{}"), 1, id="a long name"),
    ],
)
@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4-0613"])
async def test_the_event_loop_is_not_held_up_by_a_long_call(
    monkeypatch: pytest.MonkeyPatch, prompt: Prompt, reply: Reply, threads: int, model: str
) -> None:
    load_tokenizers()
    used: list[object] = []

    async def to_thread(work: Any, *args: Any) -> Any:
        used.append(work)
        return work(*args)

    monkeypatch.setattr(asyncio, "to_thread", to_thread)

    assert await count_aside(prompt, reply, model) == count_usage(prompt, reply, model)
    assert len(used) == threads


@pytest.mark.anyio
async def test_a_tokenizer_is_loaded_once_and_not_on_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loading: list[tuple[str, bool]] = []

    def get_encoding(name: str) -> Any:
        loading.append((name, threading.current_thread() is threading.main_thread()))
        all_asked.wait()
        return real(name)

    async def let_it_load() -> None:
        all_asked.set()

    all_asked = threading.Event()
    real = bpe_openai.get_encoding
    monkeypatch.setattr(bpe_openai, "get_encoding", get_encoding)
    monkeypatch.setattr(tokens, "_loaded", {})
    tokens._remembered.cache_clear()

    reply = replied("word")
    counting = [count_aside(said("word"), reply, "gpt-4-0613") for _ in range(3)]
    *counts, _ = await asyncio.gather(*counting, let_it_load())

    assert counts == [Usage(input=8, output=1)] * 3
    assert loading == [("cl100k_base", False)]


def test_a_call_is_its_messages_its_tools_and_its_answer() -> None:
    tool = {"type": "function", "function": {"name": "ls", "parameters": {}}}
    messages = [
        {"role": "system", "content": "hello world"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "ls", "arguments": "{}"}}
            ],
        },
    ]
    reply = Reply("hello", (ToolCall("2", "ls", "{}"),), None, "gpt-4o")
    encoding = "o200k_base"
    one_call = 3 + count("ls", encoding) + count("{}", encoding)

    assert count_usage(Prompt(messages, [tool]), reply, "gpt-4o") == Usage(
        input=(3 + 1 + 2) + (3 + 1 + one_call) + count(json.dumps(tool["function"]), encoding) + 3,
        output=1 + one_call,
    )


def test_the_tools_of_the_app_are_a_large_part_of_each_call() -> None:
    prompt = Prompt([{"role": "user", "content": "hello"}], offered())

    usage = count_usage(prompt, Reply("", (), None, ""), "gpt-4o")

    assert 900 < usage.input < 1800
