"""Sessions are bounded and expire, and their messages come one after the other."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from target_app.sessions import (
    MAX_ANSWER_BYTES,
    MAX_MESSAGES,
    MAX_SESSION_BYTES,
    Session,
    Sessions,
)

pytestmark = pytest.mark.anyio

SAID = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


@dataclass
class Clock:
    """Stands still until a test moves it."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


async def talk(sessions: Sessions, session_id: str) -> None:
    async with sessions.use(session_id) as session:
        session.add("q", "a")


def stored_bytes(session: Session) -> int:
    return sum(len(message["content"].encode()) for message in session.messages)


async def test_a_session_remembers_what_was_said() -> None:
    sessions = Sessions()
    await talk(sessions, "s")

    async with sessions.use("s") as session:
        assert session.messages == SAID


async def test_without_an_id_each_session_is_a_fresh_one() -> None:
    sessions = Sessions()
    async with sessions.use(None) as first, sessions.use(None) as second:
        assert first.id != second.id
        assert len(sessions) == 2


async def test_only_the_newest_messages_are_kept() -> None:
    session = Session("s")
    for number in range(30):
        session.add(f"q{number}", f"a{number}")

    assert len(session.messages) == MAX_MESSAGES
    assert session.messages[0]["content"] == "q5"
    assert session.messages[-1]["content"] == "a29"


async def test_long_exchanges_are_forgotten_sooner() -> None:
    session = Session("s")
    for number in range(30):
        session.add(f"question {number}", "é" * 10_000)

    assert MAX_SESSION_BYTES - 21_000 < stored_bytes(session) <= MAX_SESSION_BYTES
    assert [message["role"] for message in session.messages[:2]] == ["user", "assistant"]
    assert session.messages[-2]["content"] == "question 29"


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        pytest.param("x" * MAX_ANSWER_BYTES, "x" * MAX_ANSWER_BYTES, id="one that just fits"),
        pytest.param(
            "é" * MAX_ANSWER_BYTES,
            "é" * (MAX_ANSWER_BYTES // 2) + "\n[the rest of this answer was not remembered]",
            id="one too long",
        ),
        pytest.param(
            "x" + "é" * MAX_ANSWER_BYTES,
            "x"
            + "é" * (MAX_ANSWER_BYTES // 2 - 1)
            + "\n[the rest of this answer was not remembered]",
            id="one cut within a character",
        ),
    ],
)
async def test_of_a_long_answer_the_beginning_is_remembered(answer: str, kept: str) -> None:
    session = Session("s")
    session.add("q", answer)

    assert session.messages[1]["content"] == kept


async def test_the_least_recently_used_session_is_forgotten() -> None:
    sessions = Sessions(max_sessions=2)
    for name in ("a", "b", "a", "c"):
        await talk(sessions, name)

    assert len(sessions) == 2
    assert sessions.history("a") == SAID * 2
    assert sessions.history("b") is None


async def test_a_session_in_use_is_not_forgotten() -> None:
    clock = Clock()
    sessions = Sessions(max_sessions=1, ttl_seconds=60.0, clock=clock)
    async with sessions.use("busy") as busy:
        await talk(sessions, "other")
        clock.now = 1000.0
        assert sessions.sweep() == 0
        busy.add("q", "a")

    assert sessions.history("busy") == SAID


async def test_sessions_that_were_all_in_use_are_forgotten_when_they_are_not() -> None:
    sessions = Sessions(max_sessions=2)
    all_here = asyncio.Barrier(5)

    async def talk_together(name: str) -> None:
        async with sessions.use(name) as session:
            await all_here.wait()
            session.add("q", "a")

    await asyncio.gather(*(talk_together(name) for name in "abcde"))

    assert len(sessions) == 2


async def test_a_session_in_which_nothing_was_said_is_not_kept() -> None:
    sessions = Sessions()
    with pytest.raises(ZeroDivisionError):
        async with sessions.use("s"):
            raise ZeroDivisionError

    assert len(sessions) == 0


async def test_looking_for_a_session_does_not_make_one() -> None:
    sessions = Sessions()

    assert sessions.history("nobody") is None
    assert sessions.delete("nobody") is False
    assert len(sessions) == 0


async def test_history_is_a_copy() -> None:
    sessions = Sessions()
    await talk(sessions, "s")
    history = sessions.history("s")
    assert history == SAID
    history[0]["content"] = "changed"
    history.clear()

    assert sessions.history("s") == SAID


async def test_a_session_expires_after_its_last_use() -> None:
    clock = Clock()
    sessions = Sessions(ttl_seconds=60.0, clock=clock)
    await talk(sessions, "old")
    clock.now = 30.0
    await talk(sessions, "newer")
    clock.now = 59.9
    assert sessions.history("old") == SAID

    # Having been looked at has not kept it.
    clock.now = 60.0
    assert sessions.history("old") is None
    assert sessions.history("newer") == SAID
    assert len(sessions) == 1


@pytest.mark.parametrize(
    "look", [pytest.param("use", id="used"), pytest.param("delete", id="deleted")]
)
async def test_an_expired_session_is_gone_without_a_sweep(look: str) -> None:
    clock = Clock()
    sessions = Sessions(ttl_seconds=60.0, clock=clock)
    await talk(sessions, "s")
    clock.now = 60.0

    if look == "use":
        async with sessions.use("s") as session:
            assert session.messages == []
    else:
        assert sessions.delete("s") is False


async def test_a_long_chat_counts_as_use_until_its_end() -> None:
    clock = Clock()
    sessions = Sessions(ttl_seconds=60.0, clock=clock)
    async with sessions.use("s") as session:
        clock.now = 100.0
        session.add("q", "a")
    clock.now = 159.0

    assert sessions.history("s") == SAID


async def test_idle_sessions_are_swept_while_the_app_runs() -> None:
    clock = Clock()
    sessions = Sessions(ttl_seconds=60.0, clock=clock)
    await talk(sessions, "s")
    slept: list[float] = []
    swept_twice = asyncio.Event()
    tasks = asyncio.all_tasks()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) > 1:
            swept_twice.set()
            await asyncio.Event().wait()
        clock.now += seconds

    async with sessions.swept(sleep):
        await swept_twice.wait()
        assert len(sessions) == 0

    assert slept == [60.0, 60.0]
    assert asyncio.all_tasks() == tasks


async def test_messages_of_one_session_wait_for_each_other() -> None:
    sessions = Sessions()
    order: list[str] = []

    async def take_turn(name: str) -> None:
        async with sessions.use("s") as session:
            order.append(f"{name} begins")
            await asyncio.sleep(0)
            session.add(name, name)
            order.append(f"{name} ends")

    await asyncio.gather(take_turn("first"), take_turn("second"))

    assert order == ["first begins", "first ends", "second begins", "second ends"]


async def test_a_deleted_session_is_forgotten() -> None:
    sessions = Sessions()
    await talk(sessions, "s")

    assert sessions.delete("s") is True
    assert sessions.history("s") is None
    assert sessions.delete("s") is False


async def test_deleting_a_session_in_use_forgets_what_is_said_in_it() -> None:
    sessions = Sessions()
    await talk(sessions, "s")
    async with sessions.use("s") as running:
        assert sessions.delete("s") is True
        running.add("late", "late")

    assert sessions.history("s") is None
    assert len(sessions) == 0


async def test_who_waits_for_a_deleted_session_begins_anew() -> None:
    sessions = Sessions()
    await talk(sessions, "s")
    waiting = asyncio.Event()
    seen: list[int] = []

    async def wait() -> None:
        waiting.set()
        async with sessions.use("s") as session:
            seen.append(len(session.messages))
            session.add("q", "a")

    async with sessions.use("s") as running:
        waiter = asyncio.ensure_future(wait())
        await waiting.wait()
        sessions.delete("s")
        running.add("late", "late")
    await waiter

    assert seen == [0]
    assert sessions.history("s") == SAID


async def test_a_waiting_message_that_is_given_up_leaves_nothing() -> None:
    sessions = Sessions()
    async with sessions.use("s"):
        waiter = asyncio.ensure_future(talk(sessions, "s"))
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.wait({waiter})

    assert len(sessions) == 0
