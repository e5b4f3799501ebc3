"""docs/metrics.md against what is registered, and both against Prometheus' own rules."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from prometheus_client.metrics import MetricWrapperBase

from target_app.observability.metrics import Metrics
from tests.target_app.exposition import exposition
from tests.target_app.scripted import Start, call

PROMTOOL = shutil.which("promtool")
SUFFIXES = {"counter": "_total", "info": "_info"}
ODD_NAMES = {
    "active_sessions_total",
    "agent_iterations_total",
    "cache_entries_total",
    "session_messages_total",
}


def rows() -> list[list[str]]:
    """Name, type, labels, unit, what moves it, and the module that does."""
    lines = Path("docs/metrics.md").read_text().splitlines()
    cells = [line.strip("|").split("|") for line in lines if line.startswith("| `")]
    return [[cell.strip().strip("`") for cell in row] for row in cells]


def table() -> dict[str, tuple[str, str]]:
    return {name: (kind, labels) for name, kind, labels, _, _, _ in rows()}


def registered() -> dict[str, tuple[str, str]]:
    metrics = Metrics()
    found = {}
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            name = metric._name + SUFFIXES.get(metric._type, "")
            found[name] = (metric._type, ", ".join(metric._labelnames))
    for family in metrics.registry.collect():
        if family.name.startswith("process_"):
            found[family.name + SUFFIXES.get(family.type, "")] = (family.type, "")
    # An info has no labels before it is told.
    found["app_info"] = ("info", "version, environment, deployment")
    found["sandbox_isolation_info"] = ("info", "level, required")
    return found


def test_the_table_in_the_docs_is_what_is_registered() -> None:
    assert table() == registered()


def test_the_modules_in_the_table_are_there() -> None:
    for *_, moves, module in rows():
        assert moves
        place = Path() if "target_app" in module else Path("target_app/observability")
        assert (place / module).is_file(), module


@pytest.mark.anyio
async def test_the_labels_of_an_info_are_those_of_the_table(start: Start) -> None:
    async with start() as app:
        series = [name for name in await exposition(app.client) if "_info" in name]

    labels = {name.split()[0]: set(re.findall(r" (\w+)=", name)) for name in series}
    assert labels == {
        name: set(labels.split(", ")) for name, (kind, labels) in table().items() if kind == "info"
    }


@pytest.mark.anyio
@pytest.mark.skipif(
    PROMTOOL is None and not os.environ.get("CI"), reason="promtool is not installed here"
)
async def test_prometheus_finds_four_odd_names_and_nothing_else(start: Start) -> None:
    assert PROMTOOL is not None, "CI must have promtool: see tests/system_packages.sh"
    async with start([call("cat", path="readme.md")], "done") as app:
        await app.ask()
        page = (await app.client.get("/metrics")).text

    checked = subprocess.run(  # noqa: ASYNC221
        [PROMTOOL, "check", "metrics"], input=page, capture_output=True, text=True, check=False
    )

    complaint = 'non-counter metrics should not have "_total" suffix'
    assert set(checked.stderr.splitlines()) == {f"{name} {complaint}" for name in ODD_NAMES}


@pytest.mark.anyio
async def test_the_page_does_not_grow_with_documents_or_sessions(start: Start) -> None:
    async def use(client: httpx.AsyncClient, number: int) -> list[int]:
        name = f"teams/document-{number}.md"
        place = f"/api/documents/{name}"
        form = {"file": (f"upload-{number}.md", b"text")}
        answers = [
            await client.post("/api/documents", json={"path": name, "content": f"text {number}"}),
            await client.post("/api/documents/upload", files=form),
            await client.get("/api/documents"),
            await client.get(place),
            await client.get(place, params={"download": True}),
            await client.put(place, json={"content": "changed"}),
            await client.get(f"/api/stream/file/{name}"),
            await client.get(f"/api/stream/search/{name}", params={"pattern": "changed"}),
            await client.delete(place),
            await client.get(place),
            asked := await client.post("/api/chat", json={"message": f"question {number}"}),
            await client.get(f"/api/chat/sessions/{asked.json()['session_id']}/history"),
            await client.delete(f"/api/chat/sessions/{number:032x}"),
            await client.get(f"/made/up/{number}"),
        ]
        return [answer.status_code for answer in answers]

    async def lines(client: httpx.AsyncClient) -> int:
        return len((await client.get("/metrics")).text.splitlines())

    statuses = [201, 201, 200, 200, 200, 200, 200, 200, 200, 404, 200, 200, 404, 404]
    async with start(*["answer"] * 80) as app:
        for number in range(20):
            assert await use(app.client, number) == statuses
        after_20 = await lines(app.client)
        for number in range(20, 80):
            assert await use(app.client, number) == statuses
        after_80 = await lines(app.client)

    assert after_80 == after_20
