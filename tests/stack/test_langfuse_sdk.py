"""The real SDK, exporter and read client both, against the stand-in served on 127.0.0.1."""

from __future__ import annotations

import socket
import threading
from uuid import uuid4

import pytest
import uvicorn
from langfuse import Langfuse, propagate_attributes
from langfuse.api.core.api_error import ApiError
from opentelemetry.sdk.trace import TracerProvider

from harness.stack.langfuse.app import create_app
from harness.stack.langfuse.settings import Settings


class AnnouncedServer(uvicorn.Server):
    """A server that says when it listens."""

    def __init__(self, config):
        super().__init__(config)
        self.listening = threading.Event()

    async def startup(self, sockets=None):
        await super().startup(sockets)
        self.listening.set()


@pytest.fixture
def keys():
    # The SDK keeps one client per public key for the life of the process.
    return f"pk-{uuid4()}", "sk-test"


@pytest.fixture
def address(keys, tmp_path):
    public_key, secret_key = keys
    app = create_app(
        Settings(public_key=public_key, secret_key=secret_key, db=str(tmp_path / "spans.db"))
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = AnnouncedServer(uvicorn.Config(app, log_config=None))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        assert server.listening.wait(10)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture
def langfuse(keys, address):
    client = Langfuse(
        public_key=keys[0],
        secret_key=keys[1],
        base_url=address,
        environment="bench",
        release="r1",
        tracer_provider=TracerProvider(),
    )
    yield client
    client.shutdown()


def test_spans_come_back_as_the_rows_that_were_meant(langfuse):
    langfuse.api.models.create(
        model_name="tiny",
        match_pattern="^tiny$",
        unit="TOKENS",
        input_price=1e-6,
        output_price=4e-6,
    )
    trace_id = langfuse.create_trace_id(seed="one request")
    with (
        propagate_attributes(session_id="s1", user_id="u1", tags=["run:r", "scenario:cold"]),
        langfuse.start_as_current_observation(
            trace_context={"trace_id": trace_id}, as_type="agent", name="chat", input="why?"
        ),
    ):
        with langfuse.start_as_current_observation(
            as_type="generation", name="llm", model="tiny", input=[{"role": "user"}]
        ) as generation:
            generation.update(output="so", usage_details={"input": 100, "output": 25})
        with (
            pytest.raises(RuntimeError, match="boom"),
            langfuse.start_as_current_observation(as_type="tool", name="grep"),
        ):
            raise RuntimeError("boom")
    langfuse.flush()

    found = langfuse.api.observations.get_many(
        trace_id=trace_id, fields="basic,io,usage,model,trace_context"
    ).data

    rows = {row.name: row for row in found}
    agent, generation, tool = rows["chat"], rows["llm"], rows["grep"]
    assert len(found) == 3
    assert [agent.type, generation.type, tool.type] == ["AGENT", "GENERATION", "TOOL"]
    assert [row.parent_observation_id for row in (generation, tool)] == [agent.id, agent.id]
    assert [row.is_root_observation for row in (agent, generation, tool)] == [True, False, False]
    assert {(*row.tags, row.session_id, row.user_id) for row in found} == {
        ("run:r", "scenario:cold", "s1", "u1")
    }
    assert {(row.environment, row.release) for row in found} == {("bench", "r1")}
    assert (agent.input, generation.input, generation.output) == (
        "why?",
        '[{"role": "user"}]',
        "so",
    )
    assert (tool.level, tool.status_message) == ("ERROR", "RuntimeError: boom")
    assert generation.usage_details == {"input": 100, "output": 25, "total": 125}
    # 100 x $1 + 25 x $4, per million
    assert generation.cost_details == {"input": 0.0001, "output": 0.0001, "total": 0.0002}
    assert (generation.total_cost, agent.total_cost, tool.total_cost) == (0.0002, 0, 0)


def test_the_metrics_client_is_answered(langfuse):
    with langfuse.start_as_current_observation(name="one"):
        pass
    langfuse.flush()

    answer = langfuse.api.metrics.metrics(
        query="""{"view": "observations", "dimensions": [{"field": "name"}],
            "metrics": [{"measure": "count", "aggregation": "count"}],
            "fromTimestamp": "2000-01-01T00:00:00Z", "toTimestamp": "2100-01-01T00:00:00Z"}"""
    )

    assert answer.data == [{"name": "one", "count_count": 1}]


def test_keys_are_checked_as_the_sdk_expects(langfuse, address, keys):
    stranger = Langfuse(
        public_key=f"pk-{uuid4()}",
        secret_key="wrong",
        base_url=address,
        tracer_provider=TracerProvider(),
    )

    assert langfuse.auth_check()
    with pytest.raises(ApiError) as refused:
        stranger.api.observations.get_many()
    assert refused.value.status_code == 401
    stranger.shutdown()


def test_created_models_are_listed_to_the_sdk(langfuse):
    created = langfuse.api.models.create(
        model_name="tiny", match_pattern="^tiny$", unit="TOKENS", input_price=1e-6
    )

    assert [model.id for model in langfuse.api.models.list().data] == [created.id]
    assert created.prices["input"].price == 1e-6
