"""A script in a prompt is read literally, or refused with what is wrong."""

from __future__ import annotations

import pytest

from harness.stack.llm.conversation import RequestError, Tool, ToolCall
from harness.stack.llm.script import find_script, read_script


def tool(name, **types):
    properties = {key: {"type": kind} for key, kind in types.items()}
    return Tool(name, {"name": name, "parameters": {"properties": properties}})


TOOLS = (
    tool("ls", path="string"),
    tool("grep", pattern="string", path="string", ignore_case="boolean"),
    tool("head", path="string", lines="integer"),
)


@pytest.mark.parametrize(
    ("text", "body"),
    [
        pytest.param("Where is it?", None, id="no script"),
        pytest.param("Please: [[plan: ls path=.]] thanks", "ls path=.", id="amid other words"),
        pytest.param("[[plan:\n ls path=.\n]]", "ls path=.", id="over several lines"),
        pytest.param("[[plan: ]]", "", id="empty"),
    ],
)
def test_a_script_is_found(text, body):
    assert find_script(text) == body


@pytest.mark.parametrize(
    ("body", "turns", "answer"),
    [
        pytest.param(
            "ls path=.; answer It's done; really.",
            ((ToolCall("ls", {"path": "."}),),),
            "It's done; really.",
            id="the answer runs to the end",
        ),
        pytest.param(
            "ls path=a + ls path=b ; ls path=c",
            (
                (ToolCall("ls", {"path": "a"}), ToolCall("ls", {"path": "b"})),
                (ToolCall("ls", {"path": "c"}),),
            ),
            "The plan is done.",
            id="calls in parallel, turns one after the other",
        ),
        pytest.param(
            'grep pattern="a + b; c" path=. ignore_case=true',
            ((ToolCall("grep", {"pattern": "a + b; c", "path": ".", "ignore_case": True}),),),
            "The plan is done.",
            id="quoted values, booleans",
        ),
        pytest.param(
            "head path=a=b lines=5 + head path=x lines=five",
            (
                (
                    ToolCall("head", {"path": "a=b", "lines": 5}),
                    ToolCall("head", {"path": "x", "lines": "five"}),
                ),
            ),
            "The plan is done.",
            id="numbers where they are declared and possible",
        ),
        pytest.param(
            "ls path=../../etc colour=red",
            ((ToolCall("ls", {"path": "../../etc", "colour": "red"}),),),
            "The plan is done.",
            id="what no careful model would ask for",
        ),
        pytest.param("answer", (), "The plan is done.", id="an answer without words"),
        pytest.param("answer Yes.", (), "Yes.", id="an answer at once"),
    ],
)
def test_a_script_is_read(body, turns, answer):
    assert read_script(body, TOOLS) == (turns, answer)


def test_without_tools_names_are_not_checked():
    assert read_script("wc path=.; answer Enough.", ()) == (
        ((ToolCall("wc", {"path": "."}),),),
        "Enough.",
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param("", "it is empty", id="empty"),
        pytest.param("ls path=.; ; answer x", "a turn or a call is empty", id="empty turn"),
        pytest.param("ls path=. +", "a turn or a call is empty", id="empty call"),
        pytest.param(
            "rm path=.",
            "tool 'rm' is not offered; offered are grep, head, ls",
            id="a tool that is not offered",
        ),
        pytest.param("ls docs", "'docs' is not key=value", id="no key"),
        pytest.param("ls =docs", "'=docs' is not key=value", id="empty key"),
        pytest.param(
            'ls path="a', "a quote is not closed in 'ls path=\"a'", id="a quote left open"
        ),
    ],
)
def test_a_bad_script_is_refused_with_the_reason(body, reason):
    with pytest.raises(RequestError) as refusal:
        read_script(body, TOOLS)

    error = refusal.value
    assert error.message == f"Bad plan in the message: {reason}."
    assert (error.status, error.param, error.code) == (400, "messages", "bad_plan")
