"""Tokens are counted as OpenAI's tokenizers do, and around texts as its cookbook says."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from target_app.agent.messages import Prompt, Reply, ToolCall, Usage
from target_app.agent.tokens import (
    PIECE_CHARACTERS,
    count,
    count_aside,
    count_usage,
    encoding_name,
    load_tokenizer,
)
from target_app.agent.tools import offered


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
    ("characters", "threads"),
    [pytest.param(100, 0, id="a short prompt"), pytest.param(30_000, 1, id="a long prompt")],
)
async def test_the_event_loop_is_not_held_up_by_a_long_prompt(
    monkeypatch: pytest.MonkeyPatch, characters: int, threads: int
) -> None:
    load_tokenizer("gpt-4o")
    used: list[object] = []

    async def to_thread(work: Any, *args: Any) -> Any:
        used.append(work)
        return work(*args)

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
    prompt = Prompt([{"role": "user", "content": "a b " * (characters // 4)}], [])
    reply = Reply("", (), None, "gpt-4o")

    assert await count_aside(prompt, reply, "gpt-4o") == count_usage(prompt, reply, "gpt-4o")
    assert len(used) == threads


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
