"""Conversations kept in memory, bounded in number and in length, one message at a time."""

from __future__ import annotations

import asyncio
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from target_app.agent.messages import Message

MAX_MESSAGES = 50
MAX_SESSIONS = 1000
SESSION_ID_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"


@dataclass(slots=True)
class Session:
    """One conversation: what the user asked and what was answered, tools left out."""

    id: str
    messages: list[Message] = field(default_factory=list)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0

    def add(self, question: str, answer: str) -> None:
        """Remember an exchange, forgetting the oldest ones beyond MAX_MESSAGES."""
        self.messages.append({"role": "user", "content": question})
        self.messages.append({"role": "assistant", "content": answer})
        del self.messages[:-MAX_MESSAGES]


class Sessions:
    """The conversations of the app, the least recently used forgotten first."""

    def __init__(self, max_sessions: int = MAX_SESSIONS) -> None:
        """Begin without any."""
        self._max_sessions = max_sessions
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def __len__(self) -> int:
        """Sessions kept now."""
        return len(self._sessions)

    @asynccontextmanager
    async def use(self, session_id: str | None) -> AsyncIterator[Session]:
        """
        Hold a session, waiting for whoever holds it; without an id a fresh one is begun.

        So the messages of one session are answered one after the other, each knowing the last.
        """
        session = self._find(session_id or uuid.uuid4().hex)
        session.waiting += 1
        try:
            async with session.lock:
                yield session
        finally:
            session.waiting -= 1

    def _find(self, session_id: str) -> Session:
        session = self._sessions.setdefault(session_id, Session(session_id))
        self._sessions.move_to_end(session_id)
        if len(self._sessions) > self._max_sessions:
            # One in use must stay, or its next message would start from nothing beside it.
            idle = next((s.id for s in self._sessions.values() if not s.waiting), None)
            if idle is not None and idle != session_id:
                del self._sessions[idle]
        return session
