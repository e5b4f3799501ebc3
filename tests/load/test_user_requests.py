"""What users send besides questions, how often, and with which headers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

SECRET = "let-me-in-123"


def whole(status: str, body: str = "{}", headers: str = "") -> bytes:
    return (
        f"HTTP/1.1 {status}\r\nConnection: close\r\n{headers}Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def chat(message: str, **options: Any) -> list[Any]:
    return ["chat", [message], options]


def request(method: str, path: str, **options: Any) -> list[Any]:
    return ["request", [method, path], {"operation": "documents", **options}]


ANSWERS = {
    "GET /documents/a%20b": whole("200 OK", '{"id": 1}', "X-Kind: Note\r\n"),
    "DELETE /documents/1": whole("404 Not Found", '{"detail": "gone"}'),
    "PUT /documents/1": whole("204 No Content", ""),
    "GET /documents/2": whole("302 Found", "", "Location: /documents/3\r\n"),
    "kept": b"HTTP/1.1 201 Created\r\nContent-Length: 17\r\n\r\n" + b'{"response": "1"}',
    "first": whole("200 OK", '{"response": "1", "session_id": "s-1"}'),
    "second": whole("200 OK", '{"response": "2", "session_id": "s-1"}'),
    "a count": whole("200 OK", '{"response": "1", "misread": {"output_tokens": "5"}}'),
    "a huge count": whole(
        "200 OK", '{"response": "1", "misread": {"tool_calls": 9007199254740992}}'
    ),
    "a model": whole("200 OK", '{"response": "1", "misread": {"model": ["m"]}}'),
    "a text": whole("200 OK", '{"response": "1", "misread": {"text": null}}'),
    "POST /ask": whole("200 OK", '{"text": "42 s", "id": 7, "model": "known-model-7"}'),
    "POST /v1/chat/completions": whole("200 OK", f'{{"error": {{"message": "bad {SECRET}"}}}}'),
}
USERS: dict[str, dict[str, Any]] = {
    "documents": {
        "calls": [
            request("GET", "/documents/a b", name="/documents/[id]"),
            request("DELETE", "/documents/1", expect=[404]),
            request("DELETE", "/documents/1"),
            request("PUT", "/documents/1", json={"text": "ü"}, expect=[204], traced=True),
            request("GET", "/documents/2"),
        ]
    },
    "of a limited load": {
        "may_send": 2,
        "calls": [chat("first"), chat("second"), chat("first"), chat("second")],
    },
    "in conversation": {
        "calls": [
            chat("first", in_conversation=True),
            ["think", [0.25], {}],
            chat("second", in_conversation=True),
        ]
    },
    "of a server that closes idle connections": {
        "calls": [chat("kept"), ["think", [0.1], {}], chat("kept")],
    },
    "with headers": {
        "environment": {
            "TARGET_TOKEN": SECRET, "TARGET_HEADERS": "X-Tenant: blue\n\nAccept-Language:de",
        },
        "calls": [
            chat("first"),
            request("GET", "/documents/2", headers={"X-Own": "1", "x-tenant": "red"}),
        ],
    },
    "with headers that are none": {
        "environment": {"TARGET_HEADERS": f"X-Tenant: blue\n{SECRET}"}, "calls": [chat("first")],
    },
    "with a header of its own that is none": {
        "calls": [request("GET", "/documents/2", headers={"X-Own": "1\r\nX-Other: 2"})],
    },
    "of a JSON API": {"api": "http", "calls": [chat("q 1", in_conversation=True)] * 2},
    "of an OpenAI endpoint that repeats the key": {
        "api": "openai", "environment": {"OPENAI_API_KEY": SECRET}, "calls": [chat("How?")],
    },
    "of an API that misreads": {
        "api": "misread",
        "calls": [chat("a count"), chat("a huge count"), chat("a model"), chat("a text"), chat("first")],
    },
    "who is told the model": {"api": "http", "calls": [chat("q 2"), chat("q 2")]},
    "who waits for the first price": {"price_awaited": True, "calls": [chat("first")]},
    "who waits for the first price in a journey": {
        "price_awaited": True, "calls": [["journey", [1.0], {}]],
    },
    "who asks no LLM while the first price is awaited": {
        "price_awaited": True, "calls": [request("PUT", "/documents/1", expect=[204])],
    },
    "out of questions": {"task": "out_of_questions", "calls": [["journey", [1.0], {}]]},
    "turned away": {"task": "insatiable", "may_send": 2, "calls": [["journey", [1.0], {}]]},
    "due at the very beginning": {"calls": [["journey", [0.0], {}], chat("second")]},
    "of a stream nobody declared": {"api": "http", "calls": [chat("q", stream=True)]},
    # The last one: what the server saw is told apart by the samples.
    "whose sample is not kept": {"not_kept": True, "calls": [chat("first")]},
}  # fmt: skip


WRONG: dict[str, dict[str, Any]] = {
    "MyApp.api is 'openai', not a chat API; "
    "write one such as OpenAIChat('gpt-4o-mini') or Http(...)": {"api": "openai"},
    "MyApp.patience is 0; give more than 0": {"patience": 0},
    "MyApp.stall is -1; give more than 0": {"stall": -1},
    "MyApp.stall is True; give a number": {"stall": True},
    "MyApp.largest_answer is '16'; give a whole number": {"largest_answer": "16"},
    "MyApp.largest_answer is 1.5; give a whole number": {"largest_answer": 1.5},
    "MyApp.ceiling is None; give a whole number": {"ceiling": None},
    "MyApp.ceiling is 1.5; give a whole number": {"ceiling": 1.5},
    "MyApp.ceiling is True; give a whole number": {"ceiling": True},
    "MyApp.ceiling is 0; give more than 0": {"ceiling": 0},
    "": {"patience": 0.5, "stall": 1, "ceiling": 10},
}


@pytest.fixture(scope="module")
def told(server: Any, in_child: Callable[..., Any]) -> dict[str, Any]:
    """All users, one after the other, and all wrong scenarios, from one process."""
    for key, raw in ANSWERS.items():
        server.answer(key, raw)
    users = [{"url": server.url, **user} for user in USERS.values()]
    return dict(in_child("child_requests.py", json.dumps(users), json.dumps(list(WRONG.values()))))


@pytest.fixture(scope="module")
def made(server: Any, told: dict[str, Any]) -> dict[str, Any]:
    """What was kept of each user, and what the server saw of it."""
    asked = iter(server.asked)
    return {
        name: each | {"asked": [next(asked) for _ in each["samples"]]}
        for name, each in zip(USERS, told["made"], strict=True)
    }


def test_a_request_ends_as_its_status_was_expected(made: dict[str, Any]) -> None:
    kept = made["documents"]["samples"]
    assert [(s["outcome"], s["http_status"], s["detail"]) for s in kept] == [
        ("ok", 200, ""),
        ("ok", 404, ""),
        ("http_error", 404, "HTTP 404"),
        ("ok", 204, ""),
        ("bad_answer", 302, "HTTP 302: it points to /documents/3; redirects are not followed"),
    ]
    assert [s["traced"] for s in kept] == [False, False, False, True, False]
    assert {s["operation"] for s in kept} == {"documents"}


def test_a_good_reply_is_given_to_the_scenario(made: dict[str, Any]) -> None:
    got = made["documents"]["got"]
    assert got[0] == [
        200, '{"id": 1}', {"connection": "close", "x-kind": "Note", "content-length": "9"},
    ]  # fmt: skip
    assert got[1][:2] == [404, '{"detail": "gone"}']
    assert (got[2], got[3][:2], got[4]) == (None, [204, ""], None)


def test_what_a_request_carries_is_what_was_given(made: dict[str, Any]) -> None:
    asked = made["documents"]["asked"]
    assert [(a.method, a.path) for a in asked] == [
        ("GET", "/documents/a%20b"), ("DELETE", "/documents/1"), ("DELETE", "/documents/1"),
        ("PUT", "/documents/1"), ("GET", "/documents/2"),
    ]  # fmt: skip
    assert asked[3].body == {"text": "ü"}
    assert asked[3].headers["content-type"] == "application/json"
    assert asked[0].headers["content-length"] == "0"
    assert "content-type" not in asked[0].headers


def test_locust_counts_requests_under_the_name_they_were_given(made: dict[str, Any]) -> None:
    assert made["documents"]["locust"] == [
        ["/documents/1", "DELETE"],
        ["/documents/1", "PUT"],
        ["/documents/2", "GET"],
        ["/documents/[id]", "GET"],
    ]


def test_nothing_is_sent_any_more_when_a_limit_is_reached(made: dict[str, Any]) -> None:
    user = made["of a limited load"]
    assert [a.body["message"] for a in user["asked"]] == ["first", "second"]
    assert user["ended"] == "TurnedAway: no more requests may be sent"
    assert (len(user["samples"]), user["in_flight"]) == (2, 0)


def test_a_journey_that_has_nothing_left_to_ask_says_why(made: dict[str, Any]) -> None:
    user = made["out of questions"]
    assert user["used_up"] == [["asker", "all 1 questions were asked once"]]
    assert [a.body["message"] for a in user["asked"]] == ["first"]


def test_a_journey_that_may_send_no_more_is_not_out_of_questions(made: dict[str, Any]) -> None:
    user = made["turned away"]
    assert (len(user["asked"]), user["used_up"], user["ended"]) == (2, [], "")


def test_until_the_first_price_is_known_a_user_tries_again_later(made: dict[str, Any]) -> None:
    alone = made["who waits for the first price"]
    assert (alone["asked"], alone["ended"]) == ([], "RescheduleTask: ")
    journey = made["who waits for the first price in a journey"]
    assert (journey["asked"], journey["ended"], journey["used_up"]) == ([], "", [])


def test_what_costs_nothing_waits_for_no_price(made: dict[str, Any]) -> None:
    user = made["who asks no LLM while the first price is awaited"]
    assert [s["outcome"] for s in user["samples"]] == ["ok"]


def test_a_sample_that_cannot_be_kept_leaves_no_request_under_way(made: dict[str, Any]) -> None:
    user = made["whose sample is not kept"]
    assert (user["ended"], user["in_flight"]) == ("ValueError: this sample cannot be kept", 0)


def test_what_an_api_of_one_s_own_misreads_is_a_bad_answer_that_names_it(
    made: dict[str, Any],
) -> None:
    user = made["of an API that misreads"]
    assert [(s["outcome"], s["detail"]) for s in user["samples"]] == [
        ("bad_answer", "Misreader read output_tokens='5', not a count (or None)"),
        ("bad_answer", "Misreader read tool_calls=9007199254740992, not a count (or None)"),
        ("bad_answer", "Misreader read model=['m'], not text (or None)"),
        ("bad_answer", "Misreader read text=None, not text"),
        ("bad_answer", "Misreader could not read the answer: KeyError: 'misread'"),
    ]
    assert {s["output_tokens"] for s in user["samples"]} == {None}
    assert user["got"] == [None] * 5


def test_the_model_that_an_answer_names_is_told_with_it(made: dict[str, Any]) -> None:
    assert made["who is told the model"]["models"] == ["known-model-7"] * 2
    assert made["in conversation"]["models"] == ["", ""]


def test_an_intended_start_of_0_is_one_and_holds_for_one_request(made: dict[str, Any]) -> None:
    first, second = made["due at the very beginning"]["samples"]
    assert first["intended_start"] == 0.0
    assert second["intended_start"] == second["start"] > 0


def test_the_next_turn_names_its_session_and_is_due_when_thinking_is_over(
    made: dict[str, Any],
) -> None:
    user = made["in conversation"]
    assert [a.body for a in user["asked"]] == [
        {"message": "first"},
        {"message": "second", "session_id": "s-1"},
    ]
    first, second = user["samples"]
    # Due a quarter of a second after the answer, however late it then began.
    assert 0.25 <= second["intended_start"] - first["end"] < 1.0
    assert second["intended_start"] <= second["start"]


def test_a_json_api_is_asked_as_declared(made: dict[str, Any]) -> None:
    user = made["of a JSON API"]
    assert [a.body for a in user["asked"]] == [{"q": "q 1"}, {"q": "q 1", "in": "7"}]
    assert [g["text"] for g in user["got"]] == ["42 s", "42 s"]


def test_a_connection_that_the_server_closed_meanwhile_is_not_used_again(
    made: dict[str, Any],
) -> None:
    kept = made["of a server that closes idle connections"]["samples"]
    assert [(s["outcome"], s["http_status"], s["detail"]) for s in kept] == [("ok", 201, "")] * 2


@pytest.mark.parametrize("problem", [pytest.param(p, id=p or "nothing") for p in WRONG])
def test_a_scenario_that_cannot_be_right_is_refused_by_name(
    told: dict[str, Any], problem: str
) -> None:
    assert told["refused"][list(WRONG).index(problem)] == problem


def test_headers_come_from_the_environment(made: dict[str, Any]) -> None:
    asked, other = made["with headers"]["asked"]
    for sent in (asked.headers, other.headers):
        assert sent["authorization"] == f"Bearer {SECRET}"
        assert sent["accept-language"] == "de"
        assert sent["traceparent"]
    assert (asked.headers["x-tenant"], "x-own" in asked.headers) == ("blue", False)


def test_a_request_s_own_headers_go_before_those_of_the_environment(made: dict[str, Any]) -> None:
    _, other = made["with headers"]["asked"]
    assert (other.headers["x-own"], other.headers["x-tenant"]) == ("1", "red")
    tenants = [name for name in other.names if name == "x-tenant"]
    assert len(tenants) == 1


@pytest.mark.parametrize(
    ("user", "problem"),
    [
        pytest.param(
            "with headers that are none",
            "HarnessError: TARGET_HEADERS, line 2: not a header; write it as Name: value",
            id="in the environment",
        ),
        pytest.param(
            "with a header of its own that is none",
            "ValueError: the header 'X-Own' holds characters that no header can",
            id="of a request",
        ),
        pytest.param(
            "of a stream nobody declared",
            "ValueError: this scenario asks for streams, but its Http(...) declares none; "
            "add stream=EventStream(...)",
            id="a stream nobody declared",
        ),
    ],
)
def test_what_cannot_be_sent_is_refused_by_name(
    made: dict[str, Any], user: str, problem: str
) -> None:
    assert (made[user]["ended"], made[user]["samples"]) == (problem, [])


def test_a_key_that_the_server_repeats_is_not_kept(made: dict[str, Any]) -> None:
    user = made["of an OpenAI endpoint that repeats the key"]
    (sample,) = user["samples"]
    assert (sample["outcome"], sample["detail"]) == (
        "bad_answer", "the server reports an error: bad ..."
    )  # fmt: skip
    assert user["asked"][0].headers["authorization"] == f"Bearer {SECRET}"
    assert SECRET not in json.dumps(user["samples"])
