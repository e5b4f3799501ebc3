"""The state a scenario needs first, made through the target's own endpoints."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from harness.load.prepare import PreparationError, Target, clear_cache, prime
from harness.load.questions import Deck

RUN = "20260921-100000-cafe"


def whole(status: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}".encode()


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
        server.answer(question.text, whole("200 OK"))
    server.asked.clear()
    prime(deck)(Target(server.url, RUN))
    assert sorted(a.body["message"] for a in server.asked) == sorted(q.text for q in deck)
    assert {a.path for a in server.asked} == {"/api/chat"}
    assert {a.headers["baggage"] for a in server.asked} == {f"run={RUN},scenario=preparation"}
    assert all(
        re.fullmatch(r"00-\w{32}-\w{16}-01", a.headers["traceparent"]) for a in server.asked
    )


def test_a_question_that_cannot_be_primed_is_one_sentence_and_no_traceback(
    server: Any, deck: Deck, capfd: pytest.CaptureFixture[str]
) -> None:
    for question in deck:
        server.answer(question.text, whole("200 OK"))
    server.answer("q7", whole("502 Bad Gateway"))
    with pytest.raises(PreparationError) as refused:
        prime(deck)(Target(server.url, RUN))
    assert str(refused.value) == "priming the cache: /api/chat answered 502"
    assert capfd.readouterr() == ("", "")


def test_priming_a_target_that_is_away_names_it(away: str, deck: Deck) -> None:
    with pytest.raises(PreparationError) as refused:
        prime(deck)(Target(away, RUN))
    assert str(refused.value).startswith(f"priming the cache of {away} failed: ")
