"""Checks of what a scenario's author declares: each error names the argument and the mend."""

from __future__ import annotations

import json
import re
from typing import Any

from harness.load.fields import Path, path_of

_PATH = re.compile(r"/[!$-;=?-~]*")


def below_host(api: str, argument: str, path: object) -> str:
    """Take a path below --host; raises ValueError when it is not one."""
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise ValueError(
            f"{api}({argument}={path!r}): write the path below --host, as in '/api/chat'; "
            "--host says where the server is"
        )
    return path


def inside(api: str, argument: str, text: object) -> Path:
    """Take a path within a JSON answer; raises ValueError when it is not one."""
    try:
        return path_of(text)
    except ValueError as error:
        raise ValueError(f"{api}({argument}={text!r}): {error}") from error


def maybe_inside(api: str, argument: str, text: object) -> Path | None:
    """Take a path within a JSON answer, or None."""
    return None if text is None else inside(api, argument, text)


def json_fields(api: str, argument: str, value: object) -> dict[str, Any]:
    """Copy the fields of a JSON object; raises ValueError when they are none."""
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{api}({argument}=...): give a dict with names of fields as its keys")
    try:
        copied: dict[str, Any] = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{api}({argument}=...): cannot be written as JSON: {error}") from error
    return copied
