"""Trace ids and the headers that carry them."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest

from harness.load.trace_context import headers, new_trace_id

# From https://www.w3.org/TR/trace-context/ and https://www.w3.org/TR/baggage/
TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_VALUE = r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*"
BAGGAGE = re.compile(rf"{_TOKEN}={_VALUE}(,{_TOKEN}={_VALUE})*")


def test_trace_ids_are_32_hexadecimal_digits_and_all_different() -> None:
    ids = [new_trace_id() for _ in range(1000)]
    assert all(re.fullmatch(r"[0-9a-f]{32}", i) for i in ids)
    assert len(set(ids)) == 1000


def test_the_headers_carry_trace_run_and_scenario() -> None:
    sent = headers("ab" * 16, "20260921-100000-cafe", "warm_cache")
    assert sorted(sent) == ["baggage", "traceparent"]
    assert sent["baggage"] == "run=20260921-100000-cafe,scenario=warm_cache"
    assert TRACEPARENT.fullmatch(sent["traceparent"])
    assert sent["traceparent"].startswith("00-" + "ab" * 16 + "-")
    assert sent["traceparent"].endswith("-01"), "sampled: the target is to keep it"


def test_no_two_requests_have_the_same_parent() -> None:
    parents = {headers("ab" * 16, "r", "s")["traceparent"].split("-")[2] for _ in range(100)}
    assert len(parents) == 100


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param("a b", id="a blank"),
        pytest.param("a,b", id="a comma, which would end the value"),
        pytest.param("a;b=c", id="a semicolon, which would begin a property"),
        pytest.param('a"b\\c', id="a quote and a backslash"),
        pytest.param("größe\r\nX: y", id="other alphabets and a line break"),
    ],
)
def test_any_name_survives_the_grammar_of_baggage(scenario: str) -> None:
    baggage = headers("ab" * 16, "run", scenario)["baggage"]
    assert BAGGAGE.fullmatch(baggage)
    assert unquote(baggage.rpartition("=")[2]) == scenario
