"""The session routes: what was said, and forgetting it."""

from __future__ import annotations

import pytest

from tests.target_app.scripted import Start, call

pytestmark = pytest.mark.anyio


async def test_a_history_has_what_was_asked_and_answered(start: Start) -> None:
    async with start([call("ls")], "one", "two") as app:
        await app.ask("first", session_id="s-1")
        await app.ask("second", session_id="s-1")
        answer = await app.client.get("/api/chat/sessions/s-1/history")

    assert (answer.status_code, answer.json()) == (
        200,
        {
            "session_id": "s-1",
            "history": [
                {"role": "user", "content": "first"},
                {"role": "assistant", "content": "one"},
                {"role": "user", "content": "second"},
                {"role": "assistant", "content": "two"},
            ],
        },
    )


async def test_a_session_that_is_deleted_is_forgotten(start: Start) -> None:
    async with start("one") as app:
        await app.ask("first", session_id="s-1")
        deleted = await app.client.delete("/api/chat/sessions/s-1")
        again = await app.client.delete("/api/chat/sessions/s-1")
        history = await app.client.get("/api/chat/sessions/s-1/history")

    assert (deleted.status_code, deleted.json()) == (200, {"message": "session deleted"})
    for answer in (again, history):
        assert (answer.status_code, answer.json()) == (
            404,
            {"error": "SESSION_NOT_FOUND", "message": "there is no session s-1", "details": {}},
        )


async def test_asking_for_a_session_does_not_make_one(start: Start) -> None:
    async with start() as app:
        await app.client.get("/api/chat/sessions/nobody/history")

        assert await app.series("active_sessions") == {}


@pytest.mark.parametrize("session_id", ["..%2f..", "a b", "x" * 65, "%00"])
@pytest.mark.parametrize(("method", "rest"), [("GET", "/history"), ("DELETE", "")])
async def test_what_can_be_no_session_is_refused(
    start: Start, session_id: str, method: str, rest: str
) -> None:
    async with start() as app:
        answer = await app.client.request(method, f"/api/chat/sessions/{session_id}{rest}")

    # A slash, even an escaped one, ends the name of a session: no route is left.
    expected = 404 if "%2f" in session_id else 422
    assert (answer.status_code, sorted(answer.json())) == (
        expected,
        ["details", "error", "message"],
    )
