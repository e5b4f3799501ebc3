"""The embedded stack's supervisor: what reaches its parts, and what is left when it ends."""

from __future__ import annotations

import signal
import socket
from collections.abc import Mapping
from pathlib import Path

import httpx
import psutil
import pytest

from harness.stack import supervisor
from harness.stack.faults import FAULTS, Fault
from harness.stack.supervisor import StackError, real_parts, running_stack

ROOT = Path(__file__).parents[2]
SECRET = "planted-5ecret"
CALLERS_OWN = {
    "OPENAI_API_KEY": SECRET,
    "AZURE_OPENAI_ENDPOINT": "http://127.0.0.1:9",
    "LANGFUSE_PUBLIC_KEY": SECRET,
    "LANGFUSE_SECRET_KEY": SECRET,
    "LANGFUSE_HOST": "http://127.0.0.1:9",
    "OBSERVABILITY_PROFILE": "off",
    "OTEL_TRACES_SAMPLER_ARG": "0",
    "LOG_FORMAT": "text",
    "PRICES_PATH": SECRET,
    "TOKEN_CHECK_EVERY": "0",
}
# What the embedded target runs with, whatever the caller set.
OURS = {"OBSERVABILITY_PROFILE": "ai", "LOG_FORMAT": "json", "TOKEN_CHECK_EVERY": "2"}


@pytest.fixture
def documents(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of one document, since these tests ask nothing."""

    def write_one(root: Path) -> None:
        root.mkdir()
        (root / "readme.md").write_text("hello\n")

    monkeypatch.setattr(supervisor, "write_documents", write_one)
    return tmp_path / "documents"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("", (), id="nothing"),
        pytest.param("llm", ("llm",), id="the LLM"),
        pytest.param(" llm , langfuse,", ("llm", "langfuse"), id="both, with blanks"),
    ],
)
def test_the_caller_names_which_parts_are_real(value: str, expected: tuple[str, ...]) -> None:
    assert real_parts({"HARNESS_REAL": value}) == expected


def test_without_a_word_nothing_is_real() -> None:
    assert real_parts({}) == ()


def test_a_part_that_is_not_known_is_refused() -> None:
    with pytest.raises(StackError) as refused:
        real_parts({"HARNESS_REAL": "llm,prometheus"})
    assert str(refused.value) == "HARNESS_REAL=prometheus: known are llm and langfuse"


@pytest.mark.parametrize(
    ("log", "words"),
    [
        pytest.param("", "it said nothing", id="silence"),
        pytest.param("one\ntwo\n\n", "two", id="plain text"),
        pytest.param(
            'one\n{"event": "disk full", "level": "error"}\n', "disk full", id="a line in JSON"
        ),
        pytest.param(
            '{"event": "it failed", "exception": "Traceback\\n  in f\\nValueError: no\\n"}',
            "it failed: ValueError: no", id="an exception in JSON",
        ),
        pytest.param(
            '{"event": "Traceback:\\n  in f\\nKeyError: 1", "level": "error"}', "KeyError: 1",
            id="a traceback that is the event",
        ),
        pytest.param('{"level": "error"}', '{"level": "error"}', id="JSON without an event"),
        pytest.param("[1]", "[1]", id="JSON that is no object"),
        pytest.param('{"event": " "}', '{"event": " "}', id="an event of blanks"),
        pytest.param('{"event": "cut', '{"event": "cut', id="half a line"),
    ],
)  # fmt: skip
def test_the_last_words_of_a_part_are_readable(tmp_path: Path, log: str, words: str) -> None:
    path = tmp_path / "target.log"
    path.write_text(log)
    assert supervisor._last_words(path) == words


@pytest.mark.parametrize(
    "variable",
    [
        "OBSERVABILITY_PROFILE", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER_ARG",
        "REDACT_PATTERNS", "TRACING_MANAGEMENT_ENABLED", "PRICES_PATH", "LOG_FORMAT",
        "TOKEN_CHECK_EVERY", "LANGFUSE_SAMPLE_RATE", "PROMETHEUS_ENABLED", "CACHE_DIRECTORY",
    ],
)  # fmt: skip
def test_what_the_caller_set_for_other_apps_stays_with_the_caller(variable: str) -> None:
    assert not supervisor._harmless(variable, ("llm", "langfuse"))


def environment_of(process: psutil.Process) -> Mapping[str, str]:
    return process.environ()


def test_a_whole_stack_is_up_within_the_block_and_gone_after_it(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CALLERS_OWN.items():
        monkeypatch.setenv(name, value)
    logs = tmp_path / "logs"
    with running_stack(logs, documents, ROOT / "prices.yaml") as up:
        assert [s.name for s in up.services] == ["llm", "langfuse", "target"]
        started = [psutil.Process(s.process.pid) for s in up.services]
        assert all(httpx.get(s.health, trust_env=False).is_success for s in up.services)
        assert {p.name: p.real for p in up.stack.parts} == {
            "target": True, "LLM": False, "Langfuse": False, "metrics": True,
        }  # fmt: skip
        # The caller's keys are for the caller's own services: none of them gets here.
        for process in started:
            assert SECRET not in environment_of(process).values()
        target = environment_of(started[2])
        assert target["OPENAI_BASE_URL"] == up.llm
        assert target["LANGFUSE_HOST"] == target["LANGFUSE_BASE_URL"] == up.langfuse
        assert "AZURE_OPENAI_ENDPOINT" not in target
        assert {name: target[name] for name in OURS} == OURS
        assert target["PRICES_PATH"] == str(ROOT / "prices.yaml")
        assert "OTEL_TRACES_SAMPLER_ARG" not in target
        up.lose("langfuse")
        assert [s.process.poll() is None for s in up.services] == [True, False, True]
    assert not any(p.is_running() for p in started)
    assert sorted(p.name for p in logs.iterdir()) == [
        "langfuse.log", "llm-truth.jsonl", "llm.log", "target.log",
    ]  # fmt: skip


def test_real_parts_get_the_callers_keys_and_none_goes_into_a_file(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CALLERS_OWN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("HARNESS_REAL", "llm,langfuse")
    with running_stack(tmp_path / "logs", documents, ROOT / "prices.yaml") as up:
        assert [s.name for s in up.services] == ["target"]
        target = environment_of(psutil.Process(up.services[0].process.pid))
        assert target["OPENAI_API_KEY"] == target["LANGFUSE_SECRET_KEY"] == SECRET
        assert (up.llm, up.langfuse) == ("http://127.0.0.1:9/v1", "http://127.0.0.1:9")
        assert up.stack.environment == {}
        assert SECRET not in str(up.stack.parts)


def test_a_fault_is_said_and_reaches_the_part_it_is_for(documents: Path, tmp_path: Path) -> None:
    with running_stack(
        tmp_path / "logs", documents, ROOT / "prices.yaml", FAULTS["hidden-queue"]
    ) as up:
        assert [s.name for s in up.services] == ["llm", "langfuse", "target", "queue"]
        assert httpx.get(f"{up.target}/health", trust_env=False).elapsed.total_seconds() >= 0.3
        assert up.stack.parts[-1].description == (
            "built in: requests wait 300 ms before the server's clock"
        )


def test_a_failure_within_the_block_stops_everything_too(documents: Path, tmp_path: Path) -> None:
    started: list[psutil.Process] = []

    def fail() -> None:
        with running_stack(tmp_path / "logs", documents, ROOT / "prices.yaml") as up:
            started.extend(psutil.Process(s.process.pid) for s in up.services)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert len(started) == 3
    assert not any(p.is_running() for p in started)


def test_a_port_in_use_is_refused_with_the_mend(documents: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        stack = running_stack(tmp_path / "logs", documents, ROOT / "prices.yaml", port=port)
        with pytest.raises(StackError) as refused, stack:
            pass
    assert str(refused.value) == f"port {port} is in use; choose another with --port"


def test_a_part_that_does_not_start_is_named_with_its_last_words(
    documents: Path, tmp_path: Path
) -> None:
    wrong = Fault("the LLM cannot read its settings", llm={"SIMLLM_FAULT": "nonsense:1"})
    stack = running_stack(tmp_path / "logs", documents, ROOT / "prices.yaml", wrong)
    with pytest.raises(StackError) as refused, stack:
        pass
    assert str(refused.value).startswith("llm ended while starting: ")
    assert "nonsense" in str(refused.value)


def test_a_part_that_will_not_end_is_killed(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_STOP_SECONDS", 0.2)
    with running_stack(tmp_path / "logs", documents, ROOT / "prices.yaml") as up:
        stuck = up.services[0].process
        stuck.send_signal(signal.SIGSTOP)
    assert stuck.returncode == -signal.SIGKILL


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_every_fault_says_what_is_wrong_and_changes_something(name: str) -> None:
    fault = FAULTS[name]
    assert fault.says
    assert fault != Fault(fault.says)
