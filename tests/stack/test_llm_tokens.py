"""Token counts are the tokenizer's, plus what the API adds around messages."""

from __future__ import annotations

import json

import bpe_openai
import pytest

from harness.stack.llm import tokens
from harness.stack.llm.conversation import Message, Tool, ToolCall

O200K = bpe_openai.get_encoding("o200k_base")
TEXT = 'The service "amber-heron" listens on port 4312 — né le 3 août; 東京 🚚.'


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        pytest.param("gpt-4o-mini", "o200k_base", id="gpt-4o-mini"),
        pytest.param("gpt-5-mini", "o200k_base", id="gpt-5-mini"),
        pytest.param("gpt-4.1", "o200k_base", id="gpt-4.1"),
        pytest.param("our-deployment", "o200k_base", id="a deployment's own name"),
        pytest.param("gpt-4", "cl100k_base", id="gpt-4"),
        pytest.param("gpt-4-turbo", "cl100k_base", id="gpt-4-turbo"),
        pytest.param("gpt-35-turbo", "cl100k_base", id="gpt-3.5 as Azure spells it"),
    ],
)
def test_each_model_has_its_encoding(model, encoding):
    assert tokens.encoding_name(model) == encoding


@pytest.mark.parametrize("encoding", tokens.ENCODINGS)
def test_a_text_counts_as_the_tokenizer_counts_it(encoding):
    expected = len(bpe_openai.get_encoding(encoding).encode_ordinary(TEXT))

    assert tokens.count(TEXT, encoding) == expected


def test_text_that_looks_like_a_control_token_is_text():
    assert tokens.count("<|endoftext|>", "o200k_base") > 1


def test_a_prompt_is_counted_up_to_each_message():
    tool = Tool("ls", {"name": "ls", "parameters": {"type": "object"}})
    call = ToolCall("ls", {"path": "."})
    messages = (
        Message("user", TEXT),
        Message("assistant", "", calls=(call,)),
        Message("tool", "docs", answers="call_1"),
    )

    def size(text):
        return len(O200K.encode_ordinary(text))

    offered = size(json.dumps(tool.definition))
    first = offered + 3 + size("user") + size(TEXT)
    second = first + 3 + size("assistant") + 3 + size("ls") + size('{"path": "."}')
    third = second + 3 + size("tool") + size("docs") + 3
    assert tokens.prompt_tokens(messages, (tool,), "o200k_base") == (first, second, third)
