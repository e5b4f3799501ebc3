"""An answer is sent part by part, cut short or withheld as declared."""

from __future__ import annotations

import asyncio
import time

import pytest

from harness.stack.llm.delivery import SILENCE, TimedAnswer, deliver, streamed, whole
from harness.stack.llm.latency import Pace
from harness.stack.llm.planner import Answer
from harness.stack.llm.tokens import Usage
from harness.stack.llm.wire import Reply

REPLY = Reply("chatcmpl-1", 1000, "gpt-4o", False, Answer("word " * 16), Usage(9, 0, 16))
PACE = Pace(first_token_seconds=0.5, seconds_per_token=0.25)


def delivered(answer, *, client_leaves=False):
    """Deliver to a client that waits or has left; gives the status and the messages sent."""
    sent = []

    async def receive():
        if not client_leaves:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    status = asyncio.run(deliver(answer, time.perf_counter(), receive, send))
    return status, sent


def test_parts_are_sent_in_order_and_the_last_says_so():
    headers = ((b"content-type", b"text/plain"),)
    answer = TimedAnswer(headers, ((0.0, b"one"), (0.0, b"two")))

    assert delivered(answer) == (
        200,
        [
            {"type": "http.response.start", "status": 200, "headers": headers},
            {"type": "http.response.body", "body": b"one", "more_body": True},
            {"type": "http.response.body", "body": b"two", "more_body": False},
        ],
    )


def test_an_answer_that_is_cut_never_says_that_it_is_over():
    _, sent = delivered(TimedAnswer((), ((0.0, b"one"),), complete=False))

    assert sent[-1] == {"type": "http.response.body", "body": b"one", "more_body": True}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(TimedAnswer((), ((3600.0, b"late"),)), id="before an answer in an hour"),
        pytest.param(SILENCE, id="before an answer that never comes"),
    ],
)
def test_a_client_that_left_is_sent_nothing(answer):
    assert delivered(answer, client_leaves=True) == (499, [])


def test_a_whole_answer_comes_at_the_end_of_the_generation_time():
    answer = whole(REPLY, PACE, with_usage=True, broken=False)
    ((instant, body),) = answer.parts

    assert instant == 0.5 + 16 * 0.25
    assert (b"content-length", str(len(body)).encode()) in answer.headers
    assert answer.complete


def test_a_broken_whole_answer_promises_more_than_it_sends():
    full = whole(REPLY, PACE, with_usage=True, broken=False)
    half = whole(REPLY, PACE, with_usage=True, broken=True)

    assert half.headers == full.headers
    assert half.parts[0][1] == full.parts[0][1][: len(full.parts[0][1]) // 2]
    assert not half.complete


def test_a_stream_begins_with_the_first_token_and_ends_with_the_last():
    answer = streamed(REPLY, PACE, with_usage=True, broken=False)
    instants = [instant for instant, _ in answer.parts]

    assert (instants[0], instants[-1]) == (0.5, 4.5)
    assert instants == sorted(instants)
    assert answer.parts[-1][1].endswith(b"data: [DONE]\n\n")


def test_a_broken_stream_has_the_first_half_of_the_pieces():
    full = streamed(REPLY, PACE, with_usage=True, broken=False)
    half = streamed(REPLY, PACE, with_usage=True, broken=True)

    assert half.parts == full.parts[: len(full.parts) // 2]
    assert not half.complete
