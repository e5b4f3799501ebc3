"""The chat routes: an answer as one JSON document, or as server-sent events while it grows."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, Field

from target_app.agent.llm import LLMError
from target_app.agent.messages import (
    Event,
    IterationStarted,
    LimitReached,
    Token,
    ToolCall,
    ToolResult,
    ToolsFinished,
    ToolsRequested,
)
from target_app.chats import Answer, Question
from target_app.observability.trace_context import read_trace_context
from target_app.routes.errors import llm_details
from target_app.sandbox.result import CommandResult
from target_app.services import Services, services
from target_app.sessions import SESSION_ID_PATTERN

logger = logging.getLogger(__name__)

router = APIRouter(prefix="/api/chat")

OUTPUT_CHARACTERS = 1000
"""How much of a tool's output an event shows."""

CLIENT_CLOSED_REQUEST = 499
"""Nobody is there to read it; it keeps the log of a proxy honest."""

QUEUED_EVENTS = 256
"""Events a slow reader may be behind before the chat waits for it."""


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
    """Tokens of all LLM calls of the chat, by the LLM's own count."""

    input_tokens: int
    output_tokens: int
    total_tokens: int


class ChatResponse(BaseModel):
    """An answer and how it was found."""

    response: str
    session_id: str
    tool_calls: list[ToolCallMade]
    tool_results: list[ToolCallResult]
    iterations: int
    usage: TokenCounts


@router.post("")
async def chat(
    body: ChatRequest, request: Request, app: Annotated[Services, Depends(services)]
) -> ChatResponse:
    """Answer a question. 502 when the LLM fails."""
    answering = asyncio.ensure_future(app.chats.answer(_question(body, request)))
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if answering.done():
            return _response(await answering)
        return Response(status_code=CLIENT_CLOSED_REQUEST)  # type: ignore[return-value]
    finally:
        await _stop(answering)
        await _stop(leaving)


@router.post("/stream", response_class=StreamingResponse)
async def chat_stream(
    body: ChatRequest, request: Request, app: Annotated[Services, Depends(services)]
) -> StreamingResponse:
    """Answer a question as it is being answered, in server-sent events."""
    return StreamingResponse(
        _events(app, _question(body, request)),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


async def _events(app: Services, question: Question) -> AsyncIterator[bytes]:
    """Run a chat in a task of its own and yield what is heard of it, until it ends."""
    channel = _Channel()
    answering = asyncio.ensure_future(channel.run(app, question))
    try:
        while (event := await channel.queue.get()) is not None:
            yield event
    finally:
        # When the client leaves, the chat ends too: nobody pays for an answer nobody reads.
        await _stop(answering)


class _Channel:
    """Turns what is heard of a chat into server-sent events; None is the last one."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUED_EVENTS)
        self._session_id = ""

    async def run(self, app: Services, question: Question) -> None:
        try:
            answer = await app.chats.answer(question, self)
            await self._send("usage", _counts(answer).model_dump())
            await self._send("done", _summary(answer))
        except LLMError as error:
            details = {"message": str(error), "type": "LLM_ERROR", **llm_details(error)}
            await self._send("error", details)
        except Exception:
            # The stream has begun: its status can no longer say that anything went wrong.
            logger.exception("a streamed chat failed")
            details = {"message": "the app failed; its log says why", "type": "INTERNAL_ERROR"}
            await self._send("error", details)
        await self.queue.put(None)

    async def began(self, session_id: str) -> None:
        self._session_id = session_id
        await self._status("thinking", "Reading the question")

    async def heard(self, event: Event) -> None:
        match event:
            case IterationStarted(iteration):
                await self._status("llm_call", "Asking the LLM", iteration=iteration)
            case Token(text):
                await self._send("token", {"content": text})
            case ToolsRequested(calls):
                for call in calls:
                    await self._send("tool_call", _made(call).model_dump())
                await self._status("executing_tools", "Running tools", tool_count=len(calls))
            case ToolsFinished(results):
                for result in results:
                    await self._send("tool_result", _shown(result))
            case LimitReached(iterations):
                await self._status("max_iterations", "Stopping at the limit", iteration=iterations)

    async def _status(self, stage: str, message: str, **more: int) -> None:
        await self._send("status", {"stage": stage, "message": message, **more})

    async def _send(self, name: str, data: dict[str, Any]) -> None:
        text = json.dumps({**data, "session_id": self._session_id}, ensure_ascii=False)
        await self.queue.put(f"event: {name}\ndata: {text}\n\n".encode())


def _question(body: ChatRequest, request: Request) -> Question:
    return Question(body.message, body.session_id, read_trace_context(request.headers))


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
        usage=_counts(answer),
    )


def _summary(answer: Answer) -> dict[str, Any]:
    return {
        "message": answer.outcome.answer,
        "tool_calls_count": len(answer.outcome.tool_results),
        "iterations": answer.outcome.iterations,
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


async def _stop(task: asyncio.Future[Any]) -> None:
    """Cancel a task unless it has ended, and wait for its end; its outcome is not looked at."""
    task.cancel()
    await asyncio.wait({task})
