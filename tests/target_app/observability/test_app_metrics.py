"""Every metric of the contract is there from the start, with its name, type, labels and edges."""

from __future__ import annotations

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from target_app.agent.messages import Usage
from target_app.observability.metrics import Metrics
from target_app.sandbox.commands import COMMANDS

HISTOGRAM_EDGES = {
    "http_request_duration_seconds": {0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30},
    "agent_iterations_total": {1, 2, 3, 4, 5, 7, 10},
    "agent_execution_duration_seconds": {0.1, 0.5, 1, 2, 5, 10, 30, 60},
    "llm_call_duration_seconds": {0.1, 0.5, 1, 2, 5, 10, 20},
    "llm_tokens_per_request": {10, 50, 100, 500, 1000, 2000, 4000, 8000},
    "tool_execution_duration_seconds": {0.001, 0.01, 0.05, 0.1, 0.5, 1, 5},
    "cache_operation_duration_seconds": {0.0001, 0.001, 0.01, 0.05, 0.1, 0.5},
    "sandbox_execution_duration_seconds": {0.001, 0.01, 0.05, 0.1, 0.5, 1, 5, 30},
    "session_messages_total": {1, 5, 10, 20, 50},
}


def series(metrics: Metrics) -> dict[str, list[tuple[str, dict[str, str], float]]]:
    text = generate_latest(metrics.registry).decode()
    return {
        family.name: [(s.name, s.labels, s.value) for s in family.samples]
        for family in text_string_to_metric_families(text)
    }


def with_a_request() -> Metrics:
    metrics = Metrics([0.3])
    metrics.http_request_duration.labels("POST", "/api/chat").observe(0.2)
    return metrics


@pytest.mark.parametrize("name", HISTOGRAM_EDGES)
def test_a_histogram_has_every_edge_of_the_contract(name: str) -> None:
    edges = {
        float(labels["le"])
        for sample, labels, _ in series(with_a_request())[name]
        if sample == f"{name}_bucket"
    }

    assert edges >= HISTOGRAM_EDGES[name] | {float("inf")}


def test_durations_that_are_promised_have_an_edge_at_the_promise_and_at_the_operators() -> None:
    edges = {
        labels["le"]
        for sample, labels, _ in series(with_a_request())["http_request_duration_seconds"]
        if sample.endswith("_bucket")
    }

    assert {"5.0", "0.3"} <= edges


@pytest.mark.parametrize(
    ("name", "children"),
    [
        pytest.param("agent_completions", 3, id="three endings"),
        pytest.param("llm_calls", 2, id="success and error"),
        pytest.param("llm_tokens", 3, id="input, output, total"),
        pytest.param("tool_executions", 33, id="ten tools and the unknown, three statuses"),
        pytest.param("parallel_tool_executions", 1, id="parallel"),
        pytest.param("sequential_tool_executions", 1, id="sequential"),
        pytest.param("cache_operations", 18, id="three operations, two caches, three results"),
        pytest.param("cache_invalidations", 8, id="two caches, four reasons"),
        pytest.param("sandbox_executions", 33, id="eleven commands, three statuses"),
        pytest.param("sandbox_timeouts", 11, id="eleven commands"),
        pytest.param("cache_misses", 10, id="two caches, five reasons"),
        pytest.param("cache_evictions", 4, id="two caches, two tiers"),
        pytest.param("sandbox_worker_restarts", 1, id="processes replaced"),
        pytest.param("sandbox_security_blocks", 3, id="three rules"),
        pytest.param("errors", 15, id="known errors"),
    ],
)
def test_what_has_not_happened_is_zero_and_not_absent(name: str, children: int) -> None:
    totals = [value for sample, _, value in series(Metrics())[name] if sample == f"{name}_total"]

    assert totals == [0.0] * children


@pytest.mark.parametrize(
    "name",
    [
        "sandbox_execution_duration_seconds",
        "sandbox_wait_seconds",
        "sandbox_output_size_bytes",
    ],
)
def test_every_command_of_the_sandbox_has_its_histograms(name: str) -> None:
    counts = {
        labels["command"]: value
        for sample, labels, value in series(Metrics())[name]
        if sample == f"{name}_count"
    }

    assert counts == dict.fromkeys(COMMANDS, 0.0)


def test_gauges_and_info_keep_their_names() -> None:
    metrics = Metrics()
    metrics.app_info.info({"version": "1", "environment": "e", "deployment": "d"})
    metrics.watch_sessions([1, 2])
    seen = series(metrics)

    assert seen["app_info"] == [
        ("app_info", {"version": "1", "environment": "e", "deployment": "d"}, 1.0)
    ]
    assert seen["active_sessions_total"] == [("active_sessions_total", {}, 2.0)]
    assert "process_cpu_seconds" in seen


def test_each_token_is_counted_once_and_again_in_the_total() -> None:
    metrics = Metrics()

    metrics.count_usage(Usage(input=80, cached_input=20, output=7, reasoning=3))

    counted = {
        labels["type"]: value
        for name, labels, value in series(metrics)["llm_tokens"]
        if name == "llm_tokens_total"
    }
    assert counted == {"input": 100.0, "output": 10.0, "total": 110.0}


def test_two_apps_do_not_add_up() -> None:
    one, other = Metrics(), Metrics()

    one.llm_calls.labels("success").inc()

    assert other.registry.get_sample_value("llm_calls_total", {"status": "success"}) == 0
