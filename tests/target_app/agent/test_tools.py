"""A tool call is checked against the model that also describes the tool."""

from __future__ import annotations

import json

import pytest

from target_app.agent.tools import BadCallError, Cat, Find, Grep, Ls, offered, parse_call


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

    assert (parsed, parsed.shown()) == (tool, shown)


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        pytest.param(
            "rm",
            "{}",
            "there is no tool 'rm'; the tools are ls, find, grep, cat, head, tail",
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
            "grep",
            '{"pattern": "(a+)+$", "regex": true}',
            "bad arguments for grep: Value error, with regex=true only fixed strings separated "
            "by | are supported, such as alpha|beta",
            id="a pattern that could run for ever",
        ),
        pytest.param(
            "grep",
            '{"pattern": "a|", "regex": true}',
            "bad arguments for grep: Value error, with regex=true only fixed strings separated "
            "by | are supported, such as alpha|beta",
            id="an empty alternative matches every line",
        ),
        pytest.param(
            "grep",
            json.dumps({"pattern": "a\nb"}),
            "bad arguments for grep: Value error, pattern must be on one line",
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


def test_alternatives_are_separated_only_in_a_regex() -> None:
    assert Grep(pattern="a|b", regex=True).literals == ("a", "b")
    assert Grep(pattern="a|b").literals == ("a|b",)


def test_a_tool_is_described_by_its_model() -> None:
    described = {tool["function"]["name"]: tool["function"] for tool in offered()}

    assert list(described) == ["ls", "find", "grep", "cat", "head", "tail"]
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
