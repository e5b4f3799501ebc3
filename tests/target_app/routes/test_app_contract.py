"""
The API against its own description: whatever is sent, no answer is a 5xx or undocumented.

Requests are made up from the description, right ones and wrong ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from schemathesis import GenerationMode
from schemathesis.python.asgi import shutdown_lifespans
from schemathesis.specs.openapi.checks import allow_header_conformance, positive_data_acceptance

from target_app.main import create_app
from target_app.services import Edges
from target_app.settings import Settings
from tests.target_app.routes.ready import ReadyLLM


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("contract")
    root = folder / "documents"
    (root / "teams").mkdir(parents=True)
    (root / "readme.md").write_text("alpha\n")
    chosen = Settings(
        data_root_path=root,
        openai_api_key="unused",
        cache_directory=folder / "cache",
        cache_management_enabled=True,
        tracing_management_enabled=True,
        isolation="paths",
        max_file_size=1000,
    )
    app = create_app(chosen, Edges(llm=ReadyLLM(), span_exporter=InMemorySpanExporter()))
    try:
        yield schemathesis.openapi.from_asgi("/openapi.json", app)
    finally:
        shutdown_lifespans()


OPERATIONS = [
    "GET /",
    "GET /health",
    "GET /ready",
    "POST /api/chat",
    "POST /api/chat/stream",
    "GET /api/chat/sessions/{session_id}/history",
    "DELETE /api/chat/sessions/{session_id}",
    "GET /api/documents",
    "POST /api/documents",
    "POST /api/documents/upload",
    "GET /api/documents/{path}",
    "PUT /api/documents/{path}",
    "DELETE /api/documents/{path}",
    "GET /api/stream/file/{path}",
    "GET /api/stream/search/{path}",
    "DELETE /api/cache",
    "GET /api/tracing",
    "PUT /api/tracing",
]


WITHOUT_INPUT = {
    "GET /",
    "GET /health",
    "GET /ready",
    "DELETE /api/cache",
    "GET /api/tracing",
}
"""Operations of which no request can be wrong."""


def check(case: schemathesis.Case) -> None:
    """Send a request and hold the answer against the description."""
    # What fits the description may still be refused: a path may lead to a folder.
    excluded = [positive_data_acceptance]
    if case.path == "/api/documents/upload":
        # A document may have this name too, and then it has other methods.
        excluded.append(allow_header_conformance)
    case.call_and_validate(excluded_checks=excluded)


def test_every_operation_is_tried(api: Any) -> None:
    described = [result.ok().label for result in api.get_all_operations()]

    assert described == OPERATIONS


@pytest.mark.parametrize("label", OPERATIONS)
def test_every_edge_of_the_description_is_answered_as_described(api: Any, label: str) -> None:
    operation = api.find_operation_by_label(label)
    cases = api.iter_coverage_cases(
        operation,
        generation_modes=list(GenerationMode),
        generation_config=api.config.generation_for(operation=operation),
    )
    tried = 0
    for case in cases:
        check(case)
        tried += 1

    assert tried > 0


MADE_UP = [
    pytest.param(label, mode, id=f"{label} {mode.name.lower()}")
    for label in OPERATIONS
    for mode in GenerationMode
    if mode == GenerationMode.POSITIVE or label not in WITHOUT_INPUT
]


@pytest.mark.parametrize(("label", "mode"), MADE_UP)
def test_every_made_up_request_is_answered_as_described(
    api: Any, label: str, mode: GenerationMode
) -> None:
    operation = api.find_operation_by_label(label)

    @settings(
        max_examples=12,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(mode))
    def answered_as_described(case: schemathesis.Case) -> None:
        check(case)

    answered_as_described()
