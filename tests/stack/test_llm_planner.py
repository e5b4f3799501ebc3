"""What the simulated LLM does next follows from the conversation alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.stack.llm.conversation import Message, RequestError, Tool, ToolCall
from harness.stack.llm.planner import Answer, Calls, is_deep, plan

SCENARIOS = Path(__file__).parents[2] / "scenarios"
SHALLOW = 'Which port does the service "amber-heron" listen on?'
DEEP = 'Which port does the service "dusky-plover" listen on?'
ENDLESS = "Keep reading through every folder. Do not stop until the end."


def tool(name, *required, **optional):
    properties = {key: {"type": "string"} for key in required}
    properties |= {key: {"default": value} for key, value in optional.items()}
    schema = {"properties": properties, "required": list(required)}
    return Tool(name, {"name": name, "parameters": schema})


TOOLS = (
    tool("ls", "path"),
    tool("find", "path", "name_pattern"),
    tool("grep", "pattern", "path"),
    tool("cat", "path"),
    tool("head", "path", lines=10),
)


def grep(subject):
    return ToolCall("grep", {"pattern": subject, "path": "."})


def find(pattern):
    return ToolCall("find", {"path": ".", "name_pattern": pattern})


def ls(path="."):
    return ToolCall("ls", {"path": path})


def conversation(prompt, *turns):
    """Give a chat in which each turn is a mapping of tool calls to their outputs, in pairs."""
    messages = [Message("system", "You answer questions."), Message("user", prompt)]
    for number, turn in enumerate(turns):
        calls = [
            ToolCall(call.name, call.arguments, f"call_{number}_{index}")
            for index, (call, _) in enumerate(turn)
        ]
        messages.append(Message("assistant", "", calls=tuple(calls)))
        messages += [
            Message("tool", output, answers=call.id)
            for call, (_, output) in zip(calls, turn, strict=True)
        ]
    return messages


def searched(grep_output, find_output=""):
    return [(grep("amber-heron"), grep_output), (find("*amber-heron*"), find_output)]


def read(text):
    path = "config/a.yaml"
    return [
        (ToolCall("head", {"path": path, "lines": 20}), text),
        (ToolCall("cat", {"path": path}), text),
    ]


@pytest.mark.parametrize(
    ("messages", "turn"),
    [
        pytest.param(
            conversation(SHALLOW),
            Calls((grep("amber-heron"), find("*amber-heron*"))),
            id="a question is searched in contents and names at once",
        ),
        pytest.param(
            conversation(DEEP),
            Calls((grep("dusky-plover"), ls())),
            id="one question in five starts with a look around",
        ),
        pytest.param(
            conversation(DEEP, [(grep("dusky-plover"), "a.md:1:dusky-plover"), (ls(), "a.md")]),
            Calls(
                (
                    ToolCall("head", {"path": "a.md", "lines": 20}),
                    ToolCall("cat", {"path": "a.md"}),
                )
            ),
            id="and then reads the file that was found",
        ),
        pytest.param(
            conversation(DEEP, [(grep("dusky-plover"), ""), (ls(), "a.md")]),
            Answer('I searched the documents for "dusky-plover" and found nothing.'),
            id="or answers at once if there is no such file",
        ),
        pytest.param(
            conversation("Hello there"), Calls((ls(),)), id="without a term it looks around"
        ),
        pytest.param(
            conversation("Hello there", [(ls(), "docs/\nnotes/\n")]),
            Answer(
                "The folder holds 2 entries: docs, notes. "
                "Ask about a term in double quotes and I will look it up."
            ),
            id="and says what is there",
        ),
        pytest.param(
            conversation("[[plan: ls path=a; ls path=b; answer Done.]]", [(ls("a"), "")]),
            Calls((ls("b"),)),
            id="a script goes on where it stopped",
        ),
        pytest.param(
            conversation(f"[[plan: answer Done.]] {SHALLOW} {ENDLESS}"),
            Answer("Done."),
            id="a script comes before everything else",
        ),
        pytest.param(
            [*conversation(SHALLOW, searched("")), Message("user", "And “blue-tit”?")],
            Calls((grep("blue-tit"), find("*blue-tit*"))),
            id="a second question starts afresh",
        ),
    ],
)
def test_the_next_turn(messages, turn):
    assert plan(messages, TOOLS) == turn


@pytest.mark.parametrize(
    ("outputs", "answer"),
    [
        pytest.param(
            searched("config/a.yaml:12:  amber-heron: {port: 4312}"),
            'I found "amber-heron" in one place of the documents:\n'
            "- config/a.yaml, line 12: amber-heron: {port: 4312}",
            id="the line with its place",
        ),
        pytest.param(
            searched("./a.yaml:1:amber-heron: 1\nb.log:2:at 10:30 amber-heron stopped"),
            'I found "amber-heron" in 2 places of the documents:\n'
            "- a.yaml, line 1: amber-heron: 1\n- b.log, line 2: at 10:30 amber-heron stopped",
            id="several lines",
        ),
        pytest.param(
            searched("a.yaml:amber-heron: 1"),
            'I found "amber-heron" in one place of the documents:\n- a.yaml: amber-heron: 1',
            id="without line numbers",
        ),
        pytest.param(
            searched(json.dumps({"success": True, "stdout": "a:1:amber-heron", "error": None})),
            'I found "amber-heron" in one place of the documents:\n- a, line 1: amber-heron',
            id="an output wrapped in an object",
        ),
        pytest.param(
            searched('{"stdout"', '{"found": 1}'),
            'I searched the documents for "amber-heron" and found nothing.',
            id="outputs that only look like an object of that kind",
        ),
        pytest.param(
            searched("a.yaml:1:russet-owl: 1"),
            'I searched the documents for "amber-heron" and found nothing.',
            id="lines about something else are no evidence",
        ),
        pytest.param(
            searched("", "runbooks/amber-heron.md\n"),
            'No line mentions "amber-heron", but a file is named after it: '
            "runbooks/amber-heron.md.",
            id="only a name",
        ),
        pytest.param(
            searched("Error: the search timed out\nafter 30 s"),
            'I could not look up "amber-heron": Error: the search timed out',
            id="a tool that failed",
        ),
        pytest.param(
            searched(json.dumps({"success": False, "stdout": "", "error": "timeout"})),
            'I could not look up "amber-heron": Error: timeout',
            id="a failure wrapped in an object",
        ),
    ],
)
def test_answers_are_made_of_what_the_tools_said(outputs, answer):
    assert plan(conversation(SHALLOW, outputs), TOOLS) == Answer(answer)


def test_at_most_six_lines_are_quoted():
    many = "\n".join(f"a.log:{number}:amber-heron" for number in range(1, 9))
    turn = plan(conversation(SHALLOW, searched(many)), TOOLS)

    assert turn.text.splitlines()[0] == 'I found "amber-heron" in 8 places of the documents:'
    assert len(turn.text.splitlines()) == 7


def test_a_file_that_was_read_is_believed_before_the_search():
    first = [(grep("dusky-plover"), "config/a.yaml:3:dusky-plover: 1\nb.md:1:dusky-plover")]
    chat = conversation(DEEP, [*first, (ls(), "config/")], read("dusky-plover: 2"))

    assert plan(chat, TOOLS) == Answer(
        'I found "dusky-plover" in 2 places of the documents:\n'
        "- config/a.yaml: dusky-plover: 2\n- b.md, line 1: dusky-plover"
    )


@pytest.mark.parametrize(
    ("tools", "turn"),
    [
        pytest.param(
            (tool("grep", "pattern", "path"),),
            Calls((grep("amber-heron"),)),
            id="only what is offered",
        ),
        pytest.param(
            (tool("grep", "pattern"),),
            Calls((ToolCall("grep", {"pattern": "amber-heron"}),)),
            id="only arguments that are declared",
        ),
        pytest.param(
            (
                Tool(
                    "grep",
                    {
                        "parameters": {
                            "properties": {"pattern": {}, "context": {"default": 0}},
                            "required": ["pattern", "context"],
                        }
                    },
                ),
            ),
            Calls((ToolCall("grep", {"pattern": "amber-heron", "context": 0}),)),
            id="required arguments by their defaults",
        ),
        pytest.param(
            (tool("grep", "query"),),
            Answer('I cannot look up "amber-heron" without tools that search the documents.'),
            id="not a tool that needs something unknown",
        ),
        pytest.param(
            (),
            Answer('I cannot look up "amber-heron" without tools that search the documents.'),
            id="nothing at all",
        ),
    ],
)
def test_only_offered_tools_are_called_with_arguments_that_fit(tools, turn):
    assert plan(conversation(SHALLOW), tools) == turn


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        pytest.param("[[plan: ls path=.; answer Done.]]", "Done.", id="a script gives its answer"),
        pytest.param(
            ENDLESS,
            "I have read nothing yet, because no tools that read the documents were offered.",
            id="an exploration says how far it came",
        ),
        pytest.param(
            "Hello",
            "I can answer questions about the documents; put the term to look for in quotes.",
            id="anything else is explained",
        ),
    ],
)
def test_when_tools_may_not_be_called_there_is_an_answer(prompt, answer):
    assert plan(conversation(prompt), TOOLS, may_call=False) == Answer(answer)


def test_a_bad_script_is_refused():
    with pytest.raises(RequestError, match="tool 'rm' is not offered"):
        plan(conversation("[[plan: rm path=.]]"), TOOLS)


TREE = {
    ".": "docs/\nnotes/\n",
    "docs": "a.md\nb.md\n",
    "notes": "total 2\n-rw-r--r-- 1 root root 10 Jan  1 10:00 c.txt\n",
}


def explore(prompt, turns):
    """Follow an exploration over the tree above; gives the calls of each turn."""
    taken, said = [], []
    for _ in range(turns):
        turn = plan(conversation(prompt, *said), TOOLS)
        taken.append(turn.calls)
        said.append([(call, TREE.get(call.arguments["path"], "text")) for call in turn.calls])
    return taken


def test_an_exploration_never_ends_while_tools_are_offered():
    turns = explore(ENDLESS, 12)

    assert {len(calls) for calls in turns} <= {1, 2}
    calls = [(call.name, call.arguments_json) for turn in turns for call in turn]
    assert len(set(calls)) == len(calls), "a call was repeated"


def test_an_exploration_visits_what_it_finds():
    visited = {call.arguments["path"] for turn in explore(ENDLESS, 8) for call in turn}

    assert visited == {".", "docs", "notes", "docs/a.md", "docs/b.md", "notes/c.txt"}


def test_explorations_differ_and_each_can_be_repeated():
    other = ENDLESS.replace("folder", "corner of every folder")

    assert explore(ENDLESS, 6) == explore(ENDLESS, 6)
    assert explore(ENDLESS, 6) != explore(other, 6)


def test_an_exploration_that_is_stopped_says_how_far_it_came():
    chat = conversation(ENDLESS, [(ls(), TREE["."])], [(ls("docs"), TREE["docs"])])

    assert plan(chat, TOOLS, may_call=False) == Answer(
        "I have not finished. So far I have read 2 places: ., docs."
    )


def test_every_committed_exploration_is_one_and_no_question_is():
    endless, asked = (
        [json.loads(line)["text"] for line in (SCENARIOS / name).read_text("utf-8").splitlines()]
        for name in ("explorations.jsonl", "questions.jsonl")
    )
    first_calls = {
        text: tuple(call.name for call in plan(conversation(text), TOOLS).calls)
        for text in [*endless, *asked]
    }

    assert {first_calls[text] for text in endless} == {("ls", "find")}
    assert {first_calls[text] for text in asked} == {("grep", "find"), ("grep", "ls")}


def test_about_one_question_in_five_is_deep():
    asked = (SCENARIOS / "questions.jsonl").read_text("utf-8").splitlines()
    deep = sum(is_deep(json.loads(line)["text"]) for line in asked)

    assert deep / len(asked) == pytest.approx(0.2, abs=0.03)
