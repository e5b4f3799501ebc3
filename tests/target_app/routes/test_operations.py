"""Health, metrics and cache management."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from target_app.routes import operations
from target_app.sandbox.paths import DataRoot
from tests.target_app.scripted import Start, call

pytestmark = pytest.mark.anyio


async def test_health_says_how_the_app_is(start: Start) -> None:
    async with start() as app:
        answer = await app.client.get("/health")

    assert (answer.status_code, answer.json()) == (
        200,
        {
            "status": "healthy",
            "data_root_exists": True,
            "isolation": "paths",
            "sandbox_restarts": 0,
            "cache_disk": "usable",
            "cache_exact": True,
            "cache_max_staleness_seconds": 0.0,
            "tracing_enabled": False,
        },
    )


async def test_an_app_whose_documents_are_gone_is_alive_but_not_ready(
    start: Start, documents: Path
) -> None:
    async with start() as app:
        before = await app.client.get("/ready")
        elsewhere = documents.with_name("elsewhere")
        shutil.move(documents, elsewhere)
        alive = await app.client.get("/health")
        ready = await app.client.get("/ready")
        shutil.move(elsewhere, documents)
        back = await app.client.get("/ready")

    assert (alive.status_code, alive.json()["status"], alive.json()["data_root_exists"]) == (
        200,
        "degraded",
        False,
    )
    assert (ready.status_code, ready.json()) == (
        503,
        {
            "error": "NOT_READY",
            "message": "not ready: data_root",
            "details": {"data_root": False, "sandbox": True},
        },
    )
    for answer in (before, back):
        assert (answer.status_code, answer.json()) == (
            200,
            {"ready": True, "data_root": True, "sandbox": True},
        )


async def test_an_app_whose_documents_hang_says_so_and_answers_on(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, goes_on = threading.Event(), threading.Event()
    looked: list[str] = []

    def is_there(_: DataRoot) -> bool:
        if hangs.is_set():
            looked.append(threading.current_thread().name)
            goes_on.wait(10)
        return True

    monkeypatch.setattr(DataRoot, "is_there", is_there)
    monkeypatch.setattr(operations, "CHECK_SECONDS", 0.01)
    async with start() as app:
        hangs.set()
        try:
            answers = [await app.client.get(path) for path in ("/health", "/health", "/ready")]
        finally:
            hangs.clear()
            goes_on.set()

    assert [answer.status_code for answer in answers] == [200, 200, 503]
    assert answers[1].json()["data_root_exists"] is False
    # One thread hangs, however often it is asked, and it is not the one that answers.
    assert len(looked) == 1
    assert looked != [threading.current_thread().name]


@pytest.mark.parametrize(
    ("limit", "state"),
    [pytest.param(0, "off", id="none"), pytest.param(10**6, "failing", id="a file")],
)
async def test_health_says_whether_the_disk_of_the_cache_can_be_used(
    start: Start, documents: Path, limit: int, state: str
) -> None:
    (documents.parent / "cache").write_text("no folder")
    async with start(cache_size_limit=limit) as app:
        health = (await app.client.get("/health")).json()

    assert (health["status"], health["cache_disk"]) == ("healthy", state)


async def test_an_app_whose_sandbox_does_not_answer_is_not_ready(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unready(_: object) -> bool:
        return False

    async with start() as app:
        monkeypatch.setattr(type(app.app.state.services.sandbox), "ready", unready)
        answer = await app.client.get("/ready")

    assert (answer.status_code, answer.json()["message"]) == (503, "not ready: sandbox")


async def test_the_root_says_where_to_go_on(start: Start) -> None:
    async with start() as app:
        answer = await app.client.get("/")

        assert (answer.status_code, answer.json()) == (
            200,
            {
                "name": "Filesystem agent",
                "version": app.app.version,
                "description": "Answers questions about a folder of documents.",
                "docs": "/docs",
                "health": "/health",
            },
        )


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        pytest.param("", "text/plain; version=0.0.4; charset=utf-8", id="plain"),
        pytest.param(
            "application/openmetrics-text; version=1.0.0",
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
            id="OpenMetrics",
        ),
    ],
)
async def test_metrics_come_at_once_in_the_format_asked_for(
    start: Start, accept: str, content_type: str
) -> None:
    async with start() as app:
        answer = await app.client.get("/metrics", headers={"accept": accept})

    assert (answer.status_code, answer.headers["content-type"]) == (200, content_type)
    assert 'llm_calls_total{status="success"} 0.0' in answer.text


async def test_scrapes_and_health_checks_are_not_counted(start: Start) -> None:
    async with start() as app:
        await app.client.get("/health")
        await app.client.get("/metrics")

        assert await app.series("http_requests") == {}


async def test_a_path_that_is_no_route_is_not_a_label(start: Start) -> None:
    async with start() as app:
        answer = await app.client.get("/documents/private.md")

        assert answer.json() == {"error": "NOT_FOUND", "message": "Not Found", "details": {}}
        assert await app.series("http_requests") == {
            "http_requests_total endpoint=unmatched method=GET status=404": 1
        }


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/api/documents", "GET, POST"),
        ("/api/documents/readme.md", "GET, PUT, DELETE"),
        ("/api/chat", "POST"),
        ("/openapi.json", "GET, HEAD"),
    ],
)
async def test_a_method_that_a_path_has_not_is_answered_with_those_it_has(
    start: Start, path: str, allowed: str
) -> None:
    async with start() as app:
        answer = await app.client.patch(path)

    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert answer.json() == {
        "error": "METHOD_NOT_ALLOWED",
        "message": "Method Not Allowed",
        "details": {},
    }


async def test_metrics_can_be_elsewhere_or_off(start: Start) -> None:
    async with start(prometheus_metrics_path="/internal/metrics") as app:
        assert (await app.client.get("/internal/metrics")).status_code == 200
        assert (await app.client.get("/metrics")).status_code == 404
    async with start("done", prometheus_enabled=False) as app:
        assert (await app.client.get("/metrics")).status_code == 404
        assert (await app.ask()).status_code == 200


async def test_both_caches_can_be_emptied(start: Start) -> None:
    read = [call("cat", path="readme.md"), call("grep", pattern="alpha"), call("find")]
    async with start(read, "one", read, "two") as app:
        await app.ask()
        cleared = await app.client.delete("/api/cache")

        assert (cleared.status_code, cleared.json()) == (200, {"cleared": 3})
        assert await app.series("cache_invalidations") == {
            "cache_invalidations_total cache_type=content reason=manual": 1,
            "cache_invalidations_total cache_type=search reason=manual": 2,
        }
        assert await app.series("cache_size") == {}
        await app.ask()
        assert await app.series("sandbox_executions") == {
            "sandbox_executions_total command=cat status=success": 2,
            "sandbox_executions_total command=find status=success": 2,
            "sandbox_executions_total command=grep status=success": 2,
        }


async def test_cache_management_is_off_unless_enabled(start: Start) -> None:
    async with start(cache_management_enabled=False) as app:
        answer = await app.client.delete("/api/cache")

    assert (answer.status_code, answer.json()["error"]) == (404, "NOT_FOUND")


async def test_tracing_can_be_switched_off_and_on(start: Start) -> None:
    tracing = {"tracing_management_enabled": True, "langfuse_enabled": True}
    async with start("one", "two", "three", **tracing) as app:
        seen = [(await app.client.get("/api/tracing")).json()]
        await app.ask("first")
        for wanted, message in ((False, "second"), (True, "third")):
            answer = await app.client.put("/api/tracing", json={"enabled": wanted})
            seen += [answer.json(), (await app.client.get("/api/tracing")).json()]
            await app.ask(message)
            health = (await app.client.get("/health")).json()
            assert health["tracing_enabled"] is wanted
        traces = await app.series("traces_total")
    chats = [span for span in app.spans.get_finished_spans() if span.name == "chat"]

    assert seen == [{"enabled": on} for on in (True, False, False, True, True)]
    assert traces == {"traces_total result=recorded": 2, "traces_total result=switched_off": 1}
    assert [span.attributes["langfuse.observation.input"] for span in chats] == ["first", "third"]


async def test_tracing_that_goes_nowhere_cannot_be_switched_on(start: Start) -> None:
    async with start(tracing_management_enabled=True) as app:
        on = await app.client.put("/api/tracing", json={"enabled": True})
        off = await app.client.put("/api/tracing", json={"enabled": False})

    assert (on.status_code, on.json()["error"]) == (409, "NO_TRACING")
    assert (off.status_code, off.json()) == (200, {"enabled": False})


async def test_tracing_management_is_off_unless_enabled(start: Start) -> None:
    async with start(langfuse_enabled=True) as app:
        answers = [
            await app.client.get("/api/tracing"),
            await app.client.put("/api/tracing", json={"enabled": False}),
        ]

    assert [answer.status_code for answer in answers] == [404, 404]
