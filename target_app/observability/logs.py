"""
Log lines: every line of every logger in the process, redacted, as JSON or as text.

structlog's processors make them, also of what other libraries log. A line says which request it
is about. Nobody waits for standard error: see line_writer.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from target_app.observability.line_writer import LineWriter, Result
from target_app.observability.redaction import Redactor
from target_app.observability.request_trace import current

if TYPE_CHECKING:
    from target_app.observability.metrics import Metrics
    from target_app.settings import Settings

CHATTY = (
    "httpx", "httpx2", "httpcore", "httpcore2", "openai", "langfuse", "opentelemetry", "urllib3",
)  # fmt: skip
"""Libraries that write a line for every request or start; only their warnings are wanted."""

FLUSH_SECONDS = 2.0
"""How long the end of the process waits for the last lines, at most."""

REDACTED = "_redacted"
"""Marks a line whose fields were redacted and cut before; never written."""

_ENCODE = json.JSONEncoder(ensure_ascii=False, default=str).encode

_IDS = ("trace_id", "session_id", "route")
_FIRST = ("timestamp", "level", "logger", "event", *_IDS)


def configure_logs(
    settings: Settings | None = None,
    redactor: Redactor | None = None,
    metrics: Metrics | None = None,
) -> None:
    """
    Set up logging for the process. Called again, it is set up anew.

    Handlers that write to the terminal are replaced by one that redacts, those of uvicorn among
    them. Where others are, the program around the app has its own ideas: they stay, and so does
    the level.
    """
    redactor = redactor or Redactor()
    shape = "auto" if settings is None else settings.log_format
    as_text = shape == "text" or (shape == "auto" and _is_terminal())
    chain: list[Processor] = [_placed, _redacting(redactor), _ordered]
    chain.append(_as_text if as_text else structlog.processors.JSONRenderer(_as_json))
    _HANDLER.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[_of_record, structlog.processors.format_exc_info, *chain],
        )
    )
    if metrics is not None:
        _WRITER.count = _counting(metrics)
    structlog.configure(
        processors=[_of_call, *chain],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=_Lines,
        cache_logger_on_first_use=False,
    )
    _take_over()
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


@asynccontextmanager
async def logs_kept() -> AsyncIterator[None]:
    """
    Be the one who writes logs while the app is served, and leave no line behind.

    A server may have set up its own logging after the app was made.
    """
    _take_over()
    try:
        yield
    finally:
        await asyncio.to_thread(flush_logs)


@contextmanager
def in_session(session_id: str) -> Iterator[None]:
    """Let every line of a block, and of tasks and threads begun in it, name the session."""
    with structlog.contextvars.bound_contextvars(session_id=session_id):
        yield


def flush_logs(timeout_seconds: float = FLUSH_SECONDS) -> bool:
    """Wait until all lines are written, blocking; say whether they are."""
    return _WRITER.flush(timeout_seconds)


class _Handler(logging.Handler):
    """Formats a record where it was logged, and lets the writer write it."""

    def createLock(self) -> None:  # noqa: N802 - the name is Python's
        """Do without: making a line changes nothing, and the queue has a lock."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record as a line. Never raises."""
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - arguments that do not fit, or an odd object
            # Python's own way out would print all of it, unredacted.
            said = f"a line of {record.name} could not be made: {type(error).__name__}"
            line = self.format(
                logging.LogRecord(__name__, logging.ERROR, record.pathname, 0, said, None, None)
            )
        _WRITER.put(_encoded(line))


class _Lines:
    """What structlog calls with a line that is ready."""

    def __init__(self, *_: object) -> None:
        """Take no arguments of its own."""

    def msg(self, line: str) -> None:
        """Queue a line."""
        _WRITER.put(_encoded(line))

    debug = info = warning = error = critical = msg


_WRITER = LineWriter()
_HANDLER = _Handler()
# Not left to the handler's own flush: uvicorn sets up logging so that Python forgets about it.
atexit.register(flush_logs)


def _take_over() -> None:
    """Be the only one who writes to the terminal."""
    root = logging.getLogger()
    names = [name for name in logging.root.manager.loggerDict if name]
    for logger in (root, *map(logging.getLogger, names)):
        ours = [handler for handler in logger.handlers if _writes_to_terminal(handler)]
        for handler in ours:
            logger.removeHandler(handler)
        if ours and not logger.handlers:
            logger.propagate = True
    if _HANDLER not in root.handlers:
        root.addHandler(_HANDLER)
    if root.handlers == [_HANDLER]:
        root.setLevel(logging.INFO)
    # What Python would print is told like everything else, unless somebody wants it already.
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _uncaught
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _uncaught_in_thread
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _ignored
    logging.captureWarnings(True)


def _writes_to_terminal(handler: logging.Handler) -> bool:
    streams = (sys.stderr, sys.stdout, sys.__stderr__, sys.__stdout__)
    return type(handler) is logging.StreamHandler and handler.stream in streams


def _uncaught(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    reason = "an error that nothing caught" if issubclass(kind, Exception) else kind.__name__
    logging.getLogger(__name__).critical("ended by %s", reason, exc_info=(kind, error, traceback))


def _uncaught_in_thread(uncaught: threading.ExceptHookArgs) -> None:
    if uncaught.exc_value is None or not isinstance(uncaught.exc_value, Exception):
        return
    name = uncaught.thread.name if uncaught.thread is not None else "unknown"
    logging.getLogger(__name__).error(
        "the thread %s ended by an error",
        name,
        exc_info=(uncaught.exc_type, uncaught.exc_value, uncaught.exc_traceback),
    )


def _ignored(ignored: sys.UnraisableHookArgs) -> None:
    # Its name only: the object itself may be half gone.
    where = getattr(ignored.object, "__qualname__", type(ignored.object).__name__)
    logging.getLogger(__name__).error(
        "an error was ignored in %s", where, exc_info=ignored.exc_value or False
    )


# -- the processors: each takes the fields of a line and hands them on


def _of_record(_: WrappedLogger, __: str, fields: EventDict) -> EventDict:
    """Take what is known of a record of Python's logging."""
    record: logging.LogRecord = fields.pop("_record")
    del fields["_from_structlog"]
    fields["timestamp"] = _when(record.created)
    fields["level"] = record.levelname.lower()
    fields["logger"] = record.name
    return fields


def _of_call(_: WrappedLogger, method: str, fields: EventDict) -> EventDict:
    """Take what is known of a line of structlog's own."""
    fields["timestamp"] = datetime.now(UTC).isoformat()
    fields["level"] = method
    return fields


def _placed(_: WrappedLogger, __: str, fields: EventDict) -> EventDict:
    """Say which request a line is about, when it does not say so itself."""
    trace = current()
    if trace is not None:
        fields.setdefault("trace_id", trace.trace_id)
        fields.setdefault("route", trace.route)
        if trace.session_id is not None:
            fields.setdefault("session_id", trace.session_id)
    session_id = structlog.contextvars.get_contextvars().get("session_id")
    if session_id is not None:
        fields.setdefault("session_id", session_id)
    return fields


def _redacting(redactor: Redactor) -> Processor:
    def redacted(_: WrappedLogger, __: str, fields: EventDict) -> EventDict:
        """Redact everything that is not made here."""
        if fields.pop(REDACTED, False):
            return fields
        known = {name: fields.pop(name) for name in ("timestamp", "level") if name in fields}
        # Where a failure was is at the end of the text.
        long = {
            name: redactor.long_text(str(fields.pop(name)).strip())
            for name in ("event", "exception", "stack_info")
            if fields.get(name)
        }
        rest: dict[str, Any] = redactor.value(fields)
        return known | long | rest

    return redacted


def _ordered(_: WrappedLogger, __: str, fields: EventDict) -> EventDict:
    """Begin with what every line has."""
    first = {name: fields[name] for name in _FIRST if fields.get(name) is not None}
    return first | {name: value for name, value in fields.items() if name not in first}


def _as_json(fields: EventDict, **_: Any) -> str:
    return _ENCODE(fields)


def _as_text(_: WrappedLogger, __: str, fields: EventDict) -> str:
    """Write for people: what happened, then the rest, then the traceback."""
    rest = dict(fields)
    head = [str(rest.pop(name, "")) for name in ("timestamp", "level", "logger", "event")]
    head[1] = f"{head[1].upper():8}"
    traces = [str(rest.pop(name)) for name in ("stack_info", "exception") if rest.get(name)]
    known = " ".join(f"{name}={_short(value)}" for name, value in rest.items())
    text = "\n".join([" ".join(part for part in (*head, known) if part), *traces])
    # A line of its own begins with the time: no text that is logged can look like one, nor can it
    # speak to the terminal.
    return "\n    ".join(_visible(line) for line in text.splitlines())


def _short(value: object) -> str:
    if isinstance(value, str) and value and " " not in value:
        return value
    return _ENCODE(value)


def _visible(line: str) -> str:
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in line)


def _encoded(line: str) -> bytes:
    return line.encode(errors="replace") + b"\n"


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _counting(metrics: Metrics) -> Callable[[Result, int, int], None]:
    children: dict[Result, Any] = {
        "written": metrics.log_lines.labels("written"),
        "dropped": metrics.log_lines.labels("dropped"),
    }

    def count(result: Result, lines: int, size_bytes: int) -> None:
        children[result].inc(lines)
        if result == "written":
            metrics.log_bytes.inc(size_bytes)

    return count


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):
        return False
