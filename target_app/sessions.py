"""Conversations kept in memory, bounded in number, length and age, one message at a time."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from target_app.agent.messages import Message

MAX_MESSAGES = 50
MAX_SESSION_BYTES = 128 * 1024
MAX_ANSWER_BYTES = 32 * 1024
"""What is remembered of one answer; the caller got all of it."""

SESSION_ID_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
SWEEP_SECONDS = 60.0


@dataclass(slots=True)
class Session:
    """One conversation: what the user asked and what was answered, tools left out."""

    id: str
    messages: list[Message] = field(default_factory=list)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    holders: int = 0
    """Those who hold the session or wait for it."""
    used: float = 0.0
    """When it was last held, by the clock of the sessions."""
    _sizes: list[int] = field(default_factory=list)

    def add(self, question: str, answer: str) -> None:
        """
        Remember an exchange, and forget the oldest ones beyond what a session may hold.

        At most MAX_MESSAGES messages are kept and MAX_SESSION_BYTES bytes, as UTF-8.
        """
        self._append("user", question)
        self._append("assistant", _cut(answer))
        while len(self.messages) > MAX_MESSAGES or sum(self._sizes) > MAX_SESSION_BYTES:
            # In pairs: an answer without its question would mislead.
            del self.messages[:2], self._sizes[:2]

    def _append(self, role: str, content: str) -> None:
        self.messages.append({"role": role, "content": content})
        self._sizes.append(len(_bytes(content)))


class Sessions:
    """
    The conversations of the app.

    Beyond `max_sessions` the least recently used is forgotten, and each is after `ttl_seconds`
    without use; one that is in use is neither. `clock` gives seconds. Not for several threads,
    but for its length.
    """

    def __init__(
        self,
        *,
        max_sessions: int = 1000,
        ttl_seconds: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin without any."""
        self._max_sessions = max_sessions
        self._ttl_seconds = ttl_seconds
        self._clock = clock
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def __len__(self) -> int:
        """Sessions kept now."""
        return len(self._sessions)

    @asynccontextmanager
    async def use(self, session_id: str | None) -> AsyncIterator[Session]:
        """
        Hold a session, waiting for whoever holds it; without an id a fresh one is begun.

        So the messages of one session are answered one after the other, each knowing the last.
        A session in which nothing was said is not kept.
        """
        session_id = session_id or uuid.uuid4().hex
        held = False
        while not held:
            session = self._hold(session_id)
            try:
                async with session.lock:
                    # Deleted while this one waited: what was said in it is forgotten.
                    held = self._sessions.get(session_id) is session
                    if held:
                        yield session
            finally:
                self._let_go(session)

    def history(self, session_id: str) -> list[Message] | None:
        """
        Copy what was said in a session; None when there is no such session.

        It is empty while the first question is being answered. Looking at a session does not
        keep it from expiring.
        """
        self.sweep()
        session = self._sessions.get(session_id)
        return None if session is None else [dict(message) for message in session.messages]

    def delete(self, session_id: str) -> bool:
        """
        Forget a session at once; False when there is no such session.

        A chat that is running in it is answered but not remembered, and the ones that wait for
        it begin anew.
        """
        self.sweep()
        return self._sessions.pop(session_id, None) is not None

    def sweep(self) -> int:
        """Forget the sessions that expired, and answer how many those were."""
        oldest = self._clock() - self._ttl_seconds
        expired = []
        # The least recently used come first.
        for session in self._sessions.values():
            if session.used > oldest:
                break
            if not session.holders:
                expired.append(session.id)
        for session_id in expired:
            del self._sessions[session_id]
        return len(expired)

    @asynccontextmanager
    async def swept(
        self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> AsyncIterator[None]:
        """Sweep every SWEEP_SECONDS while the block lasts, so that idle memory is given back."""

        async def sweep_for_ever() -> None:
            while True:
                await sleep(SWEEP_SECONDS)
                self.sweep()

        task = asyncio.ensure_future(sweep_for_ever())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    def _hold(self, session_id: str) -> Session:
        self.sweep()
        session = self._sessions.get(session_id)
        if session is None:
            session = self._sessions[session_id] = Session(session_id)
        session.holders += 1
        self._touch(session)
        self._make_room()
        return session

    def _let_go(self, session: Session) -> None:
        session.holders -= 1
        if self._sessions.get(session.id) is not session:
            return
        self._touch(session)
        if not (session.messages or session.holders):
            del self._sessions[session.id]
        self._make_room()

    def _touch(self, session: Session) -> None:
        session.used = self._clock()
        self._sessions.move_to_end(session.id)

    def _make_room(self) -> None:
        while len(self._sessions) > self._max_sessions:
            # One in use must stay, or its next message would start from nothing beside it.
            idle = next((s.id for s in self._sessions.values() if not s.holders), None)
            if idle is None:
                return
            del self._sessions[idle]


def _cut(answer: str) -> str:
    whole = _bytes(answer)
    if len(whole) <= MAX_ANSWER_BYTES:
        return answer
    kept = whole[:MAX_ANSWER_BYTES].decode(errors="ignore")
    return f"{kept}\n[the rest of this answer was not remembered]"


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")
