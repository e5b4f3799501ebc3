"""The tool calls that are measured, each beside the command that would be spawned in its place."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from corpus import ABSENT_WORD, COMMON_WORD, RARE_WORD, Corpus

from target_app.agent.messages import ToolCall

HEAD_LINES = 10
PREVIEW_LINES = 100


@dataclass(frozen=True, slots=True)
class Row:
    """A tool call, and the command with its arguments, to be run in the root."""

    name: str
    call: ToolCall
    command: tuple[str, ...]


def tool_call(name: str, **arguments: Any) -> ToolCall:
    """Write a call as the LLM would."""
    return ToolCall(f"call-{name}", name, json.dumps(arguments))


def every_tool(corpus: Corpus) -> list[Row]:
    """Call every tool, grep and find on scopes of all sizes."""
    page = corpus.page
    return [
        *searches(),
        _grep("grep_area", RARE_WORD, corpus.areas[0]),
        _grep("grep_topic", RARE_WORD, corpus.topics[0]),
        _grep("grep_page", RARE_WORD, page),
        _find("find_area", corpus.areas[0]),
        Row("ls", tool_call("ls", path="."), ("ls",)),
        Row("tree", tool_call("tree", path="."), _tree()),
        _cat("cat", page),
        _cat("cat_large", corpus.large),
        Row(
            "head",
            tool_call("head", path=page, lines=HEAD_LINES),
            ("head", "-n", str(HEAD_LINES), "--", page),
        ),
        Row(
            "tail",
            tool_call("tail", path=page, lines=HEAD_LINES),
            ("tail", "-n", str(HEAD_LINES), "--", page),
        ),
        Row("wc", tool_call("wc", path=page), ("wc", "--", page)),
        Row(
            "preview",
            tool_call("preview", path=page, lines=PREVIEW_LINES),
            ("head", "-n", str(PREVIEW_LINES), "--", page),
        ),
        Row("smart_read", tool_call("smart_read", path=page), ("cat", "--", page)),
    ]


def searches() -> list[Row]:
    """Search the whole tree."""
    return [
        _grep("grep_tree", RARE_WORD, "."),
        _grep("grep_tree_common", COMMON_WORD, "."),
        _grep("grep_tree_absent", ABSENT_WORD, "."),
        _find("find_tree", "."),
    ]


def mixed_questions(corpus: Corpus, count: int, seed: int) -> list[ToolCall]:
    """
    Make so many different calls: reading, listing and searching, one tenth through everything.

    They come shuffled, so that what is asked often may be cheap or dear.
    """
    draws = random.Random(seed)  # noqa: S311 - a workload, not secrets
    words = (RARE_WORD, COMMON_WORD, ABSENT_WORD)

    def draw(kind: int) -> ToolCall:
        file, topic, area = map(draws.choice, (corpus.files, corpus.topics, corpus.areas))
        number = f"{draws.randrange(100):02d}"
        word = f"{draws.choice(words)}{draws.choice(('', ' ', ' 1', ' plays', ' 3:'))}"
        return (
            tool_call("grep", path=".", pattern=f"{word}{draws.choice('abcdefghijkl ')}"),
            tool_call("grep", path=area, pattern=word),
            tool_call("grep", path=area, pattern=word),
            tool_call("grep", path=topic, pattern=word),
            tool_call("find", path=draws.choice((area, ".")), name_pattern=f"*{number}.*"),
            tool_call("ls", path=topic),
            tool_call("cat", path=file),
            tool_call("cat", path=file),
            tool_call("head", path=file, lines=50),
            tool_call("preview", path=file),
        )[kind]

    calls: dict[tuple[str, str], ToolCall] = {}
    # A few files give few different questions of some kinds, and the others make up for it.
    for kind in cycle(range(10)):
        drawn = draw(kind)
        calls[drawn.name, drawn.arguments] = drawn
        if len(calls) == count:
            break
    shuffled = list(calls.values())
    draws.shuffle(shuffled)
    return shuffled


def zipf_sequence(questions: Sequence[ToolCall], length: int, seed: int) -> list[ToolCall]:
    """Ask them so many times in all, the one at rank r with a frequency in proportion to 1/r."""
    draws = random.Random(seed)  # noqa: S311 - a workload, not secrets
    weights = [1 / rank for rank in range(1, len(questions) + 1)]
    return draws.choices(questions, weights, k=length)


def _grep(name: str, pattern: str, path: str) -> Row:
    return Row(
        name,
        tool_call("grep", path=path, pattern=pattern),
        ("grep", "-rnIF", "-e", pattern, "--", path),
    )


def _find(name: str, path: str) -> Row:
    return Row(
        name,
        tool_call("find", path=path, name_pattern="*.md"),
        ("find", path, "-name", "*.md"),
    )


def _cat(name: str, path: str) -> Row:
    return Row(name, tool_call("cat", path=path), ("cat", "--", path))


def _tree() -> tuple[str, ...]:
    if shutil.which("tree"):
        return ("tree", "-L", "3")
    return ("find", ".", "-maxdepth", "3")
