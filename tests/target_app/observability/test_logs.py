"""Every line of every logger is redacted, says which request it is about, and holds up nobody."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pty
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from target_app.observability import logs
from target_app.observability.logs import configure_logs, in_session
from target_app.observability.metrics import Metrics
from target_app.observability.redaction import Redactor
from target_app.observability.request_trace import CURRENT, RequestTrace
from target_app.observability.trace_context import TraceContext
from target_app.settings import Settings
from tests.target_app.observability.capturing import Lines, captured_logs

TRACE = "0af7651916cd43dd8448eb211c80319c"
SECRET = "gh" + "p_" + "aB3" * 12


@pytest.fixture
def written() -> Iterator[Lines]:
    """Take what would go to standard error, and put logging back as it was."""
    with captured_logs() as lines:
        yield lines


def chosen(documents: Path, log_format: str) -> Settings:
    return Settings(data_root_path=documents, openai_api_key="unused", log_format=log_format)


def fields(lines: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines]


def test_a_line_is_json(written: Lines, documents: Path) -> None:
    configure_logs(chosen(documents, "json"), Redactor())
    logging.getLogger("some.library").warning("took %d s for %s", 3, "zoe@example.com")

    (line,) = fields(written())
    moment = datetime.fromisoformat(line.pop("timestamp"))
    assert moment.utcoffset() == timedelta(0)
    assert line == {"level": "warning", "logger": "some.library", "event": "took 3 s for [e-mail]"}


def test_a_line_is_text_for_people(written: Lines, documents: Path) -> None:
    configure_logs(chosen(documents, "text"), Redactor())
    with in_session("s 1"):
        logging.getLogger("app").error("no answer from %s\nfor long", "zoe@example.com")

    first, second = written()
    assert first.endswith(" ERROR    app no answer from [e-mail]")
    assert second == '    for long session_id="s 1"'


def test_no_text_looks_like_a_line_of_its_own_or_speaks_to_the_terminal(
    written: Lines, documents: Path
) -> None:
    configure_logs(chosen(documents, "text"), Redactor())
    logging.getLogger("app").warning("x\n2026-01-01 CRITICAL forged \x1b[31m\r\x07\u202e")

    lines = written()
    assert [line.startswith("    ") for line in lines] == [False, True, True]
    assert lines[1] == r"    2026-01-01 CRITICAL forged \x1b[31m"
    assert lines[2] == r"    \x07\u202e"


def test_an_exception_is_redacted_text(written: Lines, documents: Path) -> None:
    configure_logs(chosen(documents, "json"), Redactor())
    try:
        int(f"bad key {SECRET} of /home/zoe/x")
    except ValueError:
        logging.getLogger("app").exception("it failed", stack_info=True)

    (line,) = fields(written())
    assert line["event"] == "it failed"
    assert line["exception"].startswith("Traceback (most recent call last):\n  File ")
    assert line["exception"].endswith("literal for int() with base 10: 'bad key [secret] of ~/x'")
    assert line["stack_info"].startswith("Stack (most recent call last)")


def test_a_line_says_which_request_it_is_about(written: Lines, documents: Path) -> None:
    configure_logs(chosen(documents, "json"), Redactor())

    class Route:
        path = "/api/chat"

    async def serve() -> None:
        CURRENT.set(RequestTrace({"route": Route()}, TraceContext(TRACE)))
        with in_session("zoe@example.com"):
            # Tasks and threads that serve the request know it too.
            await asyncio.to_thread(logging.getLogger("app").warning, "in a thread")
        logging.getLogger("app").warning("outside of the session")

    asyncio.run(serve())
    logging.getLogger("app").warning("outside of everything")

    keys = ("event", "trace_id", "session_id", "route")
    assert [tuple(line.get(key) for key in keys) for line in fields(written())] == [
        ("in a thread", TRACE, "[e-mail]", "/api/chat"),
        ("outside of the session", TRACE, None, "/api/chat"),
        ("outside of everything", None, None, None),
    ]


def test_structured_lines_are_redacted_too(written: Lines, documents: Path) -> None:
    configure_logs(chosen(documents, "json"), Redactor())
    structlog.get_logger().bind(logger="app").info(
        "hello zoe@example.com", password="hunter2", parts=[{"mail": "zoe@example.com"}], n=1
    )

    (line,) = fields(written())
    del line["timestamp"]
    assert line == {
        "level": "info",
        "logger": "app",
        "event": "hello [e-mail]",
        "password": "[secret]",
        "parts": [{"mail": "[e-mail]"}],
        "n": 1,
    }
    assert list(line)[:3] == ["level", "logger", "event"]


def test_a_line_that_cannot_be_made_says_so_and_shows_nothing(
    written: Lines, documents: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs(chosen(documents, "json"), Redactor())

    class Odd:
        def __str__(self) -> str:
            raise RuntimeError(SECRET)

    # Straight to the handler: pytest's own would fail the test.
    for arguments in (("%d", "x"), ("%s", Odd())):
        message, argument = arguments
        record = logging.LogRecord("app", logging.ERROR, "x.py", 1, message, (argument,), None)
        logs._HANDLER.handle(record)

    assert [line["event"] for line in fields(written())] == [
        "a line of app could not be made: TypeError",
        "a line of app could not be made: RuntimeError",
    ]
    assert capsys.readouterr() == ("", "")


def test_what_libraries_say_of_every_request_is_left_out(written: Lines, documents: Path) -> None:
    configure_logs(chosen(documents, "json"), Redactor())
    for name in logs.CHATTY:
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)
        assert logging.getLogger(name).isEnabledFor(logging.WARNING)


def test_setting_it_up_many_times_writes_each_line_once(
    written: Lines, documents: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        configure_logs(chosen(documents, "json"), Redactor())
    logging.getLogger("app").warning("once: %s", "zoe@example.com")

    assert [line["event"] for line in fields(written())] == ["once: [e-mail]"]
    # Whoever listens besides, hears it as it was said.
    assert caplog.messages == ["once: zoe@example.com"]
    assert logging.getLogger().level == logging.WARNING


def test_handlers_that_write_to_the_terminal_are_replaced(
    written: Lines, documents: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = logging.getLogger("a.server")
    library.addHandler(logging.StreamHandler(sys.stdout))
    library.propagate = False
    kept = logging.FileHandler(documents.parent / "own.log")
    other = logging.getLogger("another")
    other.addHandler(kept)
    try:
        configure_logs(chosen(documents, "json"), Redactor())
        library.warning("hello %s", "zoe@example.com")

        assert [line["logger"] for line in fields(written())] == ["a.server"]
        assert capsys.readouterr() == ("", "")
        assert (library.handlers, other.handlers) == ([], [kept])
    finally:
        other.removeHandler(kept)
        kept.close()


def test_lines_are_counted(written: Lines, documents: Path) -> None:
    metrics = Metrics()
    configure_logs(chosen(documents, "json"), Redactor(), metrics)
    logging.getLogger("app").warning("one")
    logging.getLogger("app").warning("two")
    size = sum(len(line) + 1 for line in written())

    read = metrics.registry.get_sample_value
    assert read("log_lines_total", {"result": "written"}) == 2
    assert read("log_lines_total", {"result": "dropped"}) == 0
    assert read("log_bytes_total") == size
    logs._WRITER._max_lines = 0
    logging.getLogger("app").warning("three")
    assert read("log_lines_total", {"result": "dropped"}) == 1
    assert read("log_bytes_total") == size


def test_a_flood_of_text_is_cut(written: Lines, documents: Path) -> None:
    configure_logs(chosen(documents, "json"), Redactor())
    logging.getLogger("app").warning("x" * 1_000_000)

    assert len(written()[0]) < 17_000


def test_an_error_that_nothing_caught_is_told_like_the_rest(
    written: Lines, documents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
    configure_logs(chosen(documents, "json"), Redactor())

    def fail() -> None:
        raise ValueError(SECRET)

    thread = threading.Thread(target=fail, name="worker-1")
    thread.start()
    thread.join()
    try:
        fail()
    except ValueError as error:
        sys.excepthook(type(error), error, error.__traceback__)

    told = [(line["event"], line["exception"].splitlines()[-1]) for line in fields(written())]
    assert told == [
        ("the thread worker-1 ended by an error", "ValueError: [secret]"),
        ("ended by an error that nothing caught", "ValueError: [secret]"),
    ]


def test_what_python_itself_prints_is_told_like_the_rest(
    written: Lines, documents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    configure_logs(chosen(documents, "json"), Redactor())

    class Odd:
        def __del__(self) -> None:
            raise ValueError(SECRET)

    Odd()
    warnings.showwarning(f"leak {SECRET}", UserWarning, "/home/zoe/x.py", 3)

    ignored, warned = fields(written())
    assert ignored["event"] == f"an error was ignored in {Odd.__qualname__}.__del__"
    assert ignored["exception"].endswith("ValueError: [secret]")
    assert (warned["level"], warned["logger"]) == ("warning", "py.warnings")
    assert warned["event"] == "~/x.py:3: UserWarning: leak [secret]"


# -- in a process of its own


def run(program: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
    head = (
        "import logging, sys\n"
        "from types import SimpleNamespace\n"
        "from target_app.observability.logs import configure_logs\n"
        "def configure(log_format='json'):\n"
        "    configure_logs(SimpleNamespace(log_format=log_format))\n"
    )
    return subprocess.run([sys.executable, "-c", head + program], check=False, timeout=60, **more)


def test_the_last_lines_are_there_when_the_process_ends() -> None:
    ended = run(
        "configure()\nfor n in range(500): logging.info('line %d', n)\nraise ValueError('/home/zoe')",
        capture_output=True,
    )

    lines = fields(ended.stderr.decode().splitlines())
    assert [line["event"] for line in lines[:500]] == [f"line {n}" for n in range(500)]
    assert lines[500]["exception"].endswith("ValueError: ~")
    assert (len(lines), ended.returncode) == (501, 1)


def test_nothing_that_python_prints_goes_past_redaction() -> None:
    ended = run(
        f"secret = {SECRET[:9]!r} + {SECRET[9:]!r}\n"
        "configure()\n"
        "import threading, warnings\n"
        "class Odd:\n"
        "    def __del__(self): raise ValueError('in del ' + secret)\n"
        "def fail(): raise ValueError('in a thread ' + secret)\n"
        "Odd()\n"
        "warnings.warn('in a warning ' + secret)\n"
        "thread = threading.Thread(target=fail)\n"
        "thread.start(); thread.join()\n"
        "try: raise ValueError('before ' + secret)\n"
        "except ValueError: raise KeyboardInterrupt\n",
        capture_output=True,
    )

    said = ended.stderr.decode()
    assert SECRET not in said
    for where in ("in del", "in a thread", "in a warning", "before"):
        assert f"{where} [secret]" in said
    assert len(fields(said.splitlines())) == 4


def test_a_standard_error_that_nobody_reads_does_not_keep_the_process(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    try:
        ended = run(
            "from target_app.observability.metrics import Metrics\n"
            "metrics = Metrics()\n"
            "configure_logs(SimpleNamespace(log_format='json'), None, metrics)\n"
            "for n in range(12_000): logging.info('x' * 100)\n"
            "dropped = metrics.registry.get_sample_value('log_lines_total', {'result': 'dropped'})\n"
            "print(dropped > 0, flush=True)",
            stdout=subprocess.PIPE,
            stderr=writing,
        )
    finally:
        os.close(reading)
        os.close(writing)

    assert (ended.returncode, ended.stdout) == (0, b"True\n")


def test_a_terminal_gets_text_and_a_file_gets_json(tmp_path: Path) -> None:
    program = "configure('auto')\nlogging.info('hello')"
    leader, follower = pty.openpty()
    try:
        run(program, stderr=follower)
        seen = os.read(leader, 10_000).decode()
    finally:
        os.close(leader)
        os.close(follower)
    with (tmp_path / "log").open("wb") as file:
        run(program, stderr=file)

    assert seen.rstrip().endswith("INFO     root hello")
    assert json.loads((tmp_path / "log").read_text())["event"] == "hello"


def test_a_closed_standard_error_is_no_reason_to_fail() -> None:
    ended = run(
        "sys.stderr = None\nconfigure('auto')\nlogging.info('hello')\nprint('went on')",
        capture_output=True,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"went on\n", b"")


SERVER = """
import logging, os, uvicorn
from fastapi import FastAPI
from contextlib import asynccontextmanager
from target_app.observability.logs import logs_kept

@asynccontextmanager
async def lifespan(app):
    async with logs_kept():
        if {fails}:
            raise RuntimeError("no data in /home/zoe")
        yield

app = FastAPI(lifespan=lifespan)

@app.get("/fail")
def fail():
    raise RuntimeError("cannot reach https://me:hunter2@host")

configure()
server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="on"))

async def main():
    import asyncio, httpx
    serving = asyncio.create_task(server.serve())
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if server.started:
        port = server.servers[0].sockets[0].getsockname()[1]
        async with httpx.AsyncClient() as client:
            await client.get(f"http://127.0.0.1:{{port}}/fail?token=aB3aB3aB3")
        server.should_exit = True
    await serving

import asyncio
asyncio.run(main())
"""


def test_the_servers_own_lines_are_taken_over() -> None:
    ended = run(SERVER.format(fails=False), capture_output=True)

    # Before the app is started, the server has its own way with its lines.
    lines = [line for line in ended.stderr.decode().splitlines() if line.startswith("{")]
    told = {(line["logger"], line["event"]): line for line in fields(lines)}
    failed = told["uvicorn.error", "Exception in ASGI application"]
    assert failed["exception"].endswith("RuntimeError: cannot reach https://[secret]@host")
    assert any(
        logger == "uvicorn.access" and '"GET /fail?token=[secret]' in event
        for logger, event in told
    ), told.keys()
    assert ("uvicorn.error", "Application shutdown complete.") in told
    assert "aB3aB3" not in ended.stderr.decode() + ended.stdout.decode()


def test_a_start_that_fails_ends_with_a_sentence() -> None:
    ended = run(SERVER.format(fails=True), capture_output=True)

    last = json.loads(ended.stderr.decode().splitlines()[-1])
    before = json.loads(ended.stderr.decode().splitlines()[-2])
    assert last["event"] == "Application startup failed. Exiting."
    assert before["event"].strip().endswith("RuntimeError: no data in ~")
