"""The chat routes: an answer as one JSON document, or as server-sent events while it grows."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from target_app.agent.llm import LLMError
from target_app.agent.messages import (
    Event,
    IterationStarted,
    LimitReached,
    Token,
    ToolCall,
    ToolFinished,
    ToolResult,
    ToolsRequested,
)
from target_app.chats import Answer, Question
from target_app.routes.errors import CLIENT_CLOSED_REQUEST, answers, llm_details
from target_app.routes.events import Channel, EventStream, events, stop
from target_app.sandbox.result import CommandResult
from target_app.services import App, Services
from target_app.sessions import SESSION_ID_PATTERN

router = APIRouter(prefix="/api/chat", tags=["chat"])

OUTPUT_CHARACTERS = 1000
"""How much of a tool's output an event shows."""

ERRORS = answers(400, 403, 413, 422)


class ChatRequest(BaseModel):
    """A question, and the conversation it belongs to; without one a new one begins."""

    message: Annotated[str, Field(min_length=1, max_length=4096)]
    session_id: Annotated[str, Field(pattern=SESSION_ID_PATTERN)] | None = None


class ToolCallMade(BaseModel):
    """A tool call of the LLM; `arguments` is the JSON text it wrote."""

    id: str
    name: str
    arguments: str


class ToolCallResult(BaseModel):
    """What a tool call came to."""

    tool_call_id: str
    tool_name: str
    result: CommandResult


class TokenCounts(BaseModel):
    """Tokens of all LLM calls of the chat, by the LLM's own count; estimated where it has none."""

    input_tokens: int
    output_tokens: int
    total_tokens: int


class ChatResponse(BaseModel):
    """
    An answer and how it was found.

    `llm_calls` counts every attempt, so with retries it is more than the iterations.
    """

    response: str
    session_id: str
    tool_calls: list[ToolCallMade]
    tool_results: list[ToolCallResult]
    iterations: int
    llm_calls: int
    usage: TokenCounts


@router.post("", responses={**ERRORS, **answers(502)})
async def chat(body: ChatRequest, request: Request, app: App) -> ChatResponse:
    """Answer a question. 502 when the LLM fails."""
    answering = asyncio.ensure_future(app.chats.answer(_question(body)))
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if answering.done():
            return _response(await answering)
        return Response(status_code=CLIENT_CLOSED_REQUEST)  # type: ignore[return-value]
    finally:
        await stop(answering)
        await stop(leaving)


@router.post(
    "/stream",
    response_class=Response,
    responses={
        **ERRORS,
        **events("status", "tool_call", "tool_result", "token", "usage", "done", "error"),
    },
)
async def chat_stream(body: ChatRequest, app: App) -> EventStream:
    """
    Answer a question as it is being answered, in server-sent events.

    Events: status, tool_call, tool_result, token, and at last usage and done, or error.
    """
    question = _question(body)
    return EventStream(partial(_answer, app, question), app.settings.stream_heartbeat_seconds)


async def _answer(app: Services, question: Question, channel: Channel) -> None:
    """Run a chat and send what is heard of it."""
    telling = _Telling(channel)
    try:
        answer = await app.chats.answer(question, telling)
    except LLMError as error:
        details = {"message": str(error), "type": "LLM_ERROR", **llm_details(error)}
        await telling.send("error", details)
    else:
        await telling.send("usage", _counts(answer).model_dump())
        await telling.send("done", _summary(answer))


class _Telling:
    """Turns what is heard of a chat into events. Each names the session."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._session_id = ""

    async def send(self, name: str, data: dict[str, Any]) -> None:
        await self._channel.send(name, {**data, "session_id": self._session_id})

    async def began(self, session_id: str) -> None:
        self._session_id = session_id
        await self._status("thinking", "Reading the question")

    async def heard(self, event: Event) -> None:
        match event:
            case IterationStarted(iteration):
                await self._status("llm_call", "Asking the LLM", iteration=iteration)
            case Token(text):
                await self.send("token", {"content": text})
            case ToolsRequested(calls):
                for call in calls:
                    await self.send("tool_call", _made(call).model_dump())
                await self._status("executing_tools", "Running tools", tool_count=len(calls))
            case ToolFinished(result):
                await self.send("tool_result", _shown(result))
            case LimitReached(iterations):
                await self._status("max_iterations", "Stopping at the limit", iteration=iterations)

    async def _status(self, stage: str, message: str, **more: int) -> None:
        await self.send("status", {"stage": stage, "message": message, **more})


def _question(body: ChatRequest) -> Question:
    return Question(body.message, body.session_id)


def _response(answer: Answer) -> ChatResponse:
    results = answer.outcome.tool_results
    return ChatResponse(
        response=answer.outcome.answer,
        session_id=answer.session_id,
        tool_calls=[_made(result.call) for result in results],
        tool_results=[
            ToolCallResult(
                tool_call_id=result.call.id, tool_name=result.call.name, result=result.result
            )
            for result in results
        ],
        iterations=answer.outcome.iterations,
        llm_calls=answer.llm_calls,
        usage=_counts(answer),
    )


def _summary(answer: Answer) -> dict[str, Any]:
    return {
        "message": answer.outcome.answer,
        "tool_calls_count": len(answer.outcome.tool_results),
        "iterations": answer.outcome.iterations,
        "llm_calls": answer.llm_calls,
    }


def _made(call: ToolCall) -> ToolCallMade:
    return ToolCallMade(id=call.id, name=call.name, arguments=call.arguments)


def _counts(answer: Answer) -> TokenCounts:
    usage = answer.outcome.usage
    return TokenCounts(
        input_tokens=usage.all_input, output_tokens=usage.all_output, total_tokens=usage.total
    )


def _shown(result: ToolResult) -> dict[str, Any]:
    text = result.result.stdout if result.result.success else result.result.stderr
    shown = text if len(text) <= OUTPUT_CHARACTERS else f"{text[:OUTPUT_CHARACTERS]}..."
    return {
        "id": result.call.id,
        "name": result.call.name,
        "success": result.result.success,
        "output": shown,
    }


async def _left(request: Request) -> None:
    """Wait until the client has closed its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
