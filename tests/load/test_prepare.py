"""The state a scenario needs first, made through the target's own endpoints."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from harness.load.apis.openai_chat import OpenAIChat
from harness.load.limits import Limits, cost_by
from harness.load.prepare import PreparationError, Target, clear_cache, prime
from harness.load.questions import Deck
from harness.model import HarnessError
from harness.prices import ModelPrice, PriceBook

RUN = "20260921-100000-cafe"


def whole(status: str, body: str = "{}") -> bytes:
    head = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


def said(text: str) -> bytes:
    return whole("200 OK", json.dumps({"response": text}))


@pytest.fixture
def deck(tmp_path: Path) -> Deck:
    path = tmp_path / "deck.jsonl"
    path.write_text("".join(json.dumps({"text": f"q{i}"}) + "\n" for i in range(12)))
    return Deck(path)


@pytest.fixture
def away() -> Any:
    """An address that is taken, but where nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unused.getsockname()[1]}"


def test_the_cache_is_cleared_by_the_management_endpoint(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TARGET_TOKEN", "let-me-in")
    server.answer("DELETE /api/cache", whole("200 OK"))
    server.asked.clear()
    clear_cache(Target(server.url, RUN))
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("DELETE", "/api/cache")
    assert asked.headers["authorization"] == "Bearer let-me-in"


def test_an_app_without_the_endpoint_is_told_how_to_have_it(server: Any) -> None:
    server.answer("DELETE /api/cache", whole("404 Not Found"))
    with pytest.raises(PreparationError) as refused:
        clear_cache(Target(server.url, RUN))
    assert str(refused.value) == (
        f"{server.url}/api/cache is not there: start the app with CACHE_MANAGEMENT_ENABLED=true, "
        "so that scenarios can begin with an empty cache"
    )


@pytest.mark.parametrize("status", ["403 Forbidden", "500 Internal Server Error"])
def test_a_cache_that_cannot_be_cleared_is_said(server: Any, status: str) -> None:
    server.answer("DELETE /api/cache", whole(status))
    with pytest.raises(PreparationError) as refused:
        clear_cache(Target(server.url, RUN))
    assert str(refused.value) == f"clearing the cache was answered with {status[:3]}"


def test_a_target_that_is_away_is_named(away: str) -> None:
    with pytest.raises(PreparationError) as refused:
        clear_cache(Target(away, RUN))
    assert str(refused.value).startswith(f"cannot clear the cache of {away}: ")


def test_priming_asks_every_question_once_and_not_in_the_scenarios_name(
    server: Any, deck: Deck
) -> None:
    for question in deck:
        server.answer(question.text, said("yes"))
    server.asked.clear()
    prime(deck)(Target(server.url, RUN))
    assert sorted(a.body["message"] for a in server.asked) == sorted(q.text for q in deck)
    assert {a.path for a in server.asked} == {"/api/chat"}
    assert {a.headers["baggage"] for a in server.asked} == {f"run={RUN},scenario=preparation"}
    assert all(
        re.fullmatch(r"00-\w{32}-\w{16}-01", a.headers["traceparent"]) for a in server.asked
    )


def test_priming_keeps_the_answer_to_every_question(server: Any, deck: Deck) -> None:
    for question in deck:
        server.answer(question.text, said(f"the answer to {question.text}"))
    target = Target(server.url, RUN, answers={"of another deck": "stays"})
    prime(deck)(target)
    assert target.answers == {
        "of another deck": "stays",
        **{q.text: f"the answer to {q.text}" for q in deck},
    }


def test_priming_speaks_the_api_of_the_scenario(
    server: Any, deck: Deck, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TARGET_TOKEN", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-nobody")
    body = json.dumps({"choices": [{"message": {"content": "four"}, "finish_reason": "stop"}]})
    server.answer("POST /v1/chat/completions", whole("200 OK", body))
    server.asked.clear()
    target = Target(server.url, RUN, OpenAIChat("gpt-4o-mini"))
    prime(deck)(target)
    assert {a.path for a in server.asked} == {"/v1/chat/completions"}
    asked = sorted(a.body["messages"][-1]["content"] for a in server.asked)
    assert asked == sorted(q.text for q in deck)
    assert {a.headers["authorization"] for a in server.asked} == {"Bearer sk-of-nobody"}
    assert target.answers == {q.text: "four" for q in deck}


def test_headers_that_cannot_be_made_are_said_before_anything_is_asked(
    server: Any, deck: Deck, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TARGET_HEADERS", "no header")
    server.asked.clear()
    with pytest.raises(HarnessError) as refused:
        prime(deck)(Target(server.url, RUN))
    assert str(refused.value) == "TARGET_HEADERS, line 1: not a header; write it as Name: value"
    assert server.asked == []


def test_an_answer_that_is_none_is_not_kept(server: Any, deck: Deck) -> None:
    for question in deck:
        server.answer(question.text, said("yes"))
    server.answer("q3", whole("200 OK", '{"reply": 1}'))
    target = Target(server.url, RUN)
    with pytest.raises(PreparationError) as refused:
        prime(deck)(target)
    assert str(refused.value) == (
        "priming the cache: the answer of /api/chat cannot be read: the answer has no text in "
        "its field 'response'"
    )
    assert "q3" not in target.answers


def test_a_question_that_cannot_be_primed_is_one_sentence_and_no_traceback(
    server: Any, deck: Deck, capfd: pytest.CaptureFixture[str]
) -> None:
    for question in deck:
        server.answer(question.text, said("yes"))
    server.answer("q7", whole("502 Bad Gateway"))
    with pytest.raises(PreparationError) as refused:
        prime(deck)(Target(server.url, RUN))
    assert str(refused.value) == "priming the cache: /api/chat answered 502"
    assert capfd.readouterr() == ("", "")


def test_priming_a_target_that_is_away_names_it(away: str, deck: Deck) -> None:
    with pytest.raises(PreparationError) as refused:
        prime(deck)(Target(away, RUN))
    assert str(refused.value).startswith(f"priming the cache of {away} failed: ")


def priced(text: str, model: str = "") -> bytes:
    usage = {"input_tokens": 1, "output_tokens": 1}
    return whole("200 OK", json.dumps({"response": text, "usage": usage, "model": model}))


def limits(max_requests: int | None = None, budget_usd: float | None = None) -> Limits:
    """Five cents an answer, fifty by the dear model."""
    book = PriceBook((
        ModelPrice("cheap", "^cheap$", {"input": 0.01, "output": 0.04}),
        ModelPrice("dear", "^dear$", {"input": 0.1, "output": 0.4}),
    ))  # fmt: skip
    return Limits(max_requests, budget_usd, cost_by(book, {"cached": "cheap"}))


def test_priming_counts_as_requests_and_is_paid_for(server: Any, deck: Deck) -> None:
    for question in deck:
        server.answer(question.text, priced("yes"))
    server.answer("q3", priced("yes", "dear"))
    target = Target(server.url, RUN, scenario="cached", limits=limits(13, 10.0))
    prime(deck)(target)
    assert (target.limits.sent, target.limits.left) == (12, 1)
    assert target.limits.spent_usd == pytest.approx(11 * 0.05 + 0.50)


def test_a_deck_that_leaves_no_request_to_the_load_is_refused_unasked(
    server: Any, deck: Deck
) -> None:
    server.asked.clear()
    with pytest.raises(PreparationError) as refused:
        prime(deck)(Target(server.url, RUN, scenario="cached", limits=limits(12)))
    assert str(refused.value) == (
        "priming the cache asks 12 questions, and --max-requests has 12 left for them and the "
        "load; allow more, or give the deck that is primed a smaller count="
    )
    assert server.asked == []


def test_priming_stops_at_the_budget(server: Any, deck: Deck) -> None:
    for question in deck:
        server.answer(question.text, priced("yes"))
    server.asked.clear()
    target = Target(server.url, RUN, scenario="cached", limits=limits(None, 0.27))
    with pytest.raises(PreparationError) as refused:
        prime(deck)(target)
    assert str(refused.value) == (
        "priming the cache had to stop: --budget-usd 0.27 was reached; allow more, or give the "
        "deck that is primed a smaller count="
    )
    assert len(server.asked) == 5
    assert target.limits.spent_usd == pytest.approx(0.25)


def test_priming_with_a_budget_needs_answers_that_tell_what_they_cost(
    server: Any, deck: Deck
) -> None:
    for question in deck:
        server.answer(question.text, said("yes"))
    server.asked.clear()
    with pytest.raises(PreparationError, match="answers do not tell what they cost"):
        prime(deck)(Target(server.url, RUN, scenario="cached", limits=limits(None, 0.27)))
    assert len(server.asked) == 1
