"""What the LLM is told is bounded, and fit for its API whatever it wrote itself."""

from __future__ import annotations

from typing import Any

import pytest

from target_app.agent.conversation import (
    CONVERSATION_CHARACTERS,
    LEFT_OUT,
    MAX_CALLS,
    MOST_CALLS,
    TURN_CHARACTERS,
    Conversation,
    take_calls,
    told_text,
)
from target_app.agent.messages import Reply, ToolCall, ToolResult
from target_app.sandbox.result import CommandResult

LS = ToolCall("1", "ls", "{}")


def succeeded(
    stdout: str, *, return_code: int = 0, note: str = "", call: ToolCall = LS
) -> ToolResult:
    return ToolResult(call, CommandResult(True, stdout, note, return_code, call.name), "success")


def failed(reason: str) -> ToolResult:
    return ToolResult(LS, CommandResult(False, "", reason, 1, "ls", reason), "error")


def asked(*results: ToolResult, content: str = "") -> Reply:
    return Reply(content, tuple(result.call for result in results), None, "m")


def characters(messages: list[dict[str, Any]]) -> int:
    return sum(
        len(message["content"] or "")
        + sum(len(call["function"]["arguments"]) for call in message.get("tool_calls", ()))
        for message in messages
    )


@pytest.mark.parametrize(
    ("result", "told"),
    [
        pytest.param(succeeded("a\nb"), "a\nb", id="output as it is"),
        pytest.param(succeeded(""), "(empty)", id="an empty file"),
        pytest.param(
            succeeded("", return_code=1), "(no output: nothing was found)", id="no match"
        ),
        pytest.param(
            succeeded("a", note="output cut at 1 bytes"), "a\n[output cut at 1 bytes]", id="a note"
        ),
        pytest.param(
            failed("a: no such file or folder"), "Error: a: no such file or folder", id="a failure"
        ),
        pytest.param(
            succeeded("\n".join(["x"] * 201)),
            "\n".join(["x"] * 200) + "\n[cut: the output has 201 lines and 401 characters; "
            "narrow the search or use head and tail]",
            id="a line too many",
        ),
        pytest.param(
            succeeded("x" * 20_001),
            "x" * 20_000 + "\n[cut: the output has 1 lines and 20001 characters; "
            "narrow the search or use head and tail]",
            id="a character too many",
        ),
        pytest.param(succeeded("\n".join(["x"] * 200)), "\n".join(["x"] * 200), id="just fits"),
    ],
)
def test_what_the_llm_is_told_of_a_result(result: ToolResult, told: str) -> None:
    assert told_text(result) == told


@pytest.mark.parametrize(
    ("ids", "taken"),
    [
        pytest.param(["a", "b"], ["a", "b"], id="as they are"),
        pytest.param(["a", "a", "a"], ["a", "a-1", "a-2"], id="the same"),
        pytest.param(["", ""], ["call-0", "call-1"], id="none"),
        pytest.param(["a-1", "a", "a"], ["a-1", "a", "a-2"], id="one that looks made"),
        pytest.param(["a-2", "a", "a"], ["a-2", "a", "a-2-"], id="one that would be made"),
        pytest.param(["x" * 100], ["x" * 64], id="a long one"),
    ],
)
def test_each_call_has_an_id_of_its_own(ids: list[str], taken: list[str]) -> None:
    calls = take_calls([ToolCall(given, "ls", "{}") for given in ids], set())

    assert [call.id for call in calls] == taken
    assert {call.refusal for call in calls} == {""}


def test_ids_of_earlier_turns_are_taken() -> None:
    ids: set[str] = set()
    take_calls([LS], ids)

    assert [call.id for call in take_calls([LS], ids)] == ["1-1"]


def test_calls_beyond_the_bound_are_refused() -> None:
    calls = take_calls([ToolCall(str(n), "ls", "{}") for n in range(MAX_CALLS + 2)], set())

    assert [call.refusal for call in calls[MAX_CALLS - 1 :]] == [
        "",
        "only the first 32 tool calls of a turn are run; ask again",
        "only the first 32 tool calls of a turn are run; ask again",
    ]


def test_a_megabyte_of_arguments_is_refused_and_not_carried_on() -> None:
    (call,) = take_calls([ToolCall("1", "n" * 1_000_000, "x" * 1_000_000)], set())

    assert call.refusal == "the arguments have 1000000 characters; at most 10000 are taken"
    assert (len(call.name), len(call.arguments)) == (64, 10_000)


def test_the_llm_hears_its_own_calls_in_a_form_its_api_takes() -> None:
    calls = take_calls(
        [
            ToolCall("1", "", "null"),
            ToolCall("2", "../grep", "not JSON"),
            ToolCall("3", "cat", "x" * 1_000_000),
        ],
        set(),
    )
    conversation = Conversation([{"role": "user", "content": "q"}])
    results = [succeeded("out", call=call) for call in calls]
    conversation.add_turn(asked(*results, content="Let me see."), results)

    assert conversation.messages()[1] == {
        "role": "assistant",
        "content": "Let me see.",
        "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "unnamed", "arguments": "null"}},
            {
                "id": "2",
                "type": "function",
                "function": {"name": "___grep", "arguments": "not JSON"},
            },
            {"id": "3", "type": "function", "function": {"name": "cat", "arguments": "{}"}},
        ],
    }


def test_the_results_of_one_turn_share_its_bound() -> None:
    conversation = Conversation([])
    results = [succeeded("x" * 100_000) for _ in range(MAX_CALLS)]
    conversation.add_turn(asked(*results), results)

    sizes = {len(message["content"]) for message in conversation.messages()[1:]}
    assert len(sizes) == 1
    assert TURN_CHARACTERS < characters(conversation.messages()) < TURN_CHARACTERS + 32 * 200


def test_the_oldest_results_are_left_out_when_the_conversation_grows_long() -> None:
    question = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    conversation = Conversation(question)
    for turn in range(50):
        results = [
            succeeded("x" * 20_000, call=ToolCall(f"{turn}-{n}", "ls", " " * 10_000))
            for n in range(2)
        ]
        conversation.add_turn(asked(*results), results)
    messages = conversation.messages()

    assert characters(messages) < CONVERSATION_CHARACTERS + 61_000
    assert messages[:2] == question
    assert messages[2]["tool_calls"][0]["function"] == {"name": "ls", "arguments": "{}"}
    assert messages[3] == {"role": "tool", "tool_call_id": "0-0", "content": LEFT_OUT}
    # No more than must be: several turns before the last one are whole.
    assert [message["content"] for message in messages[-15:] if message["role"] == "tool"] == (
        ["x" * 20_000] * 10
    )
    assert len(messages) == 2 + 50 * 3


def test_the_newest_turn_is_whole_however_large_it_is() -> None:
    conversation = Conversation([])
    results = [
        succeeded("x" * 20_000, call=ToolCall(str(n), "ls", " " * 10_000))
        for n in range(MAX_CALLS)
    ]
    conversation.add_turn(asked(*results), results)
    messages = conversation.messages()

    assert characters(messages) > CONVERSATION_CHARACTERS
    assert LEFT_OUT not in [message["content"] for message in messages]


def test_what_was_asked_before_stays_what_it_was() -> None:
    conversation = Conversation([])
    results = [succeeded("x" * 20_000)]
    conversation.add_turn(asked(*results), results)
    before = conversation.messages()
    for _ in range(50):
        conversation.add_turn(asked(*results), results)

    assert len(before) == 2
    assert before[1]["content"] == "x" * 20_000
    assert conversation.messages()[1]["content"] == LEFT_OUT


def test_calls_far_too_many_are_dropped() -> None:
    assert len(take_calls([ToolCall("", "ls", "{}")] * 10_000, set())) == MOST_CALLS


def test_half_a_character_is_replaced() -> None:
    assert take_calls([ToolCall("\ud800", "ls\ud800", '"\ud800"')], set()) == (
        ToolCall("?", "ls?", '"?"'),
    )
