"""What proves to the target who asks: headers from the environment, never in a report or a log."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from harness.model import HarnessError

TOKEN = "TARGET_TOKEN"  # noqa: S105 - the name of a variable
HEADERS = "TARGET_HEADERS"
OPENAI_KEY = "OPENAI_API_KEY"

_OWN = ("host", "content-length", "transfer-encoding", "connection", "traceparent", "baggage")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]+")
_SHORTEST_SECRET = 6


def target_headers(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """
    Give the headers that go with every request to the target.

    TARGET_TOKEN becomes `Authorization: Bearer ...`; TARGET_HEADERS holds more
    of them, one `Name: value` a line. Raises HarnessError naming the variable
    and the line, but never the value.
    """
    headers = {}
    for number, line in enumerate(environment.get(HEADERS, "").splitlines(), start=1):
        if not line.strip():
            continue
        name, colon, value = (part.strip() for part in line.partition(":"))
        if not (colon and _NAME.fullmatch(name) and _VALUE.fullmatch(value)):
            raise HarnessError(f"{HEADERS}, line {number}: not a header; write it as Name: value")
        if name.lower() in _OWN:
            raise HarnessError(
                f"{HEADERS}, line {number}: the harness writes {name} itself; leave it out"
            )
        headers[name] = value
    if token := environment.get(TOKEN):
        headers["Authorization"] = _bearer(TOKEN, token)
    return headers


def openai_headers(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Give the same, with OPENAI_API_KEY as the token where nothing else proves who asks."""
    headers = target_headers(environment)
    key = environment.get(OPENAI_KEY)
    if key and not {"authorization", "api-key"} & {name.lower() for name in headers}:
        headers["Authorization"] = _bearer(OPENAI_KEY, key)
    return headers


def _bearer(variable: str, token: str) -> str:
    if not _VALUE.fullmatch(token):
        raise HarnessError(f"{variable} holds characters that no header can; set it again")
    return f"Bearer {token}"


def without_secrets(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """Blot out what the environment holds of tokens and headers: servers repeat what they got."""
    lines = environment.get(HEADERS, "").splitlines()
    secrets = [environment.get(TOKEN, ""), environment.get(OPENAI_KEY, "")]
    secrets += [line.partition(":")[2].strip() for line in lines]
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "...")
    return text
