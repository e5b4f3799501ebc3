"""Sessions are bounded, and their messages come one after the other."""

from __future__ import annotations

import asyncio

import pytest

from target_app.sessions import MAX_MESSAGES, Sessions

pytestmark = pytest.mark.anyio


async def test_a_session_remembers_what_was_said() -> None:
    sessions = Sessions()
    async with sessions.use("s") as session:
        session.add("question", "answer")

    async with sessions.use("s") as session:
        assert session.messages == [
            {"role": "user", "content": "question"},
            {"role": "assistant", "content": "answer"},
        ]


async def test_without_an_id_each_session_is_a_fresh_one() -> None:
    sessions = Sessions()
    async with sessions.use(None) as first, sessions.use(None) as second:
        assert first.id != second.id
    assert len(sessions) == 2


async def test_only_the_newest_messages_are_kept() -> None:
    async with Sessions().use("s") as session:
        for number in range(30):
            session.add(f"q{number}", f"a{number}")

        assert len(session.messages) == MAX_MESSAGES
        assert session.messages[0]["content"] == "q5"
        assert session.messages[-1]["content"] == "a29"


async def test_the_least_recently_used_session_is_forgotten() -> None:
    sessions = Sessions(max_sessions=2)
    for name in ("a", "b", "a", "c"):
        async with sessions.use(name) as session:
            session.add(name, name)

    assert len(sessions) == 2
    async with sessions.use("a") as kept:
        assert len(kept.messages) == 4
    async with sessions.use("b") as forgotten:
        assert forgotten.messages == []


async def test_a_session_in_use_is_not_forgotten() -> None:
    sessions = Sessions(max_sessions=1)
    async with sessions.use("busy") as busy:
        async with sessions.use("other"):
            pass
        busy.add("q", "a")

    async with sessions.use("busy") as again:
        assert again is busy


async def test_messages_of_one_session_wait_for_each_other() -> None:
    sessions = Sessions()
    order: list[str] = []

    async def talk(name: str) -> None:
        async with sessions.use("s"):
            order.append(f"{name} begins")
            await asyncio.sleep(0)
            order.append(f"{name} ends")

    await asyncio.gather(talk("first"), talk("second"))

    assert order == ["first begins", "first ends", "second begins", "second ends"]
