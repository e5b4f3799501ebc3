"""A request is read once; what cannot be served is refused naming the parameter."""

from __future__ import annotations

import pytest

from harness.stack.llm.conversation import (
    Conversation,
    Message,
    RequestError,
    Tool,
    ToolCall,
    read_conversation,
)

USER = {"role": "user", "content": "Hello"}
LS = {"name": "ls", "parameters": {"properties": {"path": {}}, "required": ["path"]}}


def called(call_id, arguments='{"path": "."}'):
    function = {"name": "ls", "arguments": arguments}
    call = {"id": call_id, "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def body(**changes):
    return {"model": "gpt-4o", "messages": [USER], **changes}


def test_a_whole_request_is_read():
    answered = {"role": "tool", "tool_call_id": "call_1", "content": "docs"}
    request = body(
        messages=[USER, called("call_1"), answered],
        tools=[{"type": "function", "function": LS}],
        stream=True,
        stream_options={"include_usage": True},
    )

    assert read_conversation(request) == Conversation(
        model="gpt-4o",
        messages=(
            Message("user", "Hello"),
            Message("assistant", "", calls=(ToolCall("ls", {"path": "."}, "call_1"),)),
            Message("tool", "docs", answers="call_1"),
        ),
        tools=(Tool("ls", LS),),
        may_call=True,
        stream=True,
        include_usage=True,
    )


def test_the_address_names_the_model_before_the_body_does():
    assert read_conversation(body(), "our-deployment").model == "our-deployment"


def test_content_in_parts_is_joined():
    parts = [{"type": "text", "text": "Hello"}, {"type": "text", "text": "you"}]
    read = read_conversation(body(messages=[{"role": "user", "content": parts}]))

    assert read.messages == (Message("user", "Hello\nyou"),)


def test_choosing_no_tool_keeps_the_tools_in_the_prompt():
    read = read_conversation(
        body(tools=[{"type": "function", "function": LS}], tool_choice="none")
    )

    assert (read.tools, read.may_call) == ((Tool("ls", LS),), False)


@pytest.mark.parametrize(
    ("request_body", "param"),
    [
        pytest.param(["not", "an", "object"], None, id="not an object"),
        pytest.param({"messages": [USER]}, "model", id="no model"),
        pytest.param(body(messages=[]), "messages", id="no messages"),
        pytest.param(body(messages="Hello"), "messages", id="messages as a string"),
        pytest.param(body(messages=[{"content": "x"}]), "messages[0]", id="no role"),
        pytest.param(
            body(messages=[{"role": "user", "content": 3}]),
            "messages[0].content",
            id="content is a number",
        ),
        pytest.param(
            body(messages=[USER, called("c", "{broken")]),
            "messages[1].tool_calls",
            id="arguments that are not JSON",
        ),
        pytest.param(
            body(messages=[USER, called("c", "[1]")]),
            "messages[1].tool_calls",
            id="arguments that are not an object",
        ),
        pytest.param(body(tools=[{"type": "function"}]), "tools", id="a tool without function"),
        pytest.param(body(tools="ls"), "tools", id="tools as a string"),
        pytest.param(body(n=2), "n", id="two choices"),
        pytest.param(body(tool_choice="required"), "tool_choice", id="a forced tool"),
        pytest.param(
            body(tool_choice={"type": "function"}), "tool_choice", id="a forced function"
        ),
    ],
)
def test_what_cannot_be_served_is_refused_naming_the_parameter(request_body, param):
    with pytest.raises(RequestError) as refusal:
        read_conversation(request_body)

    assert (refusal.value.status, refusal.value.param) == (400, param)


def test_the_same_words_have_the_same_digest_whatever_the_calls_are_named():
    one = read_conversation(body(messages=[USER, called("call_1")])).prefixes()
    other = read_conversation(body(messages=[USER, called("call_2")])).prefixes()

    assert one == other


def test_a_longer_conversation_begins_with_the_digests_of_the_shorter():
    short = read_conversation(body()).prefixes()
    longer = read_conversation(body(messages=[USER, called("c")])).prefixes()

    assert longer[:1] == short
    assert longer[1] != short[0]


def test_other_tools_make_another_prompt():
    offered = read_conversation(body(tools=[{"type": "function", "function": LS}]))

    assert offered.prefixes() != read_conversation(body()).prefixes()
