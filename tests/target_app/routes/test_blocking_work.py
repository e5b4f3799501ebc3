"""Blocking work in a thread: nobody goes on while it still runs."""

from __future__ import annotations

import asyncio
import threading

import pytest

from target_app.routes.threads import to_end

pytestmark = pytest.mark.anyio


async def test_it_answers_and_fails_as_the_function_does() -> None:
    def fail() -> None:
        raise ValueError("broken")

    assert await to_end(lambda: 42) == 42
    with pytest.raises(ValueError, match="broken"):
        await to_end(fail)


@pytest.mark.parametrize("fails", [None, ValueError("broken")], ids=["ends well", "fails"])
async def test_who_is_cancelled_waits_for_the_end(fails: Exception | None) -> None:
    began, may_end = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    done: list[str] = []

    def work() -> None:
        loop.call_soon_threadsafe(began.set)
        may_end.wait(10)
        done.append("work")
        if fails is not None:
            raise fails

    async def caller() -> None:
        try:
            await to_end(work)
        finally:
            done.append("caller")

    calling = asyncio.ensure_future(caller())
    await began.wait()
    calling.cancel()
    await asyncio.sleep(0)
    assert done == []
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await calling

    assert done == ["work", "caller"]
