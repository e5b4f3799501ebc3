"""Health, metrics and cache management."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.target_app.scripted import Start, call

pytestmark = pytest.mark.anyio


async def test_an_app_with_its_documents_is_healthy(start: Start) -> None:
    async with start() as app:
        answer = await app.client.get("/health")

    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "healthy", "data_root_exists": True, "tracing_enabled": False},
    )


async def test_an_app_whose_documents_are_gone_is_not(start: Start, documents: Path) -> None:
    async with start() as app:
        shutil.rmtree(documents)
        answer = await app.client.get("/health")

    assert (answer.status_code, answer.json()["status"]) == (503, "unhealthy")


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
