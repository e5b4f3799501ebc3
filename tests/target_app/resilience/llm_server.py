"""
An LLM on a port of this machine, which does what the question tells it to.

A question is a plan in JSON: turns of tool calls, and then an answer. How far a plan has come is
read from the conversation, so any number of chats can go on at once.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from target_app.agent.messages import ToolCall

Turn = Sequence[ToolCall]

WAIT_SECONDS = 20.0
"""What does not happen in this time does not happen at all."""

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def plan(*turns: Turn, answer: str = "done") -> str:
    """Write the question that makes the LLM do these turns, then answer."""
    calls = [[[call.name, call.arguments] for call in turn] for turn in turns]
    return json.dumps([calls, answer])


@dataclass(slots=True)
class Trouble:
    """What the LLM answers in place of what it was asked for, after some good answers."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    times: float = math.inf
    good_first: int = 0

    def strikes(self) -> bool:
        if self.good_first > 0:
            self.good_first -= 1
            return False
        self.times -= 1
        return self.times >= 0


@dataclass(slots=True)
class LLMServer:
    """
    The LLM. `asked` holds the messages of every request that came, whatever became of it, and
    `asked_at` when that was, by the event loop's clock.

    While `is_silent` it answers nobody, and while `breaks_off` it stops in the middle of every
    answer. `left` counts the callers who went before they were answered.
    """

    port: int = 0
    trouble: Trouble | None = None
    is_silent: bool = False
    breaks_off: bool = False
    asked: list[list[dict[str, Any]]] = field(default_factory=list)
    asked_at: list[float] = field(default_factory=list)
    left: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _server: asyncio.Server | None = None
    _callers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def is_up(self) -> bool:
        return self._server is not None

    async def go_up(self) -> None:
        """Listen, after the first time on the same port again."""
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, reuse_address=True
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def go_down(self) -> None:
        """Hang up on everybody; from then on connections are refused."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            for caller in self._callers:
                caller.transport.abort()
            await server.wait_closed()
        await self.until(lambda: not self._callers)

    def recover(self) -> None:
        """Be well again."""
        self.trouble = None
        self.is_silent = self.breaks_off = False

    async def until(self, condition: Any) -> None:
        """Wait until something about the LLM is true."""
        async with asyncio.timeout(WAIT_SECONDS), self._changed:
            await self._changed.wait_for(condition)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._callers.add(writer)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    body = json.loads(await reader.readexactly(_length(head)))
                    self.asked.append(body["messages"])
                    self.asked_at.append(asyncio.get_running_loop().time())
                    await self._tell()
                    if not await self._answer(body, reader, writer):
                        break
        finally:
            self._callers.discard(writer)
            writer.transport.abort()
            await self._tell()

    async def _answer(
        self, body: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request; False when the connection is no good any more."""
        if self.trouble is not None and self.trouble.strikes():
            _write(writer, self.trouble.status, {"error": {"message": "no"}}, self.trouble.headers)
            return True
        if self.is_silent:
            # The caller has nothing more to say: what is read is that it left.
            await reader.read(1)
            self.left += 1
            return False
        message = _next(body["messages"])
        if body.get("stream"):
            pieces = _chunks(message)
            writer.write(_head(200, "text/event-stream", {"Transfer-Encoding": "chunked"}))
            for piece in pieces[: 1 if self.breaks_off else None]:
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            if self.breaks_off:
                await writer.drain()
                return False
            writer.write(b"0\r\n\r\n")
            return True
        reason = "tool_calls" if message["tool_calls"] else "stop"
        choice = {"index": 0, "message": message, "finish_reason": reason}
        if self.breaks_off:
            writer.write(_head(200, "application/json", {"Content-Length": "1000"}) + b'{"id": ')
            await writer.drain()
            return False
        _write(writer, 200, {"model": "planned-1", "choices": [choice], "usage": USAGE}, {})
        return True


@asynccontextmanager
async def llm_up() -> AsyncIterator[LLMServer]:
    """Keep an LLM up while the block lasts."""
    llm = LLMServer()
    await llm.go_up()
    try:
        yield llm
    finally:
        await llm.go_down()


def _next(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Say what comes next in the plan of the last question."""
    asked = max(at for at, message in enumerate(messages) if message["role"] == "user")
    turns, answer = json.loads(messages[asked]["content"])
    done = sum(message["role"] == "assistant" for message in messages[asked:])
    if done == len(turns):
        return {"role": "assistant", "content": answer, "tool_calls": []}
    calls = [
        {
            "index": at,
            "id": f"call-{done}-{at}",
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        }
        for at, (name, arguments) in enumerate(turns[done])
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def _chunks(message: dict[str, Any]) -> list[bytes]:
    """Stream a message: the calls at once, a text word by word."""
    deltas = [{"content": f"{word} "} for word in (message["content"] or "").split()]
    deltas = deltas or [{"tool_calls": message["tool_calls"]}]
    told: list[dict[str, Any]] = [
        {"model": "planned-1", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        for delta in deltas
    ]
    told.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    told.append({"choices": [], "usage": USAGE})
    return [*(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in told), b"data: [DONE]\n\n"]


def _length(head: bytes) -> int:
    fields = (line.partition(b":") for line in head.split(b"\r\n"))
    return next(int(value) for name, _, value in fields if name.lower() == b"content-length")


def _head(status: int, content_type: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} as planned", f"Content-Type: {content_type}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def _write(
    writer: asyncio.StreamWriter, status: int, content: Any, headers: Mapping[str, str]
) -> None:
    body = json.dumps(content).encode()
    known = {"Content-Length": str(len(body)), **headers}
    writer.write(_head(status, "application/json", known) + body)
