"""
The floor: the least that a FastAPI app must do to make the same LLM calls.

One route that sends, one after the other, the very prompts that the app sent for the same
question, by one shared client of the same SDK and by the form of call the app uses. It runs no
tools, keeps no sessions, reads no tool calls and checks nothing. Only the middleware of the HTTP
metrics is on, and it is the app's own.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from instant_llm import PROMPTS
from openai import AsyncOpenAI
from pydantic import BaseModel

from target_app.observability.metrics import Metrics
from target_app.observability.middleware import MetricsMiddleware


class Question(BaseModel):
    """What the app is asked."""

    message: str


class Answer(BaseModel):
    """What it says."""

    response: str


def create_app() -> FastAPI:
    """Make the floor. OPENAI_BASE_URL and OPENAI_API_KEY are the SDK's own settings."""
    prompts: dict[str, list[dict[str, Any]]] = json.loads(Path(os.environ[PROMPTS]).read_bytes())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncOpenAI(max_retries=0, timeout=30) as client:
            app.state.client = client
            yield

    app = FastAPI(lifespan=lifespan)
    app.add_middleware(MetricsMiddleware, metrics=Metrics(), exclude_paths=())

    @app.post("/api/chat")
    async def chat(question: Question, request: Request) -> Answer:
        client: AsyncOpenAI = request.app.state.client
        said = ""
        for body in prompts[question.message.rpartition("[")[2].removesuffix("]")]:
            answer: Any = await client.post(
                "/chat/completions", cast_to=object, body=body, options={"headers": {}}
            )
            said = answer["choices"][0]["message"]["content"]
        return Answer(response=said or "")

    return app
