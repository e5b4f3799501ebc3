"""
What the simulated LLM does next: a small agent that is a pure function of the conversation.

It recognises four kinds of prompt, in this order: a script (see `script`), a request to explore
without end, a question about a term in double quotes, and anything else. Answers are made of
the outputs of the tools alone, so a wrong or stale output gives a wrong answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from harness.stack.llm.conversation import Message, Tool, ToolCall
from harness.stack.llm.script import find_script, read_script

DEEP_SHARE = 0.2  # of the questions: those that read a file after searching

_MAX_QUOTES = 6
_EXPLORATION = re.compile(
    r"\bkeep (?:reading|exploring|looking|going)\b.*\bnot stop\b", re.IGNORECASE | re.DOTALL
)
_SUBJECT = re.compile(r"[\"“]([^\"”\n]+)[\"”]")
_GREP_LINE = re.compile(r"^(?:\./)?(?P<path>[^:\n]+):(?:(?P<line>\d+):)?(?P<text>.*)$")
_NAMES = ("*.md", "*.log", "*.csv", "*.yaml", "*.json", "*.txt", "*.py")
_REMARK = re.compile(r"error|total |no |\W", re.IGNORECASE)  # what tools say beside names
_LONG_LISTING = re.compile(r"^[-dl][-rwxsStT]{9}\S*\s")


@dataclass(frozen=True, slots=True)
class Calls:
    """A turn that calls tools, in parallel when there are several."""

    calls: tuple[ToolCall, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A turn that ends the chat."""

    text: str


@dataclass(frozen=True, slots=True)
class _Quote:
    """A line that a tool showed."""

    path: str
    line: str
    text: str

    def __str__(self) -> str:
        place = f"{self.path}, line {self.line}" if self.line else self.path
        return f"{place}: {self.text}"


@dataclass(frozen=True, slots=True)
class _Chat:
    """The conversation since the user last spoke: the prompt, the turns, and the outputs."""

    prompt: str
    turns: int
    outputs: tuple[tuple[ToolCall, str], ...]

    @classmethod
    def of(cls, messages: Sequence[Message]) -> _Chat:
        users = [index for index, message in enumerate(messages) if message.role == "user"]
        last = users[-1] if users else 0
        calls = {call.id: call for message in messages[last:] for call in message.calls}
        return cls(
            prompt=messages[last].text,
            turns=sum(bool(message.calls) for message in messages[last:]),
            outputs=tuple(
                (calls[message.answers], _output(message.text))
                for message in messages[last:]
                if message.role == "tool" and message.answers in calls
            ),
        )

    def of_tool(self, *names: str) -> Iterator[tuple[ToolCall, str]]:
        return ((call, text) for call, text in self.outputs if call.name in names)


def plan(
    messages: Sequence[Message], tools: Sequence[Tool], *, may_call: bool = True
) -> Calls | Answer:
    """
    Decide the next turn from the conversation and the tools offered.

    Only tools that are offered are called, with arguments they declare, and none at all unless
    `may_call`. Raises RequestError for a script that cannot be read.
    """
    chat = _Chat.of(messages)
    script = find_script(chat.prompt)
    if script is not None:
        turns, answer = read_script(script, tools)
        more = tools and may_call and chat.turns < len(turns)
        return Calls(turns[chat.turns]) if more else Answer(answer)
    if _EXPLORATION.search(chat.prompt):
        wanted, answer = _explore(chat), _so_far(chat)
    elif subject := _SUBJECT.search(chat.prompt):
        wanted, answer = _search(chat, subject[1]), _report(chat, subject[1])
    else:
        wanted, answer = _look(chat), _overview(chat)
    callable_tools = tools if may_call else ()
    calls = tuple(call for call in (_fitted(call, callable_tools) for call in wanted) if call)
    return Calls(calls) if calls else Answer(answer)


def is_deep(prompt: str) -> bool:
    """Say whether a question belongs to the share that reads a file after searching."""
    return _stable(prompt) % 100 < 100 * DEEP_SHARE


def _look(chat: _Chat) -> tuple[ToolCall, ...]:
    return () if chat.turns else (ToolCall("ls", {"path": "."}),)


def _overview(chat: _Chat) -> str:
    names = [name for _, text in chat.of_tool("ls") for name in _names(text)]
    if not names:
        return "I can answer questions about the documents; put the term to look for in quotes."
    return (
        f"The folder holds {len(names)} entries: {', '.join(names[:12])}. "
        "Ask about a term in double quotes and I will look it up."
    )


def _search(chat: _Chat, subject: str) -> tuple[ToolCall, ...]:
    grep = ToolCall("grep", {"pattern": subject, "path": "."})
    deep = is_deep(chat.prompt)
    if chat.turns == 0:
        other = (
            ToolCall("ls", {"path": "."})
            if deep
            else ToolCall("find", {"path": ".", "name_pattern": f"*{subject}*"})
        )
        return (grep, other)
    found = _grepped(chat, subject)
    if chat.turns > 1 or not deep or not found:
        return ()
    path = max(sorted({quote.path for quote in found}), key=[q.path for q in found].count)
    return (ToolCall("head", {"path": path, "lines": 20}), ToolCall("cat", {"path": path}))


def _report(chat: _Chat, subject: str) -> str:
    quotes = _evidence(chat, subject)
    if quotes:
        where = "one place" if len(quotes) == 1 else f"{len(quotes)} places"
        lines = "\n".join(f"- {quote}" for quote in quotes[:_MAX_QUOTES])
        return f'I found "{subject}" in {where} of the documents:\n{lines}'
    trouble = [text for _, text in chat.outputs if text.lower().startswith("error")]
    if trouble:
        return f'I could not look up "{subject}": {trouble[0].splitlines()[0]}'
    named = [line for _, text in chat.of_tool("find") for line in text.splitlines() if line]
    if any(subject in name for name in named):
        return f'No line mentions "{subject}", but a file is named after it: {named[0]}.'
    if not chat.outputs:
        return f'I cannot look up "{subject}" without tools that search the documents.'
    return f'I searched the documents for "{subject}" and found nothing.'


def _evidence(chat: _Chat, subject: str) -> tuple[_Quote, ...]:
    """Give the lines about the subject; of a file that was read, those read, not grep's."""
    read: dict[str, list[_Quote]] = {}
    for call, text in chat.of_tool("head", "cat"):
        path = str(call.arguments.get("path"))
        lines = [line.strip() for line in text.splitlines() if subject in line]
        if lines:
            read[path] = [_Quote(path, "", line) for line in lines]
    grepped = [quote for quote in _grepped(chat, subject) if quote.path not in read]
    return (*(quote for quotes in read.values() for quote in quotes), *grepped)


def _grepped(chat: _Chat, subject: str) -> tuple[_Quote, ...]:
    return tuple(
        _Quote(match["path"], match["line"] or "", match["text"].strip())
        for _, text in chat.of_tool("grep")
        for match in map(_GREP_LINE.match, text.splitlines())
        if match and subject in match["text"]
    )


def _explore(chat: _Chat) -> tuple[ToolCall, ...]:
    """One or two calls on places not visited yet, in an order that depends on the prompt."""
    pick = _stable(f"{chat.prompt}/{chat.turns}")
    if chat.turns == 0:
        name_pattern = _NAMES[pick % len(_NAMES)]
        find = ToolCall("find", {"path": ".", "name_pattern": name_pattern})
        return (ToolCall("ls", {"path": "."}), find)
    visited = {str(call.arguments.get("path")) for call, _ in chat.outputs}
    unread = sorted(set(_places(chat)) - visited)
    if not unread:
        # Everything known was read: search for something new, since giving up is not asked for.
        return (ToolCall("grep", {"pattern": f"section {chat.turns}", "path": "."}),)
    chosen = [unread[pick % len(unread)]]
    if pick % 3 and len(unread) > 1:
        chosen.append(unread[(pick + 1) % len(unread)])
    return tuple(_visit(path, pick) for path in chosen)


def _visit(path: str, pick: int) -> ToolCall:
    if "." not in path.rpartition("/")[2]:
        return ToolCall("ls", {"path": path})
    if pick % 2:
        return ToolCall("cat", {"path": path})
    return ToolCall("head", {"path": path, "lines": 40})


def _places(chat: _Chat) -> Iterator[str]:
    for call, text in chat.of_tool("ls", "find"):
        folder = str(call.arguments.get("path", ".")).rstrip("/")
        for name in _names(text):
            if call.name == "find" or folder in {"", "."} or name.startswith(f"{folder}/"):
                yield name
            else:
                yield f"{folder}/{name}"


def _so_far(chat: _Chat) -> str:
    places = sorted({str(call.arguments.get("path")) for call, _ in chat.outputs})
    if not places:
        return "I have read nothing yet, because no tools that read the documents were offered."
    return f"I have not finished. So far I have read {len(places)} places: {', '.join(places)}."


def _names(listing: str) -> Iterator[str]:
    """Names in the output of ls or find, plain or long, without the slash of a folder."""
    for line in map(str.strip, listing.splitlines()):
        name = (line.split()[-1] if _LONG_LISTING.match(line) else line).removeprefix("./")
        if name.rstrip("/") not in {"", "."} and not _REMARK.match(name):
            yield name.rstrip("/")


def _output(text: str) -> str:
    """Give what a tool printed, also when the app passes it on inside a JSON object."""
    if not text.startswith("{"):
        return text
    try:
        wrapped = json.loads(text)
    except ValueError:
        return text
    if not isinstance(wrapped, dict) or "stdout" not in wrapped:
        return text
    if wrapped["stdout"] or not wrapped.get("error"):
        return str(wrapped["stdout"])
    return f"Error: {wrapped['error']}"


def _fitted(call: ToolCall, tools: Iterable[Tool]) -> ToolCall | None:
    """Give the call with the arguments the tool declares, or None if it cannot be called."""
    for tool in tools:
        if tool.name == call.name:
            declared = tool.parameters
            arguments = {key: value for key, value in call.arguments.items() if key in declared}
            for key in tool.required:
                if key not in arguments and "default" in declared.get(key, {}):
                    arguments[key] = declared[key]["default"]
            fits = all(key in arguments for key in tool.required)
            return ToolCall(tool.name, arguments) if fits else None
    return None


def _stable(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=6).digest())
