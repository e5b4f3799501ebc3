"""What the environment holds for the target, and what must never be seen of it."""

from __future__ import annotations

import pytest

from harness.credentials import openai_headers, target_headers, without_secrets
from harness.model import HarnessError

SECRET = "let-me-in-123"


def test_token_and_headers_go_along() -> None:
    environment = {"TARGET_TOKEN": "t-1", "TARGET_HEADERS": "X-Tenant: blue\n\n api-key :k:1 \r\n"}
    assert target_headers(environment) == {
        "X-Tenant": "blue",
        "api-key": "k:1",
        "Authorization": "Bearer t-1",
    }
    assert target_headers({}) == {}


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        pytest.param(
            {"TARGET_HEADERS": f"X: y\n{SECRET}"},
            "TARGET_HEADERS, line 2: not a header; write it as Name: value",
            id="no colon",
        ),
        pytest.param(
            {"TARGET_HEADERS": f"X Y: {SECRET}"},
            "TARGET_HEADERS, line 1: not a header; write it as Name: value",
            id="a blank in the name",
        ),
        pytest.param(
            {"TARGET_HEADERS": "X:"},
            "TARGET_HEADERS, line 1: not a header; write it as Name: value",
            id="no value",
        ),
        pytest.param(
            {"TARGET_HEADERS": "Traceparent: 00-1-2-01"},
            "TARGET_HEADERS, line 1: the harness writes Traceparent itself; leave it out",
            id="one of our own",
        ),
        pytest.param(
            {"TARGET_TOKEN": f"{SECRET}\nX: y"},
            "TARGET_TOKEN holds characters that no header can; set it again",
            id="a line break in the token",
        ),
    ],
)
def test_what_is_no_header_is_refused_without_repeating_it(
    environment: dict[str, str], problem: str
) -> None:
    with pytest.raises(HarnessError) as refused:
        target_headers(environment)
    assert str(refused.value) == problem
    with pytest.raises(HarnessError):
        openai_headers(environment)


def test_what_a_server_repeats_of_a_secret_is_blotted_out() -> None:
    environment = {
        "TARGET_TOKEN": SECRET,
        "OPENAI_API_KEY": "sk-abcdef",
        "TARGET_HEADERS": "api-key: key-123456\nX: y",
    }
    said = f"wrong key {SECRET}, sk-abcdef or key-123456, y not?"
    assert without_secrets(said, environment) == "wrong key ..., ... or ..., y not?"
