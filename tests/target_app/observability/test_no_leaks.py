"""
No secret leaves the process, wherever it came in and wherever the app tells of itself.

Secrets of every shape are planted in all that the app takes in. Then everything that left it is
searched: the bytes posted to Langfuse and by OTLP, the log with the lines and the tracebacks of the
server that the app runs behind, the metrics with their exemplars.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from target_app.agent.llm import LLMError
from target_app.agent.messages import Reply, ToolCall, Usage
from target_app.main import create_app
from target_app.services import Edges
from target_app.settings import Settings
from tests.target_app.observability.capturing import captured_logs
from tests.target_app.observability.collector import Collector, collector, settings_for
from tests.target_app.observability.planted import KEYS, PLANTED, Planted, forms
from tests.target_app.observability.serving import served
from tests.target_app.resilience.llm_server import LLMServer, Trouble
from tests.target_app.scripted import HOUR_NS

PROFILES = ("off", "minimal", "ai", "hybrid")
OPENMETRICS = {"accept": "application/openmetrics-text; version=1.0.0"}

# What the app itself must know. They have no shape that gives them away.
OWN = {
    "openai_api_key": "own value of " + "the LLM",
    "langfuse_secret_key": "own-value/of" + "+langfuse",
    "api_token": "own-value-of-" + "callers",
}

IN_A_HEADER = st.one_of(*(KEYS[kind] for kind in ("bearer", "basic", "github", "web token")))
IN_A_NAME = st.one_of(*(KEYS[kind] for kind in ("e-mail", "github", "openai", "aws", "npm")))
IN_A_SESSION = st.one_of(*(KEYS[kind] for kind in ("github", "openai", "aws", "google", "hugging face")))  # fmt: skip
IN_A_TAG = st.one_of(*(KEYS[kind] for kind in ("e-mail", "openai", "stripe", "slack")))


@dataclass(frozen=True)
class Secrets:
    """A secret for each way in."""

    message: Planted
    argument: Planted
    content: Planted
    name: Planted
    answer: Planted
    failure: Planted
    crash: Planted
    tool: Planted
    model: Planted
    session: Planted
    tag: Planted
    header: Planted
    query: Planted
    pattern: Planted

    @property
    def all(self) -> list[Planted]:
        own = [Planted(f"own {name}", value, value) for name, value in OWN.items()]
        return [*vars(self).values(), *own]


ORDER = st.integers(10**7, 10**8 - 1).map(
    lambda n: Planted("operator's", f"ORDER:{n}", f"ORDER:{n}")
)
SECRETS = st.builds(
    Secrets,
    message=PLANTED,
    argument=PLANTED,
    content=PLANTED,
    name=IN_A_NAME,
    answer=PLANTED,
    failure=PLANTED,
    crash=PLANTED,
    tool=IN_A_NAME,
    model=IN_A_NAME,
    session=IN_A_SESSION,
    tag=IN_A_TAG,
    header=IN_A_HEADER,
    query=PLANTED,
    pattern=ORDER,
)


@dataclass
class Talkative:
    """An LLM that calls tools with secrets, answers with them, and fails with them."""

    secrets: Secrets
    file: str
    asked: int = 0

    async def call(self, prompt: Any, on_token: Any) -> Reply:
        self.asked += 1
        secrets = self.secrets
        said = prompt.messages[-1]["content"]
        if prompt.messages[-1]["role"] == "tool":
            own = " ".join(OWN.values())
            # At last what may be a key without its end: it hides all that follows.
            text = f"{secrets.pattern.text} of {own}: {secrets.answer.text}"
            if on_token is not None:
                await on_token(text)
            return Reply(text, (), Usage(input=5, output=5), secrets.model.text)
        if said.startswith("fail"):
            raise LLMError("http_error", f"said {secrets.failure.text}", 400)
        if said.startswith("crash"):
            raise RuntimeError(f"crashed at {secrets.crash.text}")
        calls = (
            ToolCall("1", "grep", json.dumps({"pattern": secrets.argument.text})),
            ToolCall("2", "cat", json.dumps({"path": self.file})),
            ToolCall("3", "cat", json.dumps({"path": f"../{secrets.name.text}"})),
            ToolCall("4", secrets.tool.text, "{}"),
            ToolCall("5", "find", f"not JSON: {secrets.argument.text}"),
        )
        return Reply(f"looking for {secrets.answer.text}", calls, None, secrets.model.text)


@dataclass
class Left:
    """What left the process."""

    posted: list[bytes] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    metrics: list[str] = field(default_factory=list)

    def leaks(self, secrets: Secrets) -> list[tuple[str, str]]:
        """Name each sink that a secret got to, and its kind."""
        return [
            (sink, planted.kind)
            for sink, data in self.sinks().items()
            for planted in secrets.all
            if any(form in data for form in forms(planted.secret))
        ]

    def sinks(self) -> Mapping[str, str]:
        return {
            # In protobuf a text is its UTF-8: names, attributes, statuses and events alike.
            "posted": b"\n".join(self.posted).decode(errors="replace"),
            "log": "\n".join(self.log),
            "metrics": "\n".join(self.metrics),
        }


@contextmanager
def requests_logged() -> Iterator[None]:
    """Let the server tell of each request, as it does where nobody else sets levels."""
    access = logging.getLogger("uvicorn.access")
    before = access.level
    access.setLevel(logging.INFO)
    try:
        yield
    finally:
        access.setLevel(before)


def chosen(server: Collector, folder: Path, profile: str, **more: Any) -> Settings:
    documents = folder / "documents"
    documents.mkdir()
    return settings_for(
        server.url,
        documents,
        observability_profile=profile,
        cache_directory=folder / "cache",
        isolation="paths",
        log_format="json",
        redact_patterns=("ORDER:[0-9]{8}",),
        token_check_every=0,
        **{**OWN, **more},
    )


async def chat(server: Collector, folder: Path, profile: str, secrets: Secrets) -> Left:
    """Run chats through the app with a secret in every place, and take all that left it."""
    made = chosen(server, folder, profile)
    file = re.sub(r"[/\0]", "-", secrets.name.text) + ".txt"
    (made.data_root_path / file).write_text(f"it says\n{secrets.content.text}\n")
    edges = Edges(
        llm=Talkative(secrets, file),
        wall_clock_ns=lambda: time.time_ns() + HOUR_NS,
        sleep=lambda _: asyncio.sleep(0),
    )
    left = Left()
    with captured_logs() as lines, requests_logged():
        app = create_app(made, edges)
        async with served(app) as client:
            client.headers["authorization"] = f"Bearer {OWN['api_token']}"
            headers = {
                "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01",
                "baggage": f"scenario={quote(secrets.tag.text, safe='')}",
                "x-other": quote(secrets.header.text),
                "cookie": f"sid={quote(secrets.header.text)}",
            }
            for question in ("look for", "fail with", "crash with"):
                body = {
                    "message": f"{question} {secrets.message.text}"[:4096],
                    "session_id": secrets.session.text[:64],
                }
                for path in ("/api/chat", "/api/chat/stream"):
                    await client.post(path, json=body, headers=headers)
            await client.get(f"/api/{quote(secrets.query.text, safe='')}", headers=headers)
            query = {"path": secrets.name.text, "q": secrets.query.text}
            await client.get("/api/documents", params=query, headers=headers)
            await client.get(
                "/api/sessions/" + secrets.session.text,
                headers={"authorization": secrets.header.text.encode()},
            )
            for accept in ({}, OPENMETRICS):
                left.metrics.append((await client.get("/metrics", headers=accept)).text)
        left.log = lines()
    left.posted = [
        gzip.decompress(posted.body) if posted.headers.get("content-encoding") else posted.body
        for posted in server.posted
    ]
    return left


@pytest.mark.parametrize("profile", PROFILES)
def test_no_planted_secret_leaves_the_process(profile: str) -> None:
    @given(SECRETS)
    @settings(
        max_examples=6,
        deadline=None,
        # An app is started for each example: to find a smaller one would take minutes.
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def planted(secrets: Secrets) -> None:
        with collector() as server, TemporaryDirectory() as folder:
            left = asyncio.run(chat(server, Path(folder), profile, secrets))

        assert left.leaks(secrets) == []
        assert_told(profile, left)

    planted()


def assert_told(profile: str, left: Left) -> None:
    """See that every sink of the profile was told of the chats, with the secrets hidden."""
    sinks = left.sinks()
    # Langfuse has the contents; by OTLP there are none, but statuses and names.
    for mark in {"ai": ("[secret]", "[redacted]", "looking for"), "hybrid": ("grep",)}.get(
        profile, ()
    ):
        assert mark in sinks["posted"]
    assert (profile in {"ai", "hybrid"}) == bool(left.posted)
    assert "a chat failed: said " in sinks["log"]
    assert "GET /api/documents?path=" in sinks["log"]
    assert "RuntimeError: crashed at " in sinks["log"]
    assert "a stream of events failed" in sinks["log"]
    assert ("looking for" in sinks["log"]) == (profile in {"minimal", "hybrid"})
    assert ("[redacted]" in sinks["log"]) == (profile in {"minimal", "hybrid"})
    assert ('trace_id="' in sinks["metrics"]) == (profile != "off")


@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_what_an_llm_says_of_a_failure_reaches_nobody(status: int) -> None:
    """A real client of a server that repeats the key it was sent: in its headers and its body."""

    async def ask(server: Collector, folder: Path) -> tuple[str, Left]:
        llm = LLMServer(trouble=Trouble(status, {"x-key": OWN["openai_api_key"]}))
        await llm.go_up()
        made = chosen(server, folder, "hybrid", openai_base_url=llm.url, llm_max_attempts=1)
        with captured_logs() as lines:
            app = create_app(made)
            async with (
                app.router.lifespan_context(app),
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(app, raise_app_exceptions=False),
                    base_url="http://app",
                    headers={"authorization": f"Bearer {OWN['api_token']}"},
                ) as client,
            ):
                answers = [
                    (await client.post(path, json={"message": "question"})).text
                    for path in ("/api/chat", "/api/chat/stream")
                ]
                answers.append(
                    (await client.get("/api/documents", headers={"authorization": "x"})).text
                )
            left = Left(log=lines())
        await llm.go_down()
        left.posted = [gzip.decompress(posted.body) for posted in server.posted]
        return "\n".join(answers), left

    with collector() as server, TemporaryDirectory() as folder:
        answers, left = asyncio.run(ask(server, Path(folder)))

    sinks = {"answers": answers, **left.sinks()}
    assert [(n, k) for n, data in sinks.items() for k, own in OWN.items() if own in data] == []
    assert f'"status":{status}' in answers
    assert "a chat failed: " in sinks["log"]
