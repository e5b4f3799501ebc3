"""How AgentUser names the end of every request, against a server that answers to the byte."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

HUGE_BYTES = 100 * 1024**2
ANSWER = json.dumps(
    {
        "response": "It took 42 s.",
        "session_id": "s-2",
        "iterations": 2,
        "tool_calls": [{"name": "grep"}],
        "usage": {"input_tokens": 900, "output_tokens": 30},
    }
)
TOKEN = 'event: token\ndata: {"content": "It took 42 s."}\n\n'
USAGE = 'event: usage\ndata: {"input_tokens": 900, "output_tokens": 30}\n\n'
DONE = 'event: done\ndata: {"session_id": "s-2", "iterations": 2, "tool_calls_count": 1}\n\n'
ERROR = 'event: error\ndata: {"message": "no LLM"}\n\n'


def whole(
    body: str, status: str = "200 OK", length: int | None = None, headers: str = ""
) -> bytes:
    size = len(body) if length is None else length
    head = f"HTTP/1.1 {status}\r\nConnection: close\r\n{headers}Content-Length: {size}\r\n\r\n"
    return f"{head}{body}".encode()


def chunked(*events: str, ended: bool = True, kind: str = "") -> bytes:
    head = f"HTTP/1.1 200 OK\r\nConnection: close\r\n{kind}Transfer-Encoding: chunked\r\n\r\n"
    parts = "".join(f"{len(e):x}\r\n{e}\r\n" for e in events)
    return (head + parts + ("0\r\n\r\n" if ended else "")).encode()


def huge(head: str, body: bytes) -> bytes:
    """Write 100 MB of body after these headers."""
    head = f"HTTP/1.1 200 OK\r\nConnection: close\r\n{head}\r\n\r\n"
    return head.encode() + body * (HUGE_BYTES // len(body))


@dataclass(frozen=True)
class Case:
    """One request: what it is answered with, and what must be kept of it."""

    raw: bytes
    outcome: str
    status: int | None
    detail: str = ""
    hangs: bool = False
    stream: bool = False
    answer: str | None = None
    same: str | None = None
    killed: bool = False


CASES = {
    "a whole answer": Case(whole(ANSWER), "ok", 200),
    "the right answer": Case(whole(ANSWER), "ok", 200, answer="42 s"),
    "another answer than the right one": Case(
        whole(ANSWER), "bad_answer", 200, "the answer lacks '43 s'", answer="43 s"
    ),
    "the answer of the cold cache": Case(whole(ANSWER), "ok", 200, same="It took 42 s."),
    "another answer than that of the cold cache": Case(
        whole(ANSWER), "bad_answer", 200,
        "the answer is not the one given when the cache was cold", same="It took 42 s",
    ),
    "not JSON": Case(whole("<html>"), "bad_answer", 200, "not JSON: "),
    "JSON of a hundred thousand levels": Case(
        whole("[" * 100_000), "bad_answer", 200, "not JSON: "
    ),
    "an answer packed unasked": Case(
        whole("x", headers="Content-Encoding: gzip\r\n"), "bad_answer", 200,
        "the answer is packed (gzip), which was not asked for",
    ),
    "100 MB, and the length is told": Case(
        huge(f"Content-Length: {HUGE_BYTES}", b"[" * 1024), "bad_answer", 200,
        "the answer is larger than 0.25 MiB",
    ),
    "100 MB, and no length is told": Case(
        huge("X: y", b"[" * 1024), "bad_answer", 200, "the answer is larger than 0.25 MiB"
    ),
    "a stream of 100 MB, all one line": Case(
        huge("X: y", b"data: " * 1024), "bad_answer", 200, "the answer is larger than 0.25 MiB",
        stream=True,
    ),
    "a stream of 100 MB, all comments": Case(
        huge("X: y", b": still here\n\n" * 1024), "bad_answer", 200,
        "the answer is larger than 0.25 MiB", stream=True,
    ),
    "headers without an end": Case(
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000, "broken_stream", None,
        "not HTTP, before an answer came: ",
    ),
    "an error of 100 MB": Case(
        huge("X: y", b"no" * 1024).replace(b"200 OK", b"500 Internal Server Error"),
        "http_error", 500, "HTTP 500",
    ),
    "an error whose body never comes": Case(
        whole("", "500 Internal Server Error", length=10), "http_error", 500, "HTTP 500",
        hangs=True,
    ),
    "somewhere else": Case(
        whole("", "307 Temporary Redirect", headers="Location: https://other/\r\n"),
        "bad_answer", 307, "HTTP 307: it points to https://other/; redirects are not followed",
    ),
    "two answers at once": Case(
        whole(ANSWER).replace(b"close", b"keep-alive") * 2, "broken_stream", None,
        "not HTTP, before an answer came: ",
    ),
    "an empty body": Case(whole(""), "bad_answer", 200, "not JSON: "),
    "an internal error": Case(
        whole("{}", "500 Internal Server Error"), "http_error", 500, "HTTP 500"
    ),
    "too many requests": Case(
        whole("{}", "429 Too Many Requests"), "http_error", 429, "HTTP 429"
    ),
    "an error instead of a stream": Case(
        whole("{}", "503 Service Unavailable"), "http_error", 503, "HTTP 503", stream=True
    ),
    "no answer, and the connection is closed": Case(
        b"", "broken_stream", None, "the connection was closed before an answer came"
    ),
    "no answer, and the connection stays open": Case(
        b"", "timeout", None, "no whole answer within 0.5 s", hangs=True
    ),
    "half a header, then the end": Case(
        b"HTTP/1.1 200 OK\r\nContent-", "broken_stream", None, "not HTTP, before an answer came: "
    ),
    "half a body, then the end": Case(
        whole("{}", length=100), "broken_stream", 200,
        "the connection was closed within the answer",
    ),
    "half a body, then silence": Case(
        whole("{}", length=100), "timeout", 200, "no whole answer within 0.5 s", hangs=True
    ),
    "not HTTP at all": Case(
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "broken_stream", None,
        "not HTTP, before an answer came: ",
    ),
    "a whole stream": Case(chunked(TOKEN, USAGE, DONE), "ok", 200, stream=True),
    "the right answer, streamed": Case(
        chunked(TOKEN, USAGE, DONE), "ok", 200, stream=True, answer="42 s"
    ),
    "another answer, streamed": Case(
        chunked(TOKEN, DONE), "bad_answer", 200, "the answer lacks '43 s'", stream=True,
        answer="43 s",
    ),
    "a stream that ends without its last event": Case(
        chunked(TOKEN), "broken_stream", 200, "the stream ended without its done event",
        stream=True,
    ),
    "a stream cut off between two chunks": Case(
        chunked(TOKEN, ended=False), "broken_stream", 200,
        "the connection was closed within the answer", stream=True,
    ),
    "a stream that falls silent": Case(
        chunked(TOKEN, ended=False), "broken_stream", 200, "stalled: no event for 0.2 s",
        stream=True, hangs=True,
    ),
    "a stream whose end is not told after its last event": Case(
        chunked(TOKEN, DONE, ended=False), "ok", 200, stream=True, hangs=True
    ),
    "a page instead of a stream": Case(
        chunked("<html>", kind="Content-Type: text/html\r\n"), "broken_stream", 200,
        "the stream ended without its done event; its content type is text/html", stream=True,
    ),
    "a stream of junk": Case(
        chunked("\x00\x01\x7f" * 1000), "broken_stream", 200,
        "the stream ended without its done event", stream=True,
    ),
    "a stream whose data is not JSON": Case(
        chunked("event: token\ndata: {\n\n"), "bad_answer", 200, "not JSON: ", stream=True
    ),
    "a stream that reports an error": Case(
        chunked(TOKEN, ERROR), "bad_answer", 200, "error event: no LLM", stream=True
    ),
    "the load ends before the answer": Case(
        b"", "cut_off", None, "the load ended", hangs=True, killed=True
    ),
    "the load ends within a stream": Case(
        chunked(TOKEN, ended=False), "cut_off", 200, "the load ended", stream=True, hangs=True,
        killed=True,
    ),
}  # fmt: skip


def asked(cases: dict[str, Case]) -> str:
    return json.dumps(
        [
            {
                "message": m,
                "stream": c.stream,
                "answer": c.answer,
                "same": c.same,
                "killed": c.killed,
            }
            for m, c in cases.items()
        ]
    )


@pytest.fixture(scope="module")
def kept(server: Any, in_child: Callable[..., Any]) -> dict[str, Any]:
    """All cases asked, one after the other, by one process."""
    for message, case in CASES.items():
        server.answer(message, case.raw, hangs=case.hangs)
    return in_child("child_outcomes.py", server.url, asked(CASES))


def sample_of(kept: dict[str, Any], message: str) -> dict[str, Any]:
    sample: dict[str, Any] = kept["samples"][list(CASES).index(message)]
    return sample


@pytest.mark.parametrize("message", [pytest.param(m, id=m) for m in CASES])
def test_the_end_of_a_request_is_named(kept: dict[str, Any], message: str) -> None:
    case, sample = CASES[message], sample_of(kept, message)
    assert (sample["outcome"], sample["http_status"]) == (case.outcome, case.status)
    assert sample["detail"].startswith(case.detail)
    if case.outcome == "ok":
        assert sample["detail"] == ""


@pytest.mark.parametrize("message", [pytest.param(m, id=m) for m in CASES])
def test_only_a_right_answer_is_given_to_the_scenario(kept: dict[str, Any], message: str) -> None:
    right = "It took 42 s." if CASES[message].outcome == "ok" else None
    assert kept["answers"][message] == right


def test_every_request_leaves_one_row_and_locust_counts_all_that_ended(
    kept: dict[str, Any],
) -> None:
    assert len(kept["samples"]) == len(CASES)
    assert kept["in_flight"] == 0
    ended = [c for c in CASES.values() if c.outcome != "cut_off"]
    good = [c for c in ended if c.outcome == "ok"]
    assert kept["locust"] == [len(ended), len(ended) - len(good)]


def test_no_request_is_sent_twice(kept: dict[str, Any], server: Any) -> None:
    assert [a.body["message"] for a in server.asked] == list(CASES)
    assert len(kept["samples"]) == len(CASES)


def test_the_instants_of_a_request_are_in_order(kept: dict[str, Any]) -> None:
    for s in kept["samples"]:
        assert s["intended_start"] <= s["start"] <= s["end"]


def test_what_a_whole_answer_says_of_itself_is_kept(kept: dict[str, Any]) -> None:
    sample = sample_of(kept, "a whole answer")
    told = ("input_tokens", "output_tokens", "llm_calls", "tool_calls", "first_token")
    assert {name: sample[name] for name in told} == {
        "input_tokens": 900,
        "output_tokens": 30,
        "llm_calls": 2,
        "tool_calls": 1,
        "first_token": None,
    }
    assert (sample["scenario"], sample["operation"]) == ("asker", "chat")


def test_the_first_token_of_a_stream_is_timed_between_start_and_end(kept: dict[str, Any]) -> None:
    sample = sample_of(kept, "a whole stream")
    assert sample["start"] <= sample["first_token"] <= sample["end"]
    assert sample["operation"] == "chat_stream"
    assert (sample["input_tokens"], sample["llm_calls"], sample["tool_calls"]) == (900, 2, 1)


def test_the_target_is_told_whose_request_it_is(kept: dict[str, Any], server: Any) -> None:
    for request, sample in zip(server.asked, kept["samples"], strict=True):
        assert re.fullmatch(
            rf"00-{sample['trace_id']}-[0-9a-f]{{16}}-01", request.headers["traceparent"]
        )
        assert request.headers["baggage"] == "run=20260921-100000-cafe,scenario=asker"
        assert "authorization" not in request.headers


def test_whole_and_streamed_chats_go_to_their_own_paths(kept: dict[str, Any], server: Any) -> None:
    paths = [(a.method, a.path, a.body["session_id"]) for a in server.asked]
    assert paths == [
        ("POST", "/api/chat/stream" if c.stream else "/api/chat", "s-1") for c in CASES.values()
    ]
    assert len(kept["samples"]) == len(paths)


@pytest.mark.parametrize("message", [pytest.param(m, id=m) for m in CASES])
def test_a_good_answer_is_the_next_turn_of_its_conversation(
    kept: dict[str, Any], message: str
) -> None:
    good = CASES[message].outcome == "ok"
    turns = [[message, "It took 42 s."]] if good else []
    assert kept["conversations"][message] == ["s-2" if good else "s-1", turns]


def test_of_an_answer_that_is_too_large_the_client_keeps_next_to_nothing(
    kept: dict[str, Any],
) -> None:
    assert kept["grown_bytes"] < HUGE_BYTES / 4


def test_what_a_broken_stream_brought_before_is_kept(kept: dict[str, Any]) -> None:
    stalled = sample_of(kept, "a stream that falls silent")
    assert (stalled["events"], stalled["longest_gap"]) == (1, None)
    assert stalled["start"] <= stalled["first_token"] <= stalled["end"] - 0.2
    assert stalled["output_tokens"] is None


def test_a_whole_answer_has_no_events(kept: dict[str, Any]) -> None:
    sample = sample_of(kept, "a whole answer")
    assert (sample["events"], sample["longest_gap"], sample["first_token"]) == (None, None, None)
