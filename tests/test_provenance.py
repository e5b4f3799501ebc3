"""What a run is made with, told without names of hosts, people or keys."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path

import pytest

from harness import provenance
from harness.model import HarnessError, Part
from harness.provenance import (
    Stack,
    knows_langfuse,
    langfuse_url,
    new_run,
    stack_of,
    write_stack,
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in (
        "LANGFUSE_PUBLIC_KEY",
        "LANGFUSE_SECRET_KEY",
        "LANGFUSE_BASE_URL",
        "LANGFUSE_HOST",
    ):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


KNOWN = Stack((Part("LLM", real=False, description="simulated"),), {"LANGFUSE_HOST": "http://l"})


def test_the_stack_that_serves_a_target_is_known_by_its_file():
    write_stack("http://127.0.0.1:1", KNOWN)

    found = stack_of("http://127.0.0.1:1/")

    assert (found.parts, found.environment) == (KNOWN.parts, KNOWN.environment)


def test_another_target_is_known_only_by_the_environment():
    write_stack("http://127.0.0.1:1", KNOWN)

    found = stack_of("http://app")

    assert [(p.name, p.real, p.description) for p in found.parts] == [
        ("target", True, "http://app"),
        ("LLM", True, "as the target is configured; not checked"),
        ("metrics", True, "direct scrapes of the target's metrics"),
    ]
    assert found.environment == {}


def test_traces_are_asked_for_only_with_both_keys(monkeypatch: pytest.MonkeyPatch):
    assert not knows_langfuse("http://app")
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk")
    assert not knows_langfuse("http://app")
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk")
    assert knows_langfuse("http://app")


def test_the_embedded_stack_brings_its_own_keys():
    keys = {"LANGFUSE_PUBLIC_KEY": "pk", "LANGFUSE_SECRET_KEY": "sk"}
    write_stack("http://127.0.0.1:1", Stack(KNOWN.parts, keys))
    assert knows_langfuse("http://127.0.0.1:1")
    assert not knows_langfuse("http://app")


def test_langfuse_is_named_by_its_address_and_never_by_its_key(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk-secret")
    monkeypatch.setenv("LANGFUSE_HOST", "http://langfuse:3000/")

    assert stack_of("http://app").parts[3] == Part(
        "Langfuse", real=True, description="http://langfuse:3000"
    )


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"target": "x", "parts": [{"a": 1}]}'])
def test_a_damaged_stack_file_is_named(elsewhere: Path, text: str):
    (elsewhere / ".stack").mkdir()
    (elsewhere / ".stack/stack.json").write_text(text)

    with pytest.raises(HarnessError) as caught:
        stack_of("http://app")

    assert str(caught.value) == ".stack/stack.json is damaged; delete it"


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        pytest.param({}, "https://cloud.langfuse.com", id="the SDK's default"),
        pytest.param({"LANGFUSE_HOST": "http://a/"}, "http://a", id="the older variable"),
        pytest.param(
            {"LANGFUSE_HOST": "http://a", "LANGFUSE_BASE_URL": "http://b"},
            "http://b",
            id="the newer one wins",
        ),
    ],
)
def test_where_langfuse_is(environment: dict[str, str], url: str):
    assert langfuse_url(environment) == url


def test_a_run_that_begins_now(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(provenance, "_PACKAGES", ("harness", "no-such-package"))

    run = new_run(1_790_000_000.0, "http://app", "harness run", ("warm",), KNOWN)

    assert run.id.startswith("20260921-141320-")
    assert (run.started, run.target, run.command) == (1_790_000_000.0, "http://app", "harness run")
    assert (run.parts, run.expected_windows, run.ended) == (KNOWN.parts, ("warm",), None)
    assert run.versions == {
        "python": platform.python_version(),
        "harness": version("harness"),
        "no-such-package": "not installed",
    }
    assert sorted(run.machine) == ["architecture", "cpus", "load_average", "system"]
    assert platform.node() not in " ".join(run.machine.values())
