"""A whole agent, tools and all, gets every committed question right in two or three calls."""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatch

import pytest

from harness.stack.documents import questions, write_documents
from harness.stack.llm.conversation import Message, Tool, ToolCall
from harness.stack.llm.planner import Answer, plan

TOOLS = tuple(
    Tool(name, {"name": name, "parameters": {"properties": {key: {} for key in arguments}}})
    for name, arguments in {
        "ls": ["path"],
        "find": ["path", "name_pattern"],
        "grep": ["pattern", "path"],
        "cat": ["path"],
        "head": ["path", "lines"],
    }.items()
)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    root = tmp_path_factory.mktemp("documents")
    write_documents(root)
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_text("utf-8") for path in files}


def run(call, texts):
    given = call.arguments
    if call.name == "grep":
        lines = [
            f"{name}:{number}:{line}"
            for name, text in texts.items()
            if given["pattern"] in text
            for number, line in enumerate(text.splitlines(), start=1)
            if given["pattern"] in line
        ]
    elif call.name == "find":
        lines = [name for name in texts if fnmatch(name, f"*/{given['name_pattern']}")]
    elif call.name == "ls":
        lines = sorted({name.partition("/")[0] + "/" for name in texts})
    else:
        lines = texts[given["path"]].splitlines()[: given.get("lines")]
    return "\n".join(lines)


def chat(text, texts):
    """Give the answer to a question and the number of calls to the LLM it took."""
    messages = [Message("user", text)]
    for turns in range(1, 5):
        turn = plan(messages, TOOLS)
        if isinstance(turn, Answer):
            return turn.text, turns
        calls = tuple(
            ToolCall(call.name, call.arguments, f"call_{turns}_{index}")
            for index, call in enumerate(turn.calls)
        )
        messages.append(Message("assistant", "", calls=calls))
        messages += [Message("tool", run(call, texts), answers=call.id) for call in calls]
    return "", 0


def test_every_committed_question_is_answered_right_in_two_or_three_calls(texts):
    calls = Counter()
    for question in questions():
        answer, turns = chat(question.text, texts)
        assert question.answer in answer, (question, answer)
        calls[turns] += 1

    assert set(calls) == {2, 3}
    assert calls[3] / calls.total() == pytest.approx(0.2, abs=0.03)


def test_a_document_that_changed_changes_the_answer(texts):
    for question in questions()[:40]:
        changed = {
            **texts,
            question.file: texts[question.file].replace(question.answer, "something else"),
        }
        answer, _ = chat(question.text, changed)
        assert question.answer not in answer.replace(question.subject, "")
        assert "something else" in answer
