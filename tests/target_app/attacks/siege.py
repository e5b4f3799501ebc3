"""The app on a real port with secrets around it, and a watch on what every attack came to."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import socket
import time
from collections import Counter
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.samples import Sample

from target_app.agent.conversation import MAX_CALLS
from target_app.agent.messages import ToolCall
from target_app.main import create_app
from target_app.sandbox.paths import UNFINISHED
from target_app.services import Edges
from target_app.settings import Settings
from tests.target_app.attacks.world import CANARY, Snapshot, World
from tests.target_app.scripted import HOUR_NS, ScriptedLLM

LEVELS = ("paths", "worker", "landlock")
STALL_SECONDS = 0.25
TICK_SECONDS = 0.005
TRIES = 3
SETTLING_TRIES = 100
SECRETS = (CANARY.encode(), b"root:x:0:0:")
"""What stands in the files outside the root, in the environment, and in /etc/passwd."""

MEBIBYTE = 1024 * 1024
MEMORY_BYTES = 150 * MEBIBYTE
"""How much all processes of the app together may grow during one attack."""

ANSWER_SECONDS = 20.0
"""No attack may keep its caller waiting longer: the timeout of a command is 5 s."""

COUNTED = re.compile(r"^(sandbox_security_blocks|errors)_total\{(.*)\} ([0-9.e+]+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, as it came over the wire."""

    status: int
    head: bytes
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """The server-sent events; comments are left out."""
        found = re.findall(r"^event: (\w+)\ndata: (.*)$", self.body.decode(), re.MULTILINE)
        return [(name, json.loads(data)) for name, data in found]


@dataclass(slots=True)
class Watch:
    """What was seen while something went on."""

    told: list[bytes] = field(default_factory=list)
    stall_seconds: float = 0.0
    grown_bytes: int = 0
    blocks: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    before: Snapshot = field(default_factory=dict)
    after: Snapshot = field(default_factory=dict)
    records: list[logging.LogRecord] = field(default_factory=list)

    @property
    def changed(self) -> set[str]:
        """Paths that appeared, went or changed."""
        paths = self.before.keys() | self.after.keys()
        return {path for path in paths if self.before.get(path) != self.after.get(path)}


@dataclass(slots=True)
class LogBook(logging.Handler):
    """Keeps every log record, from all libraries."""

    records: list[logging.LogRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        logging.Handler.__init__(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    __hash__ = logging.Handler.__hash__


class Server(uvicorn.Server):
    """A server that leaves the signals of the process alone and says when it is ready."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextmanager
    def capture_signals(self):
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@dataclass(slots=True)
class Siege:
    """An app under attack."""

    world: World
    level: str
    port: int
    llm: ScriptedLLM = field(repr=False)
    book: LogBook = field(repr=False)
    registry: CollectorRegistry = field(repr=False)
    watch: Watch = field(default_factory=Watch, repr=False)
    _seen: Snapshot | None = field(default=None, repr=False)
    # What stood at the end of one attack stands at the beginning of the next.

    async def send(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] = b"",
        length: int | str | None = None,
        leave_after: int | None = None,
    ) -> Answer:
        """
        Send a request as it is written: nothing is normalised, escaped or checked.

        `length` is the Content-Length to claim; without it the truth is told of a whole body,
        and a body in pieces is sent in chunks. After `leave_after` bytes the client is gone.
        """
        pieces = (body,) if isinstance(body, bytes) else body
        lines = [f"{method} {target} HTTP/1.1", "Host: app", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        chunked = not isinstance(body, bytes) and length is None
        if chunked:
            lines.append("Transfer-Encoding: chunked")
        elif length is not None or body:
            lines.append(f"Content-Length: {len(body) if length is None else length}")
        head = "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")
        return await self.send_bytes(head, pieces, chunked=chunked, leave_after=leave_after)

    async def send_bytes(
        self,
        head: bytes,
        pieces: Iterable[bytes] = (),
        *,
        chunked: bool = False,
        leave_after: int | None = None,
        hang_up: bool = False,
    ) -> Answer:
        """
        Send bytes and read until the server closes; what is not read any more is not sent.

        `hang_up` says at the end that nothing more will come, though the server waits for it.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)

        async def feed() -> None:
            with suppress(ConnectionError):
                writer.write(head)
                for piece in pieces:
                    writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                    await writer.drain()
                if chunked:
                    writer.write(b"0\r\n\r\n")
                if hang_up:
                    writer.write_eof()
                await writer.drain()

        feeding = asyncio.ensure_future(feed())
        received = bytearray()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                with suppress(ConnectionError):
                    while data := await reader.read(256 * 1024):
                        received += data
                        if leave_after is not None and len(received) >= leave_after:
                            break
        finally:
            feeding.cancel()
            await asyncio.wait({feeding})
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
        self.watch.told.append(bytes(received))
        return _read_answer(bytes(received))

    async def post(self, target: str, content: Any, method: str = "POST") -> Answer:
        """Send JSON."""
        body = json.dumps(content).encode()
        headers = {"Content-Type": "application/json"}
        return await self.send(method, target, headers=headers, body=body)

    async def ask(self, *calls: ToolCall) -> Answer:
        """Have the LLM make these calls in one turn."""
        self.llm.turns[:] = [calls, "done"]
        self.llm.prompts.clear()
        answer = await self.post("/api/chat", {"message": "question"})
        told = [prompt.messages for prompt in self.llm.prompts]
        self.watch.told.append(json.dumps(told, ensure_ascii=True).encode())
        return answer

    async def results(self, *calls: ToolCall) -> list[dict[str, Any]]:
        """Have the LLM make these calls, and answer what each came to, in their order."""
        if len(calls) > MAX_CALLS:
            parts = (calls[start : start + MAX_CALLS] for start in range(0, len(calls), MAX_CALLS))
            return [result for part in parts for result in await self.results(*part)]
        answer = await self.ask(*calls)
        assert answer.status == 200, answer
        results = [result["result"] for result in answer.json()["tool_results"]]
        assert len(results) == len(calls)
        return results

    def counted(self) -> tuple[Counter[str], Counter[str]]:
        """Count as `counts` does, without the cost of writing a whole page of metrics."""
        found = Counter[str](), Counter[str]()
        for sample in self._samples("sandbox_security_blocks_total"):
            found[0][sample.labels["block_type"]] = int(sample.value)
        for sample in self._samples("errors_total"):
            if (
                sample.labels["component"] == "sandbox"
                and sample.labels["error_type"] != "timeout"
            ):
                found[1][sample.labels["error_type"]] = int(sample.value)
        return found

    def _samples(self, name: str) -> Iterator[Sample]:
        for family in self.registry.restricted_registry([name]).collect():
            yield from (sample for sample in family.samples if sample.name == name)

    async def counts(self) -> tuple[Counter[str], Counter[str]]:
        """Read the security blocks by kind, and the errors of the sandbox by kind."""
        page = (await self.send("GET", "/metrics")).body.decode()
        blocks: Counter[str] = Counter()
        errors: Counter[str] = Counter()
        for name, text, value in COUNTED.findall(page):
            labels = dict(LABEL.findall(text))
            if name == "errors":
                if labels["component"] == "sandbox" and labels["error_type"] != "timeout":
                    errors[labels["error_type"]] = int(float(value))
            else:
                blocks[labels["block_type"]] = int(float(value))
        return blocks, errors

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[Watch]:
        """Watch everything while the block runs."""
        blocks, errors = self.counted()
        self.watch = watch = Watch(before=self._seen or self.world.snapshot())
        self._seen = None
        self.book.records.clear()
        memory = _Memory()
        with _ticking() as gaps:
            yield watch
        watch.stall_seconds = max(gaps)
        watch.grown_bytes = memory.grown_bytes()
        self._seen = watch.after = await self._settled()
        watch.records = list(self.book.records)
        now = self.counted()
        watch.blocks, watch.errors = now[0] - blocks, now[1] - errors

    async def _settled(self) -> Snapshot:
        """Look at everything once the drafts of clients that left were cleared away."""
        for _ in range(SETTLING_TRIES):
            seen = self.world.snapshot()
            if not any(UNFINISHED in path for path in seen):
                break
            await self.send("GET", "/health")
        return seen

    async def withstand(
        self,
        attack: Callable[[], Awaitable[object]],
        *,
        blocks: Mapping[str, int] | None = None,
        writes: Sequence[str] = (),
        undo: Callable[[], object] | None = None,
    ) -> None:
        """
        Attack, and check that nothing was read, written, stalled or left broken by it.

        `blocks` are the security blocks to be counted, by kind; None leaves them open.
        `writes` are the paths beneath the root that may change; `undo` sets them right again.
        A stall may come from a busy machine, so the attack is made again: the shortest counts.
        """
        stalls = []
        for _ in range(TRIES):
            try:
                async with self.watched() as watch:
                    await attack()
                self.check(watch, blocks, writes)
            finally:
                if undo is not None:
                    undo()
                    self._seen = None
            await self.check_alive()
            stalls.append(watch.stall_seconds)
            if watch.stall_seconds <= STALL_SECONDS:
                return
            # What was remembered would spare the next try the work.
            assert (await self.send("DELETE", "/api/cache")).status == 200
        raise AssertionError(f"the event loop stood still for {min(stalls):.3f} s")

    def check(self, watch: Watch, blocks: Mapping[str, int] | None, writes: Sequence[str]) -> None:
        """Check all but the clock."""
        texts = [record.getMessage() for record in watch.records]
        for text in (*watch.told, *(text.encode("utf-8", "replace") for text in texts)):
            for secret in SECRETS:
                assert secret not in text, _around(text, secret)
        root = str(self.world.root).encode()
        for text in watch.told:
            assert root not in text, _around(text, root)
        for record, text in zip(watch.records, texts, strict=True):
            assert record.levelno < logging.ERROR, (text, record.exc_info)
            assert text.isprintable(), f"a log line can be forged: {text!r}"
        allowed = tuple(str(self.world.root / path) for path in writes)
        changed = sorted(path for path in watch.changed if not path.startswith(allowed or "\0"))
        assert changed == [], changed
        assert watch.grown_bytes < MEMORY_BYTES, f"{watch.grown_bytes / MEBIBYTE:.0f} MiB more"
        counted = dict(+watch.blocks), dict(+watch.errors)
        assert counted[0] == counted[1], counted
        if blocks is not None:
            assert counted[0] == {key: count for key, count in blocks.items() if count}, counted

    async def check_alive(self) -> None:
        """Check that the next question is answered as if nothing had happened."""
        [result] = await self.results(ToolCall("next", "cat", '{"path": "readme.md"}'))
        assert result["stdout"] == "alpha\nbeta\ngamma", result


@asynccontextmanager
async def besieged(world: World, level: str, **settings: Any) -> AsyncIterator[Siege]:
    """Start the app at this level of isolation on a free port."""
    llm = ScriptedLLM([])
    chosen = {
        "data_root_path": world.root,
        "cache_directory": world.state / level,
        "cache_management_enabled": True,
        # The names that the attacks use, or they would come no further than that.
        "allowed_hosts": ("app", "a"),
        "isolation": level,
        "sandbox_workers": 1,
        "command_timeout": 5.0,
        **settings,
    }
    # An hour late, every file was written long enough ago to be remembered.
    edges = Edges(llm=llm, wall_clock_ns=lambda: time.time_ns() + HOUR_NS)
    app = create_app(Settings(**chosen), edges)
    book = LogBook()
    logging.getLogger().addHandler(book)
    try:
        async with app.router.lifespan_context(app):
            with socket.create_server(("127.0.0.1", 0)) as listening:
                config = uvicorn.Config(
                    app, lifespan="off", ws="none", log_config=None, timeout_keep_alive=0
                )
                server = Server(config)
                serving = asyncio.ensure_future(server.serve([listening]))
                await server.ready.wait()
                try:
                    port = listening.getsockname()[1]
                    registry = app.state.services.metrics.registry
                    yield Siege(world, level, port, llm, book, registry)
                finally:
                    server.should_exit = True
                    await serving
    finally:
        logging.getLogger().removeHandler(book)


@contextmanager
def _ticking():
    """Tick in the event loop; gives the seconds between tick and tick beyond what was asked."""
    loop = asyncio.get_running_loop()
    gaps = [0.0]
    last = loop.time()

    def tick() -> None:
        nonlocal last, timer
        now = loop.time()
        gaps.append(now - last - TICK_SECONDS)
        last = now
        timer = loop.call_later(TICK_SECONDS, tick)

    timer = loop.call_later(TICK_SECONDS, tick)
    try:
        yield gaps
    finally:
        timer.cancel()
        # A stall at the very end has kept the last tick from coming.
        gaps.append(loop.time() - last - TICK_SECONDS)


class _Memory:
    """The highest resident size of this process and its children since it was made."""

    def __init__(self) -> None:
        self._began = {}
        for pid in processes():
            # The kernel's own record of the highest size, begun anew: no peak can be missed.
            with suppress(OSError):
                Path(f"/proc/{pid}/clear_refs").write_text("5")
                self._began[pid] = _peak_bytes(pid)

    def grown_bytes(self) -> int:
        grown = 0
        for pid in processes():
            with suppress(OSError):
                grown += _peak_bytes(pid) - self._began.get(pid, 0)
        return grown


def processes() -> list[int]:
    """This process first, then those it started."""
    processes = [os.getpid()]
    for path in Path("/proc/self/task").glob("*/children"):
        # A thread may end meanwhile.
        with suppress(OSError):
            processes += map(int, path.read_text().split())
    return processes


def _peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _read_answer(received: bytes) -> Answer:
    head, _, body = received.partition(b"\r\n\r\n")
    first = head.split(b"\r\n", 1)[0].split(b" ")
    status = int(first[1]) if len(first) > 1 else 0
    if b"\r\ntransfer-encoding: chunked" in head.lower():
        body = b"".join(_chunks(body))
    return Answer(status, head, body)


def _chunks(body: bytes) -> Iterable[bytes]:
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        yield body[:length]
        body = body[length + 2 :]


def _around(text: bytes, found: bytes) -> bytes:
    at = text.index(found)
    return text[max(0, at - 200) : at + 100]
