"""A tool call is checked against the model that also describes the tool."""

from __future__ import annotations

import inspect
import json

import pytest

from target_app.agent.tools import (
    TOOLS,
    BadCallError,
    Cat,
    Find,
    Grep,
    Ls,
    SmartRead,
    Tool,
    offered,
    parse_call,
)
from target_app.sandbox.commands import COMMANDS
from target_app.sandbox.result import Command


@pytest.mark.parametrize(
    ("name", "arguments", "tool", "shown"),
    [
        pytest.param("ls", "", Ls(), "ls .", id="no arguments at all"),
        pytest.param("ls", '{"path": "a b"}', Ls(path="a b"), "ls 'a b'", id="quoted for people"),
        pytest.param(
            "find",
            '{"name_pattern": "*.md", "type": "f"}',
            Find(name_pattern="*.md", type="f"),
            "find --name_pattern='*.md' --type=f .",
            id="find files",
        ),
        pytest.param(
            "grep",
            '{"pattern": "x", "path": "docs", "ignore_case": true}',
            Grep(pattern="x", path="docs", ignore_case=True),
            "grep --pattern=x --ignore_case docs",
            id="grep",
        ),
        pytest.param("cat", '{"path": "-n"}', Cat(path="-n"), "cat -n", id="a dash is no option"),
    ],
)
def test_a_good_call(name: str, arguments: str, tool: object, shown: str) -> None:
    parsed = parse_call(name, arguments)

    assert (parsed, parsed.shown) == (tool, shown)


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        pytest.param(
            "rm",
            "{}",
            "there is no tool 'rm'; the tools are ls, find, grep, cat, head, tail, tree, wc, preview, "
            "smart_read",
            id="unknown tool",
        ),
        pytest.param("cat", "{}", "bad arguments for cat: path: Field required", id="missing"),
        pytest.param(
            "ls",
            '{"depth": 3}',
            "bad arguments for ls: depth: Extra inputs are not permitted",
            id="made up",
        ),
        pytest.param(
            "head",
            '{"path": "a", "lines": "10"}',
            "bad arguments for head: lines: Input should be a valid integer",
            id="a string is no number",
        ),
        pytest.param(
            "tail",
            '{"path": "a", "lines": 0}',
            "bad arguments for tail: lines: Input should be greater than or equal to 1",
            id="no lines",
        ),
        pytest.param(
            "preview",
            '{"path": "a", "lines": 501}',
            "bad arguments for preview: lines: Input should be less than or equal to 500",
            id="more than a preview shows",
        ),
        pytest.param(
            "tree",
            '{"max_depth": true}',
            "bad arguments for tree: max_depth: Input should be a valid integer",
            id="true is no number",
        ),
        pytest.param(
            "find",
            '{"type": "l"}',
            "bad arguments for find: type: Input should be 'f' or 'd'",
            id="links are not found",
        ),
        pytest.param(
            "smart_read",
            json.dumps({"path": "a", "query": "a\0b"}),
            "bad arguments for smart_read: query: Value error, must be on one line",
            id="a NUL in a query",
        ),
        pytest.param(
            "grep",
            json.dumps({"pattern": "a\nb"}),
            "bad arguments for grep: pattern: Value error, must be on one line",
            id="two lines",
        ),
    ],
)
def test_a_bad_call_says_what_is_wrong(name: str, arguments: str, reason: str) -> None:
    with pytest.raises(BadCallError) as bad:
        parse_call(name, arguments)

    assert str(bad.value) == reason


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param("{not json", id="broken JSON"),
        pytest.param("[]", id="a list"),
        pytest.param('{"path": "\\ud800"}', id="half a character"),
    ],
)
def test_what_is_no_object_of_text_is_a_bad_call(arguments: str) -> None:
    with pytest.raises(BadCallError, match=r"^bad arguments for cat: "):
        parse_call("cat", arguments)


@pytest.mark.parametrize(
    ("tool", "command"),
    [
        pytest.param(
            Ls(path="./a//", all=True),
            Command("ls", "a", {"hidden": True, "details": False}),
            id="ls",
        ),
        pytest.param(
            Find(name_pattern="*.md"),
            Command("find", "a", {"name_pattern": "*.md", "kind": None}),
            id="find",
        ),
        pytest.param(
            SmartRead(path="a", query="x"),
            Command("smart_read", "a", {"query": "x", "max_lines": 100}),
            id="smart_read",
        ),
    ],
)
def test_a_call_becomes_a_command_on_the_authorised_path(tool: Tool, command: Command) -> None:
    assert tool.command("a") == command


@pytest.mark.parametrize("tool", [pytest.param(tool, id=name) for name, tool in TOOLS.items()])
def test_every_field_of_a_tool_is_an_option_of_its_command(tool: type[Tool]) -> None:
    arguments = {"pattern": "x"} if tool is Grep else {}

    command = tool(path="a", **arguments).command("a")

    parameters = list(inspect.signature(COMMANDS[tool.name]).parameters.values())
    assert set(command.options) == {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}


def test_a_tool_is_described_by_its_model() -> None:
    described = {tool["function"]["name"]: tool["function"] for tool in offered()}

    assert list(described) == [
        "ls", "find", "grep", "cat", "head", "tail", "tree", "wc", "preview", "smart_read",
    ]  # fmt: skip
    assert described["head"] == {
        "name": "head",
        "description": "Read the first lines of a file.",
        "parameters": {
            "type": "object",
            "properties": {
                "path": {
                    "type": "string",
                    "maxLength": 4096,
                    "description": "The file, relative to the root.",
                },
                "lines": {"type": "integer", "minimum": 1, "maximum": 10_000, "default": 10},
            },
            "required": ["path"],
            "additionalProperties": False,
        },
    }
