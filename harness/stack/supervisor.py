"""Start, check and stop the embedded stack: simulated LLM, Langfuse stand-in, target app."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from harness.model import HarnessError, Part
from harness.provenance import Stack, langfuse_url
from harness.stack.documents import write_documents
from harness.stack.faults import NO_FAULT, Fault

_HOST = "127.0.0.1"
_READY_SECONDS = 60.0
_STOP_SECONDS = 10.0
# Keys of stand-ins open nothing; they only have to be the same at both ends.
_STANDIN_KEYS = {"LANGFUSE_PUBLIC_KEY": "pk-lf-stand-in", "LANGFUSE_SECRET_KEY": "sk-lf-stand-in"}
# Settings of the parts: the caller's own are meant for other apps.
_OF_THE_TARGET = (
    "CACHE_", "DATA_ROOT", "LANGFUSE_", "LOG_", "OBSERVABILITY_", "OTEL_", "PRICES_",
    "PROMETHEUS_", "REDACT_", "SIMLLM_", "TOKEN_", "TRACING_",
)  # fmt: skip
_REAL = "HARNESS_REAL"
_MODEL = "gpt-4o-mini"


class StackError(HarnessError):
    """Why the stack cannot be started, and the mend, in one sentence."""


@dataclass(slots=True)
class _Service:
    name: str
    process: subprocess.Popen[bytes]
    log: Path
    health: str


@dataclass(slots=True)
class RunningStack:
    """The stack while it is up: where it is, what stands in, and how to reach its traces."""

    target: str
    llm: str
    langfuse: str
    stack: Stack
    services: list[_Service] = field(default_factory=list)

    def lose(self, name: str) -> None:
        """Stop one part for good: the fault of a witness that dies."""
        _stop([service for service in self.services if service.name == name])


def real_parts(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Which parts HARNESS_REAL says are real; raises StackError for an unknown one."""
    named = tuple(p.strip() for p in environment.get(_REAL, "").split(",") if p.strip())
    unknown = [p for p in named if p not in ("llm", "langfuse")]
    if unknown:
        raise StackError(f"{_REAL}={unknown[0]}: known are llm and langfuse")
    return named


@contextmanager
def running_stack(
    logs: Path, documents: Path, prices: Path, fault: Fault = NO_FAULT, port: int = 0
) -> Iterator[RunningStack]:
    """
    Keep the whole stack up for the length of a `with` block; nothing is left running after it.

    Raises StackError when a part does not start, with the end of its log.
    """
    real = real_parts(os.environ)
    logs.mkdir(parents=True, exist_ok=True)
    write_documents(documents)
    services: list[_Service] = []
    # What another stack remembered would make a cold cache warm.
    with tempfile.TemporaryDirectory(prefix="cache-", dir=documents.parent) as cache:
        try:
            up = _start(logs, documents, Path(cache), prices, fault, port, real, services)
            _wait_until_ready(services)
            yield up
        finally:
            _stop(services)


def _start(
    logs: Path,
    documents: Path,
    cache: Path,
    prices: Path,
    fault: Fault,
    port: int,
    real: tuple[str, ...],
    services: list[_Service],
) -> RunningStack:
    parts = []
    environment = {k: v for k, v in os.environ.items() if _harmless(k, real)}
    # -- the LLM
    if "llm" in real:
        llm = os.environ.get("AZURE_OPENAI_ENDPOINT") or os.environ.get("OPENAI_BASE_URL", "")
        llm = llm or "https://api.openai.com/v1"
        parts.append(Part("LLM", real=True, description=llm))
    else:
        simulated = _listen(0)
        llm = f"{_url(simulated)}/v1"
        log = {"SIMLLM_LOG": str(logs / "llm-truth.jsonl")}
        services.append(
            _serve("llm", "harness.stack.llm.app:create_app", simulated, "/health", logs,
                   {**environment, **log, **fault.llm})
        )  # fmt: skip
        environment |= {
            "OPENAI_API_KEY": "simulated", "OPENAI_BASE_URL": llm, "OPENAI_MODEL": _MODEL,
        }  # fmt: skip
        said = f"simulated, seeded latency, answers as {_MODEL}"
        parts.append(Part("LLM", real=False, description=said))
    # -- Langfuse
    if "langfuse" in real:
        langfuse = langfuse_url(os.environ)
        keys = {k: os.environ.get(k, "") for k in _STANDIN_KEYS}
        parts.append(Part("Langfuse", real=True, description=langfuse))
    else:
        stand_in = _listen(0)
        langfuse, keys = _url(stand_in), _STANDIN_KEYS
        settings = {
            "LANGFUSE_STANDIN_PUBLIC_KEY": keys["LANGFUSE_PUBLIC_KEY"],
            "LANGFUSE_STANDIN_SECRET_KEY": keys["LANGFUSE_SECRET_KEY"],
            "LANGFUSE_STANDIN_PRICES": str(prices),
            **fault.langfuse,
        }
        services.append(
            _serve("langfuse", "harness.stack.langfuse.app:create_app", stand_in,
                   "/api/public/health", logs, {**environment, **settings})
        )  # fmt: skip
        said = "local stand-in, priced by prices.yaml"
        parts.append(Part("Langfuse", real=False, description=said))
    traces = {**keys, "LANGFUSE_BASE_URL": langfuse}
    # -- the target app
    listening = _listen(port)
    app = _listen(0) if fault.queue_seconds else listening
    settings = {
        **traces,
        "OBSERVABILITY_PROFILE": "ai",
        "LOG_FORMAT": "json",
        "PRICES_PATH": str(prices.resolve()),
        # Of the few hundred calls of a run, enough must be checked to judge by.
        "TOKEN_CHECK_EVERY": "2",
        "LANGFUSE_HOST": langfuse,
        "LANGFUSE_ENABLED": "true",
        "LANGFUSE_FLUSH_INTERVAL": "1",
        "LANGFUSE_ENVIRONMENT": "benchmark",
        "DATA_ROOT_PATH": str(documents),
        "CACHE_DIRECTORY": str(cache),
        "CACHE_MANAGEMENT_ENABLED": "true",
        **fault.target,
    }
    target, app_port = _url(listening), app.getsockname()[1]
    services.append(
        _serve("target", "target_app.main:create_app", app, "/ready", logs,
               {**environment, **settings}, "--clock-rate", str(fault.clock_rate))
    )  # fmt: skip
    if fault.queue_seconds:
        services.append(_queue(listening, app_port, fault.queue_seconds, logs, environment))
    parts.insert(0, Part("target", real=True, description="the reference app, target_app"))
    parts.append(Part("metrics", real=True, description="direct scrapes of the target's /metrics"))
    if fault is not NO_FAULT:
        parts.append(Part("fault", real=False, description=f"built in: {fault.says}"))
    # Real keys stay in the environment they came from: what is known here goes into a file.
    known = Stack(tuple(parts), {} if "langfuse" in real else traces)
    return RunningStack(target, llm, langfuse, known, services)


def _harmless(variable: str, real: tuple[str, ...]) -> bool:
    """Whether a variable may reach the parts: the caller's keys only where they are meant."""
    if variable.startswith(("OPENAI_", "AZURE_OPENAI_")):
        return "llm" in real
    return not variable.startswith(_OF_THE_TARGET)


def _listen(port: int) -> socket.socket:
    """Take a port of this machine only, and hold it until the part has it."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((_HOST, port))
    except (OSError, OverflowError) as error:
        listening.close()
        in_use = getattr(error, "errno", None) == errno.EADDRINUSE
        why = "is in use" if in_use else f"cannot be used: {error}"
        raise StackError(f"port {port} {why}; choose another with --port") from error
    listening.listen(1024)
    return listening


def _url(listening: socket.socket) -> str:
    return f"http://{_HOST}:{listening.getsockname()[1]}"


def _serve(
    name: str,
    app: str,
    listening: socket.socket,
    health: str,
    logs: Path,
    environment: Mapping[str, str],
    *options: str,
) -> _Service:
    fd = listening.fileno()
    command = ["harness.stack.serve", app, "--fd", str(fd), *options]
    return _spawn(name, command, listening, health, logs, environment)


def _queue(
    listening: socket.socket, to: int, seconds: float, logs: Path, environment: Mapping[str, str]
) -> _Service:
    fd = listening.fileno()
    command = ["harness.stack.delay_line", "--fd", str(fd), "--to", f"{_HOST}:{to}"]
    command += ["--seconds", str(seconds)]
    return _spawn("queue", command, listening, "/health", logs, environment)


def _spawn(
    name: str,
    command: list[str],
    listening: socket.socket,
    health: str,
    logs: Path,
    environment: Mapping[str, str],
) -> _Service:
    log = logs / f"{name}.log"
    with log.open("ab") as file:
        process = subprocess.Popen(  # noqa: S603 - our own programs
            [sys.executable, "-m", *command],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=dict(environment),
            pass_fds=(listening.fileno(),),
            # Ctrl-C is for the supervisor: it stops the parts in order.
            start_new_session=True,
        )
    url = _url(listening)
    listening.close()
    return _Service(name, process, log, url + health)


def _wait_until_ready(services: list[_Service]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    for service in services:
        while True:
            if service.process.poll() is not None:
                raise StackError(
                    f"{service.name} ended while starting: {_last_words(service.log)}"
                )
            try:
                if httpx.get(service.health, timeout=5).is_success:
                    break
            except httpx.HTTPError:
                pass
            if time.monotonic() > deadline:
                raise StackError(
                    f"{service.name} was not ready in {_READY_SECONDS:g} s; see {service.log}"
                )
            time.sleep(0.05)


def _last_words(log: Path) -> str:
    """The last line of a log; of a line in JSON what happened, and by which exception."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    if not lines:
        return "it said nothing"
    try:
        fields = json.loads(lines[-1])
    except ValueError:
        return lines[-1]
    said = [fields.get(key) for key in ("event", "exception")] if isinstance(fields, dict) else []
    texts = [text.strip() for text in said if isinstance(text, str) and text.strip()]
    return ": ".join(text.splitlines()[-1].strip() for text in texts) or lines[-1]


def _stop(services: list[_Service]) -> None:
    """End what was started, the last first; what does not end when asked is killed."""
    for service in reversed(services):
        if service.process.poll() is None:
            service.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    for service in reversed(services):
        try:
            service.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            service.process.kill()
            service.process.wait()
