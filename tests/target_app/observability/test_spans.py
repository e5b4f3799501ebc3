"""What a span tells its sinks, and what it never does to the app."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from target_app.agent.messages import Usage
from target_app.observability.spans import Details, Kind, Span, Telling
from tests.target_app.observability.collector import Plain


@dataclass
class Heard:
    """A sink's span that remembers all it is told."""

    name: str = "root"
    trace_id: str = "1" * 32
    span_id: str = "2" * 16
    told: list[Any] = field(default_factory=list)
    children: list[Heard] = field(default_factory=list)

    def child(self, kind: Kind, name: str, details: Details) -> Heard:
        made = Heard(f"{kind} {name}", span_id="3" * 16, told=[details])
        self.children.append(made)
        return made

    def update(self, details: Details) -> None:
        self.told.append(details)

    def fail(self, reason: str) -> None:
        self.told.append(f"failed: {reason}")

    def first_token(self) -> None:
        self.told.append("first token")

    def end(self) -> None:
        self.told.append("end")


class Broken(Heard):
    """A sink's span that can do nothing."""

    def child(self, kind: Kind, name: str, details: Details) -> Heard:
        raise RuntimeError("no room")

    def update(self, details: Details) -> None:
        raise RuntimeError("no room")

    fail = first_token = end = update


class Shouting(Plain):
    """Redacts by turning into capitals, so that one sees where it was."""

    def text(self, text: str) -> str:
        self.asked += 1
        return text.upper()

    def value(self, value: Any) -> Any:
        self.asked += 1
        return f"redacted {value}"


def telling(redaction: Any = None, seconds: list[float] | None = None) -> Telling:
    return Telling(redaction or Plain(), ([] if seconds is None else seconds).append)


def test_every_sink_is_told_the_same_and_each_text_is_redacted_once() -> None:
    first, second = Heard(), Heard()
    redaction = Shouting()
    span = Span([first, second], telling(redaction))

    with span.child("tool", "grep", input="a@b.example") as child:
        child.update(output={"success": True})
        child.fail("no such file")

    told = [
        {"input": "redacted a@b.example"},
        {"output": "redacted {'success': True}"},
        "failed: NO SUCH FILE",
        "end",
    ]
    assert [heard.children[0].name for heard in (first, second)] == ["tool GREP"] * 2
    assert first.children[0].told == second.children[0].told == told
    assert redaction.asked == 4  # input, name, output, reason


def test_everything_that_can_hold_a_text_is_redacted_and_numbers_are_not() -> None:
    heard = Heard()
    Span([heard], telling(Shouting())).update(
        input="in",
        output="out",
        model="gpt",
        model_parameters={"stream": True},
        metadata={"who": "me"},
        usage=Usage(1, 2, 3, 4),
        usage_estimated=True,
    )

    assert heard.told == [
        {
            "input": "redacted in",
            "output": "redacted out",
            "model": "GPT",
            "model_parameters": "redacted {'stream': True}",
            "metadata": "redacted {'who': 'me'}",
            "usage": Usage(1, 2, 3, 4),
            "usage_estimated": True,
        }
    ]


def test_what_is_not_known_is_not_told() -> None:
    heard = Heard()
    Span([heard], telling()).update(output=None, usage=None, usage_estimated=False, metadata={})

    assert heard.told == [{}]


def test_without_sinks_nothing_is_done() -> None:
    def expensive() -> Details:
        raise AssertionError("nobody wants to know")

    span = Span()
    with span.child("span", "iteration 1", lazily=expensive) as child:
        child.update(lazily=expensive)
        child.fail("x")
        child.first_token()

    assert child is span
    assert (span.is_recording, span.trace_id, span.headers()) == (False, "", {})


def test_details_are_made_when_they_are_recorded() -> None:
    heard = Heard()
    Span([heard], telling()).child("generation", "llm", lambda: {"input": "made"}, model="m")

    assert heard.children[0].told == [{"input": "made", "model": "m"}]


def test_the_first_sink_names_the_span_to_the_next_service() -> None:
    span = Span([Heard(span_id="a" * 16), Heard(span_id="b" * 16)], telling())

    assert span.trace_id == "1" * 32
    assert span.headers() == {"traceparent": f"00-{'1' * 32}-{'a' * 16}-01"}


def test_a_sink_that_fails_never_fails_the_app_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    span = Span([Broken()], telling())
    child = span.child("tool", "grep")
    span.update(output="x")
    span.fail("x")
    span.end()

    assert not child.is_recording
    assert caplog.messages == [
        "a span could not be told, and is missing: RuntimeError('no room')",
    ]


def test_an_error_of_the_app_passes_through_and_the_span_ends() -> None:
    heard = Heard()
    with pytest.raises(ValueError, match="mine"), Span([heard], telling()):
        raise ValueError("mine")

    assert heard.told == ["end"]


def test_the_time_it_takes_to_tell_is_counted() -> None:
    seconds: list[float] = []
    with Span([Heard()], telling(seconds=seconds)).child("span", "step") as child:
        child.first_token()

    assert len(seconds) == 3  # began, first token, ended
    assert all(spent > 0 for spent in seconds)
