"""An LLM that follows a script, and a client for the app that asks it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import FastAPI
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from target_app.agent.llm import OnToken
from target_app.agent.messages import Prompt, Reply, ToolCall, Usage

HOUR_NS = 3_600_000_000_000
CALL_USAGE = Usage(input=80, cached_input=20, output=7, reasoning=3)

PRICES = """
version: 1
models:
  - model: scripted
    match: ^scripted-
    usd_per_million_tokens:
      input: 1
      input_cached_tokens: 0.5
      output: 4
      output_reasoning_tokens: 8
"""
CALL_USD = (80 * 1 + 20 * 0.5 + 7 * 4 + 3 * 8) / 1_000_000


def call(name: str, **arguments: Any) -> ToolCall:
    """Write a tool call as an LLM would; its id is its name."""
    return ToolCall(f"call-{name}", name, json.dumps(arguments))


@dataclass
class ScriptedLLM:
    """Says what is in its script: tool calls, a text, or an error it raises."""

    turns: list[Sequence[ToolCall] | str | Exception]
    prompts: list[Prompt] = field(default_factory=list)
    usage: Usage | None = CALL_USAGE

    async def call(self, prompt: Prompt, on_token: OnToken | None) -> Reply:
        turn = self.turns[len(self.prompts)]
        self.prompts.append(prompt)
        if isinstance(turn, Exception):
            raise turn
        if not isinstance(turn, str):
            return Reply("", tuple(turn), self.usage, "scripted-1")
        if on_token is not None:
            for word in turn.split(" "):
                await on_token(word)
        return Reply(turn, (), self.usage, "scripted-1")


@dataclass
class SilentLLM:
    """Never answers; says when it was asked and when it was given up."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    given_up: bool = False

    async def call(self, prompt: Prompt, on_token: OnToken | None) -> Reply:
        self.asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.given_up = True
            raise
        raise AssertionError


@dataclass(frozen=True)
class RunningApp:
    """The app, started, and a client that talks to it in this process."""

    app: FastAPI
    client: httpx.AsyncClient
    spans: InMemorySpanExporter

    async def ask(self, message: str = "question", **more: Any) -> httpx.Response:
        headers = more.pop("headers", {})
        body = {"message": message, **more}
        return await self.client.post("/api/chat", json=body, headers=headers)

    async def stream(self, message: str = "question") -> list[tuple[str, dict[str, Any]]]:
        response = await self.client.post("/api/chat/stream", json={"message": message})
        events = []
        for block in response.text.strip().split("\n\n"):
            name, data = block.split("\n")
            events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
        return events

    async def series(self, prefix: str) -> dict[str, float]:
        """Read the series that begin so and are not zero, labels in alphabetical order."""
        text = (await self.client.get("/metrics")).text
        return {
            sample.name
            + "".join(f" {key}={value}" for key, value in sorted(sample.labels.items())): (
                sample.value
            )
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name.startswith(prefix)
            and not sample.name.endswith(("_created", "_bucket"))
            and sample.value
        }


Start = Callable[..., AbstractAsyncContextManager[RunningApp]]
