"""Fields of a JSON answer: looked up by a path, and never taken for what they are not."""

from __future__ import annotations

import json
import re
from typing import Any

from harness.load.chat_api import Answer, BadAnswerError, ChatApi

_NAME, _INDEX = r"[^.\[\]]+", r"\[-?[0-9]+\]"
_PATH = re.compile(rf"(?:{_NAME}|{_INDEX})(?:\.{_NAME}|{_INDEX})*")
_STEP = re.compile(rf"{_INDEX}|{_NAME}")
_SHOWN = 80
_COUNTS = ("input_tokens", "output_tokens", "llm_calls", "tool_calls")
_WORDS = ("session_id", "model")
_COUNTS_END = 2**53  # where other readers of JSON, and floats, begin to miss numbers

Path = tuple[str | int, ...]


def path_of(text: object) -> Path:
    """Read a path such as `choices[0].message.content`; raises ValueError when it is not one."""
    if not isinstance(text, str) or not _PATH.fullmatch(text):
        raise ValueError(f"{text!r} is not a path; write it like choices[0].message.content")
    return tuple(int(s[1:-1]) if s.startswith("[") else s for s in _STEP.findall(text))


def look_up(value: Any, path: Path) -> Any:
    """Follow a path; None where it leads nowhere."""
    for step in path:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            inside = isinstance(value, list) and -len(value) <= step < len(value)
            value = value[step] if inside else None
    return value


def document(text: bytes | str) -> Any:
    """Read JSON; raises BadAnswerError when it is not."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadAnswerError(f"not JSON: {error}") from error


def json_object(text: bytes | str) -> dict[str, Any]:
    """Read a JSON object; raises BadAnswerError when it is not one."""
    fields = document(text)
    if not isinstance(fields, dict):
        raise BadAnswerError("not a JSON object")
    return fields


def count(value: Any, name: str) -> int | None:
    """Take a whole number, or None where the app does not say; else raises BadAnswerError."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise BadAnswerError(f"the field {name!r} is {shown(value)}, not a count")


def word(value: Any) -> str | None:
    """Take a name, such as that of a session or a model; numbers are names too."""
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def shown(value: Any) -> str:
    """Write a value for a sentence: an answer may be of any length."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def checked(answer: Answer, api: ChatApi) -> Answer:
    """
    Give back what an API read, if it is an answer whose fields are what they should be.

    Else raises BadAnswerError that names the API and the field: what is kept of an answer is
    counted, summed and sent to other processes, where it could be told from nothing any more.
    """
    reader = type(api).__name__
    if not isinstance(answer, Answer):
        raise BadAnswerError(f"{reader} read {shown(answer)}, not an Answer")
    if not isinstance(answer.text, str):
        raise BadAnswerError(f"{reader} read text={shown(answer.text)}, not text")
    for name in _COUNTS:
        value = getattr(answer, name)
        if value is not None and not (type(value) is int and 0 <= value < _COUNTS_END):
            raise BadAnswerError(f"{reader} read {name}={shown(value)}, not a count (or None)")
    for name in _WORDS:
        value = getattr(answer, name)
        if not isinstance(value, str | None):
            raise BadAnswerError(f"{reader} read {name}={shown(value)}, not text (or None)")
    return answer
