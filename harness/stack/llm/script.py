"""
Scripts inside a prompt that say, turn by turn, what the simulated LLM does.

`[[plan: ls path=. ; grep pattern=TODO path=docs + find path=. name_pattern=*.md ; answer Done.]]`
has two turns of tool calls and an answer: `;` ends a turn, `+` joins the calls of one turn, and a
value with spaces, `;` or `+` in it stands in double quotes. An answer runs to the end of the
script. A script is taken literally, so it can also ask for what a careful model never would.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from harness.stack.llm.conversation import Json, RequestError, Tool, ToolCall

DEFAULT_ANSWER = "The plan is done."

_SCRIPT = re.compile(r"\[\[plan:(.*?)\]\]", re.DOTALL)
_PIECE = re.compile(r"""(?:[^\s"]|"[^"]*")+""")
_UNQUOTED = '(?=(?:[^"]*"[^"]*")*[^"]*$)'  # only an even number of quotes follows


def find_script(text: str) -> str | None:
    """Give the body of the script in a prompt, or None when it has none."""
    found = _SCRIPT.search(text)
    return None if found is None else found[1].strip()


def read_script(body: str, tools: Sequence[Tool]) -> tuple[tuple[tuple[ToolCall, ...], ...], str]:
    """
    Read a script into its turns of tool calls and its answer.

    Without tools (an app that wants its answer now) the names in it are not checked. Raises
    RequestError naming what is wrong: an empty script or turn, a tool that is not offered, an
    argument that is not `key=value`, a quote that is not closed.
    """
    if not body:
        raise _bad("it is empty")
    offered = {tool.name: tool for tool in tools}
    turns: list[tuple[ToolCall, ...]] = []
    rest = body
    while rest:
        if rest == "answer" or rest.startswith("answer "):
            return tuple(turns), rest.removeprefix("answer").strip() or DEFAULT_ANSWER
        turn, *remainder = re.split(f";{_UNQUOTED}", rest, maxsplit=1)
        calls = re.split(rf"\+{_UNQUOTED}", turn)
        turns.append(tuple(_call(call.strip(), offered) for call in calls))
        rest = remainder[0].strip() if remainder else ""
    return tuple(turns), DEFAULT_ANSWER


def _call(text: str, offered: Mapping[str, Tool]) -> ToolCall:
    if text.count('"') % 2:
        raise _bad(f"a quote is not closed in {text!r}")
    pieces = _PIECE.findall(text)
    if not pieces:
        raise _bad("a turn or a call is empty")
    name, *pairs = pieces
    if offered and name not in offered:
        raise _bad(f"tool {name!r} is not offered; offered are {', '.join(sorted(offered))}")
    declared = offered[name].parameters if offered else {}
    arguments = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise _bad(f"{pair!r} is not key=value")
        arguments[key] = _value(value.replace('"', ""), declared.get(key) or {})
    return ToolCall(name, arguments)


def _value(text: str, schema: Json) -> str | int | bool:
    """Convert to the declared type where the text allows it, else keep the text."""
    declared = schema.get("type")
    if declared == "integer" and re.fullmatch(r"-?\d+", text):
        return int(text)
    if declared == "boolean" and text in {"true", "false"}:
        return text == "true"
    return text


def _bad(reason: str) -> RequestError:
    return RequestError(f"Bad plan in the message: {reason}.", param="messages", code="bad_plan")
