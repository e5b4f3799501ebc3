"""The stand-in answers recorded traffic as the real server (Langfuse 4.16.0) answered it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from harness.stack.langfuse.app import create_app
from harness.stack.langfuse.settings import Settings

GOLDEN = Path(__file__).parent / "golden"
OBSERVATIONS = json.loads((GOLDEN / "golden.observations.json").read_bytes())
METRICS = json.loads((GOLDEN / "golden.metrics.json").read_bytes())
TRACE_ID = OBSERVATIONS["data"][0]["traceId"]
ALL_GROUPS = "core,basic,time,io,metadata,model,usage,prompt,metrics,trace_context"

NOT_SERVED = {
    "createdAt": "when this server stored the row, not the recorded one",
    "updatedAt": "when this server stored the row, not the recorded one",
    "projectId": "the stand-in has one project, with an id of its own",
}
"""Fields of a row whose recorded value is not expected back, and why."""

MADE_BY_SERVER = ("internalModelId", "modelId", "usagePricingTierId")
"""Ids that each server makes up: compared by what they stand for, not by value."""

MODELS: dict[str, list[dict[str, Any]]] = {
    "golden-model": [
        {
            "name": "Standard",
            "isDefault": True,
            "priority": 0,
            "conditions": [],
            "prices": {
                "input": 1e-6,
                "input_cached_tokens": 1e-7,
                "output": 4e-6,
                "output_reasoning_tokens": 4e-6,
            },
        },
        {
            "name": "Long",
            "isDefault": False,
            "priority": 1,
            "conditions": [
                {
                    "usageDetailPattern": "^input",
                    "operator": "gt",
                    "value": 200000,
                    "caseSensitive": False,
                }
            ],
            "prices": {
                "input": 2e-6,
                "input_cached_tokens": 2e-7,
                "output": 8e-6,
                "output_reasoning_tokens": 8e-6,
            },
        },
    ],
    "gpt-5": [
        {
            "name": "Standard",
            "isDefault": True,
            "priority": 0,
            "conditions": [],
            "prices": {
                "input": 1.25e-6,
                "input_cached_tokens": 1.25e-7,
                "output": 1e-5,
                "output_reasoning_tokens": 1e-5,
            },
        }
    ],
    "gpt-4o-mini": [
        {
            "name": "Standard",
            "isDefault": True,
            "priority": 0,
            "conditions": [],
            "prices": {"input": 1.5e-7, "input_cached_tokens": 7.5e-8, "output": 6e-7},
        }
    ],
}
"""The prices that the recorded rows were charged, as far as they show."""


def same(ours: object, recorded: object) -> bool:
    """Equal, but for the last of the twelve decimals in which the real server keeps a cost."""
    if isinstance(ours, dict) and isinstance(recorded, dict):
        return ours.keys() == recorded.keys() and all(same(ours[k], recorded[k]) for k in ours)
    if isinstance(ours, list) and isinstance(recorded, list):
        return len(ours) == len(recorded) and all(map(same, ours, recorded))
    if isinstance(ours, float) or isinstance(recorded, float):
        return (
            isinstance(ours, int | float)
            and isinstance(recorded, int | float)
            and math.isclose(ours, recorded, rel_tol=0, abs_tol=1e-12)
        )
    return type(ours) is type(recorded) and ours == recorded


@pytest.fixture(scope="module")
def server():
    settings = Settings(public_key="pk-lf-bench", secret_key="sk-lf-bench")
    with TestClient(create_app(settings)) as client:
        client.auth = ("pk-lf-bench", "sk-lf-bench")
        for name, tiers in MODELS.items():
            created = client.post(
                "/api/public/models",
                json={
                    "modelName": name,
                    "matchPattern": f"(?i)^{name}$",
                    "unit": "TOKENS",
                    "pricingTiers": tiers,
                },
            )
            assert created.status_code == 200, created.text
        sent = client.post(
            "/api/public/otel/v1/traces",
            content=(GOLDEN / "golden.otlp.pb").read_bytes(),
            headers=json.loads((GOLDEN / "golden.headers.json").read_bytes()),
        )
        assert sent.status_code == 200, sent.text
        yield client


@pytest.fixture(scope="module")
def rows(server):
    answer = server.get(
        "/api/public/v2/observations",
        params={"fields": ALL_GROUPS, "traceId": TRACE_ID, "limit": 1000},
    )
    return answer.json()


def test_rows_come_in_the_recorded_order_and_the_last_page_has_no_cursor(rows):
    assert [row["name"] for row in rows["data"]] == [row["name"] for row in OBSERVATIONS["data"]]
    assert rows["meta"] == OBSERVATIONS["meta"] == {}


@pytest.mark.parametrize(
    "index",
    [pytest.param(i, id=row["name"]) for i, row in enumerate(OBSERVATIONS["data"])],
)
def test_every_field_of_a_row_is_as_recorded(rows, index):
    ours, recorded = rows["data"][index], OBSERVATIONS["data"][index]
    left_out = {*NOT_SERVED, *MADE_BY_SERVER}

    different = {
        name: (ours[name], recorded[name])
        for name in recorded.keys() - left_out
        if not same(ours[name], recorded[name])
    }

    assert ours.keys() == recorded.keys()
    assert different == {}


@pytest.mark.parametrize("field", MADE_BY_SERVER)
def test_ids_made_by_the_server_tell_the_same_things_apart(rows, field):
    pairs = {
        (ours[field], recorded[field])
        for ours, recorded in zip(rows["data"], OBSERVATIONS["data"], strict=True)
    }
    absent = {pair for pair in pairs if not all(pair)}

    assert len({ours for ours, _ in pairs}) == len(pairs) == len({theirs for _, theirs in pairs})
    assert all(ours == theirs for ours, theirs in absent)


def test_a_row_names_the_model_that_was_created_for_it(server, rows):
    models = server.get("/api/public/models").json()["data"]
    expected = {model["modelName"]: model["id"] for model in models}

    named = {row["model"]: row["modelId"] for row in rows["data"] if row["modelId"]}

    assert named == expected


@pytest.mark.parametrize("name", METRICS)
def test_a_recorded_metrics_query_gets_the_recorded_answer(server, name):
    recorded = METRICS[name]

    answer = server.get("/api/public/v2/metrics", params={"query": json.dumps(recorded["query"])})

    assert answer.status_code == recorded["status"], answer.text
    assert same(answer.json(), recorded["body"]), answer.json()


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({"sessionId": "golden-s1"}, id="by session"),
        pytest.param({"environment": "golden"}, id="by environment"),
        pytest.param({"userId": "u1"}, id="by user"),
        pytest.param(
            {
                "filter": json.dumps(
                    [
                        {
                            "type": "arrayOptions",
                            "column": "tags",
                            "operator": "any of",
                            "value": ["run:golden"],
                        }
                    ]
                )
            },
            id="by tag",
        ),
    ],
)
def test_every_way_to_ask_for_the_trace_finds_all_of_it(server, rows, parameters):
    found = server.get(
        "/api/public/v2/observations",
        params={"fields": ALL_GROUPS, "limit": 1000, **parameters},
    ).json()

    assert found == rows


def test_walking_the_cursor_gives_the_recorded_order(server):
    names, cursor = [], None
    while True:
        page = server.get(
            "/api/public/v2/observations",
            params={"limit": 10, "sessionId": "golden-s1"}
            | ({"cursor": cursor} if cursor else {}),
        ).json()
        names += [row["name"] for row in page["data"]]
        cursor = page["meta"].get("cursor")
        if cursor is None:
            break

    assert names == [row["name"] for row in OBSERVATIONS["data"]]
