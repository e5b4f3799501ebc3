"""What a run is made with: versions, machine, and which parts are real or stand in."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit

from harness.model import HarnessError, Part, Run
from harness.runs import new_run_id

STACK_FILE = Path(".stack/stack.json")
_SECRET = re.compile("key|token|secret|password|auth", re.IGNORECASE)
_PACKAGES = (
    "harness", "locust", "openai", "langfuse", "prometheus-client", "hdrhistogram", "fastapi",
)  # fmt: skip


def new_run(now: float, target: str, command: str, windows: tuple[str, ...], stack: Stack) -> Run:
    """Describe a run that begins now."""
    return Run(
        id=new_run_id(now),
        started=now,
        target=target,
        command=command,
        parts=stack.parts,
        versions=versions(),
        machine=machine(),
        expected_windows=windows,
    )


def versions() -> dict[str, str]:
    """Versions of the packages that matter to the figures."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def machine() -> dict[str, str]:
    """The machine that makes the load, in a few words; no names of hosts or people."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "cpus": str(os.cpu_count()),
        "load_average": f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "not known",
    }


class Stack:
    """What is known of the parts around a target, and the environment that reaches them."""

    def __init__(self, parts: tuple[Part, ...], environment: Mapping[str, str]) -> None:
        """Hold what is known."""
        self.parts = parts
        self.environment = dict(environment)


def stack_of(target: str) -> Stack:
    """
    Look up the embedded stack that serves a target; else only the environment is known.

    `harness stack` leaves a file that names its parts, so that a plain
    `locust -f scenarios` against it knows where the traces are.
    """
    if STACK_FILE.exists():
        try:
            fields = json.loads(STACK_FILE.read_text(encoding="utf-8"))
            parts = tuple(Part(**part) for part in fields["parts"])
            stack = Stack(parts, fields["environment"])
            serves = fields["target"]
        except (ValueError, KeyError, TypeError) as error:
            raise HarnessError(f"{STACK_FILE} is damaged; delete it") from error
        if serves == target.rstrip("/").replace("//localhost", "//127.0.0.1"):
            return stack
    known = [
        Part("target", real=True, description=target),
        Part("LLM", real=True, description="as the target is configured; not checked"),
        Part("metrics", real=True, description="direct scrapes of the target's metrics"),
    ]
    if os.environ.get("LANGFUSE_PUBLIC_KEY"):
        known.append(Part("Langfuse", real=True, description=langfuse_url(os.environ)))
    return Stack(tuple(known), {})


def knows_langfuse(target: str) -> bool:
    """Whether the traces of a target can be asked for: its stack or the environment has keys."""
    environment = {**os.environ, **stack_of(target).environment}
    return all(environment.get(f"LANGFUSE_{key}_KEY") for key in ("PUBLIC", "SECRET"))


def wrong_address(url: str) -> str:
    """Say what is wrong with the address of a server, without repeating it; "" if nothing."""
    parts = urlsplit(url)
    if parts.username or parts.password:
        return (
            "an address with a user or password would leave them in the evidence; use TARGET_TOKEN"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return f"{url!r} is not an address; write it like http://127.0.0.1:8000"
    return ""


def shown_command(words: Sequence[str]) -> str:
    """Write a command line for the report, without the values of flags that name a secret."""
    shown = []
    for before, word in zip(["", *words], words, strict=False):
        flag, equals, _ = word.partition("=")
        if _SECRET.search(before) and before.startswith("-") and "=" not in before:
            shown.append("...")
        else:
            shown.append(f"{flag}=..." if equals and _SECRET.search(flag) else word)
    return shlex.join(shown)


def write_stack(target: str, stack: Stack) -> None:
    """Leave the file that `stack_of` reads."""
    STACK_FILE.parent.mkdir(exist_ok=True)
    fields = {
        "target": target,
        "parts": [
            {"name": p.name, "real": p.real, "description": p.description} for p in stack.parts
        ],
        "environment": stack.environment,
    }
    STACK_FILE.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")


def forget_stack(target: str) -> None:
    """Remove the file that `write_stack` left, unless another stack has written its own."""
    if STACK_FILE.exists() and target in STACK_FILE.read_text(encoding="utf-8"):
        STACK_FILE.unlink()


def langfuse_url(environment: Mapping[str, str]) -> str:
    """Where Langfuse is, by its SDK's variables and their default."""
    base = environment.get("LANGFUSE_BASE_URL") or environment.get("LANGFUSE_HOST")
    return (base or "https://cloud.langfuse.com").rstrip("/")
