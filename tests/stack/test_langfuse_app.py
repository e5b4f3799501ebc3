"""The routes: who is let in, what is taken, what is refused, and faults that can be asked for."""

from __future__ import annotations

import gzip
import json
from contextlib import contextmanager

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from pydantic import ValidationError
from starlette.testclient import TestClient

from harness.stack.langfuse.app import create_app
from harness.stack.langfuse.settings import Settings

TRACES = "/api/public/otel/v1/traces"
OBSERVATIONS = "/api/public/v2/observations"
PROTOBUF = {"content-type": "application/x-protobuf"}
LAG_SECONDS = 2.0


class Clock:
    """A clock that moves when told."""

    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


@contextmanager
def serving(clock=None, **settings):
    settings = Settings(public_key="pk", secret_key="sk", **settings)
    with TestClient(create_app(settings, clock or Clock())) as client:
        client.auth = ("pk", "sk")
        yield client


@pytest.fixture
def client():
    with serving() as client:
        yield client


def export(*numbers):
    """One span per number, with that id, name and start in milliseconds, in one trace."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for number in numbers:
        spans.add(
            trace_id=bytes(15) + b"\x01",
            span_id=number.to_bytes(8, "big"),
            name=str(number),
            start_time_unix_nano=number * 1_000_000,
            end_time_unix_nano=number * 1_000_000,
        )
    return request.SerializeToString()


def names(client, **parameters):
    answer = client.get(OBSERVATIONS, params=parameters)
    assert answer.status_code == 200, answer.text
    return [int(row["name"]) for row in answer.json()["data"]]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(export(1), {}, id="plain"),
        pytest.param(gzip.compress(export(1)), {"content-encoding": "gzip"}, id="gzip"),
        pytest.param(export(1), {"x-langfuse-ingestion-version": "4"}, id="ingestion version 4"),
    ],
)
def test_an_export_is_taken(client, body, headers):
    answer = client.post(TRACES, content=body, headers=PROTOBUF | headers)

    assert (answer.status_code, answer.json()) == (200, {"spans": 1})
    assert names(client) == [1]


@pytest.mark.parametrize(
    ("body", "headers", "status", "message"),
    [
        pytest.param(
            export(1),
            PROTOBUF | {"x-langfuse-ingestion-version": "5"},
            400,
            "ingestion version '5' is not supported",
            id="ingestion version 5",
        ),
        pytest.param(
            export(1, 0), PROTOBUF, 400, "span '0' has no valid span id", id="one bad id of two"
        ),
        pytest.param(
            b"no",
            PROTOBUF,
            400,
            "the body is not an ExportTraceServiceRequest",
            id="no protobuf",
        ),
        pytest.param(
            b"no",
            PROTOBUF | {"content-encoding": "gzip"},
            400,
            "the body is not gzip",
            id="no gzip",
        ),
        pytest.param(
            gzip.compress(export(1))[:-9],
            PROTOBUF | {"content-encoding": "gzip"},
            400,
            "the body is not gzip",
            id="half a gzip",
        ),
        pytest.param(
            export(1),
            PROTOBUF | {"content-encoding": "br"},
            415,
            "content encoding 'br' is not served; use gzip",
            id="another compression",
        ),
        pytest.param(
            b"{}",
            {"content-type": "application/json; charset=utf-8"},
            415,
            "content type 'application/json' is not served; send protobuf",
            id="JSON",
        ),
    ],
)
def test_an_export_is_refused_whole(client, body, headers, status, message):
    answer = client.post(TRACES, content=body, headers=headers)

    assert (answer.status_code, answer.json()["message"]) == (status, message)
    assert names(client) == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param("POST", TRACES, id="traces"),
        pytest.param("GET", OBSERVATIONS, id="observations"),
        pytest.param("GET", "/api/public/v2/metrics", id="metrics"),
        pytest.param("GET", "/api/public/models", id="models"),
        pytest.param("POST", "/api/public/models", id="creating a model"),
        pytest.param("GET", "/api/public/projects", id="projects"),
    ],
)
@pytest.mark.parametrize(
    "auth",
    [
        pytest.param(None, id="without keys"),
        pytest.param(("pk", "wrong"), id="with a wrong key"),
        pytest.param(("", ""), id="with empty keys"),
    ],
)
def test_nobody_is_let_in(client, method, path, auth):
    client.auth = auth

    assert client.request(method, path).status_code == 401


def test_health_asks_for_no_key(client):
    client.auth = None

    answer = client.get("/api/public/health")

    assert (answer.status_code, answer.json()) == (200, {"status": "OK", "version": "4-stand-in"})


@pytest.mark.parametrize(
    "path",
    [
        "/api/public/traces",
        "/api/public/traces/abc",
        "/api/public/observations",
        "/api/public/sessions/s1",
        "/api/public/metrics",
        "/api/public/metrics/daily",
    ],
)
def test_the_old_read_api_is_gone(client, path):
    answer = client.get(path)

    assert answer.status_code == 404
    assert answer.json()["message"] == f"{path} is not available in events_only mode"


def test_the_same_export_twice_is_two_rows_each(client):
    for _ in range(2):
        client.post(TRACES, content=export(1, 2), headers=PROTOBUF)

    assert names(client) == [2, 2, 1, 1]


def test_every_nth_span_is_lost_across_exports_and_nobody_is_told():
    with serving(drop_every=3) as client:
        answers = [
            client.post(TRACES, content=export(*numbers), headers=PROTOBUF)
            for numbers in [(1, 2), (3, 4, 5), (6,)]
        ]

        assert [answer.json() for answer in answers] == [{"spans": n} for n in (2, 3, 1)]
        assert names(client) == [5, 4, 2, 1]


def test_rows_become_visible_part_by_part():
    clock = Clock()
    with serving(clock, lag_seconds=LAG_SECONDS) as client:
        seen = []
        for number in (1, 2):
            client.post(TRACES, content=export(number), headers=PROTOBUF)
            seen.append(names(client))
            clock.seconds += LAG_SECONDS / 2
        seen.append(names(client))
        clock.seconds += LAG_SECONDS / 2
        seen.append(names(client))

    assert seen == [[], [], [1], [2, 1]]


def test_a_row_says_when_it_arrived(client):
    client.post(TRACES, content=export(1), headers=PROTOBUF)

    row = client.get(OBSERVATIONS, params={"fields": "time"}).json()["data"][0]

    assert (row["createdAt"], row["updatedAt"]) == ("1970-01-01T00:16:40.000Z",) * 2


def test_2500_rows_are_walked_in_pages_of_1000(client):
    client.post(TRACES, content=export(*range(1, 2501)), headers=PROTOBUF)

    pages, cursor = [], ""
    while cursor is not None:
        answer = client.get(OBSERVATIONS, params={"limit": 1000, "cursor": cursor}).json()
        pages.append([int(row["name"]) for row in answer["data"]])
        cursor = answer["meta"].get("cursor")

    assert [len(page) for page in pages] == [1000, 1000, 500]
    assert [*pages[0], *pages[1], *pages[2]] == list(range(2500, 0, -1))


def test_what_arrives_while_pages_are_walked_moves_no_row_between_them(client):
    client.post(TRACES, content=export(1, 2, 3, 4), headers=PROTOBUF)
    first = client.get(OBSERVATIONS, params={"limit": 2}).json()
    client.post(TRACES, content=export(5, 6), headers=PROTOBUF)

    assert names(client, limit=2, cursor=first["meta"]["cursor"]) == [2, 1]


def test_a_database_on_disk_outlives_the_server(tmp_path):
    path = str(tmp_path / "spans.db")
    with serving(db=path) as client:
        client.post(TRACES, content=export(1), headers=PROTOBUF)

    with serving(db=path) as client:
        assert names(client) == [1]


def test_a_price_book_prices_what_no_created_model_does(tmp_path):
    book = tmp_path / "prices.yaml"
    book.write_text(
        "version: 1\nmodels:\n  - model: tiny\n    usd_per_million_tokens: {input: 1, output: 4}\n"
    )
    with serving(prices=book) as client:
        models = client.get("/api/public/models").json()["data"]

    assert [(model["modelName"], model["matchPattern"]) for model in models] == [
        ("tiny", "^tiny$")
    ]
    assert models[0]["prices"] == {"input": {"price": 1e-6}, "output": {"price": 4e-6}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"modelName": None}, "modelName: ", id="a name that is no text"),
        pytest.param({"inputPrice": None}, "either flat prices or pricingTiers", id="no price"),
        pytest.param({"startDate": "2026-01-01"}, "startDate: ", id="what is not served"),
        pytest.param({"matchPattern": "("}, "not a regular expression", id="a bad pattern"),
    ],
)
def test_a_model_definition_is_refused(client, changes, message):
    sent = {"modelName": "m", "matchPattern": "m", "unit": "TOKENS", "inputPrice": 1e-6} | changes

    answer = client.post("/api/public/models", content=json.dumps(sent))

    assert answer.status_code == 400
    assert message in answer.json()["message"]
    assert client.get("/api/public/models").json()["data"] == []


def test_settings_come_from_the_environment(monkeypatch):
    for name, value in {
        "PUBLIC_KEY": "pk",
        "SECRET_KEY": "sk",
        "DB": "x.db",
        "PRICES": "prices.yaml",
        "DROP_EVERY": "10",
        "LAG_SECONDS": "0.5",
    }.items():
        monkeypatch.setenv(f"LANGFUSE_STANDIN_{name}", value)

    assert Settings.model_validate({}).model_dump(mode="json") == {
        "public_key": "pk",
        "secret_key": "sk",
        "db": "x.db",
        "prices": "prices.yaml",
        "drop_every": 10,
        "lag_seconds": 0.5,
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("SECRET_KEY", "", id="an empty key"),
        pytest.param("DROP_EVERY", "0", id="losing every 0th span"),
        pytest.param("LAG_SECONDS", "-1", id="seeing the future"),
    ],
)
def test_bad_settings_are_refused(monkeypatch, name, value):
    monkeypatch.setenv("LANGFUSE_STANDIN_PUBLIC_KEY", "pk")
    monkeypatch.setenv("LANGFUSE_STANDIN_SECRET_KEY", "sk")
    monkeypatch.setenv(f"LANGFUSE_STANDIN_{name}", value)

    with pytest.raises(ValidationError):
        create_app()
