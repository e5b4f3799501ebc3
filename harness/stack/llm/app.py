"""
The server: `python -m uvicorn harness.stack.llm.app:create_app --factory`.

Speaks chat completions as OpenAI (`POST /v1/chat/completions`, bearer key) and as Azure
(`POST /openai/deployments/{deployment}/chat/completions?api-version=...`, `api-key` header) do,
streamed or whole. Any key is accepted. See `settings` for the environment it reads.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from harness.stack.llm import tokens, wire
from harness.stack.llm.conversation import Conversation, RequestError, read_conversation
from harness.stack.llm.delivery import (
    CLIENT_LEFT,
    SILENCE,
    TimedAnswer,
    deliver,
    streamed,
    whole,
)
from harness.stack.llm.draws import CallKey, Ordinals
from harness.stack.llm.faults import SLOW_EXTRA_SECONDS, FaultKind, struck
from harness.stack.llm.latency import draw_pace
from harness.stack.llm.planner import Answer, Calls, plan
from harness.stack.llm.prompt_cache import PromptCache
from harness.stack.llm.settings import Settings, SettingsError, read_settings
from harness.stack.llm.truth import CallRecord, TruthLog

MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-5", "gpt-5-mini")

_RATE_LIMITED = 429
_RETRY_AFTER_SECONDS = 1
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_NO_USAGE = tokens.Usage(prompt=0, cached=0, completion=0)


@dataclass(slots=True)
class _Call:
    """One call while it lasts: what the truth log will say about it."""

    arrived: float
    started: float
    trace_id: str | None
    model: str = ""
    stream: bool = False
    usage: tokens.Usage = _NO_USAGE
    status: int = CLIENT_LEFT
    fault: FaultKind | None = None

    def elapsed(self) -> float:
        return time.perf_counter() - self.started

    def record(self) -> CallRecord:
        return CallRecord(
            at=self.arrived,
            trace_id=self.trace_id,
            model=self.model,
            stream=self.stream,
            prompt_tokens=self.usage.prompt,
            cached_tokens=self.usage.cached,
            completion_tokens=self.usage.completion,
            status=self.status,
            fault=self.fault,
            seconds=self.elapsed(),
        )


class _Simulator:
    """What lasts from call to call: counts, the prompt cache, the truth log."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._ordinals = Ordinals()
        self._cache = PromptCache()
        self.log = TruthLog(settings.log)

    async def openai(self, request: Request) -> Response:
        return await self._answer(request, None)

    async def azure(self, request: Request) -> Response:
        return await self._answer(request, request.path_params["deployment"])

    async def models(self, request: Request) -> Response:
        try:
            _authorise(request, azure=False)
        except RequestError as error:
            return _refusal(error)
        listed = [
            {"id": name, "object": "model", "created": 0, "owned_by": "simulated"}
            for name in MODELS
        ]
        return JSONResponse({"object": "list", "data": listed})

    async def health(self, _: Request) -> Response:
        faults = {fault.kind: fault.share for fault in self.settings.faults}
        return JSONResponse(
            {
                "status": "ok",
                "seed": self.settings.seed,
                "scale": self.settings.scale,
                "faults": faults,
            }
        )

    async def _answer(self, request: Request, deployment: str | None) -> Response:
        call = _Call(time.time(), time.perf_counter(), _trace_id(request))
        try:
            _authorise(request, azure=deployment is not None)
            conversation = read_conversation(await _body(request), deployment)
            call.model, call.stream = conversation.model, conversation.stream
            return self._deliver(conversation, call, azure=deployment is not None)
        except RequestError as error:
            call.status = error.status
            self.log.write(call.record())
            return _refusal(error)

    def _deliver(self, conversation: Conversation, call: _Call, *, azure: bool) -> Response:
        prefixes = conversation.prefixes()
        digest = prefixes[-1]
        key = CallKey(self.settings.seed, digest, self._ordinals.next(digest))
        turn = plan(conversation.messages, conversation.tools, may_call=conversation.may_call)
        call.fault = struck(self.settings.faults, key)
        if call.fault is FaultKind.ERROR_500:
            raise RequestError("Simulated fault: the server failed.", status=500)
        if call.fault is FaultKind.ERROR_429:
            raise RequestError(
                f"Simulated fault: too many requests for {conversation.model}.",
                status=429,
                code="rate_limit_exceeded",
            )
        if call.fault is FaultKind.TIMEOUT:
            return _Delivery(SILENCE, call, self.log)
        if isinstance(turn, Calls):
            turn = _named(turn, key)
        call.usage = self._usage(conversation, prefixes, turn)
        pace = draw_pace(key, self.settings.scale)
        if call.fault is FaultKind.SLOW:
            pace = pace.delayed(SLOW_EXTRA_SECONDS)
        reply = wire.Reply(
            id=f"chatcmpl-{key.token('id')}",
            created=int(call.arrived),
            model=conversation.model,
            azure=azure,
            turn=turn,
            usage=call.usage,
        )
        broken = call.fault is FaultKind.BROKEN_STREAM
        with_usage = call.fault is not FaultKind.MISSING_USAGE
        if conversation.stream:
            with_usage = with_usage and conversation.include_usage
            answer = streamed(reply, pace, with_usage=with_usage, broken=broken)
        else:
            answer = whole(reply, pace, with_usage=with_usage, broken=broken)
        return _Delivery(answer, call, self.log)

    def _usage(
        self, conversation: Conversation, prefixes: tuple[bytes, ...], turn: Calls | Answer
    ) -> tokens.Usage:
        encoding = tokens.encoding_name(conversation.model)
        sizes = tokens.prompt_tokens(conversation.messages, conversation.tools, encoding)
        if isinstance(turn, Calls):
            completion = tokens.calls_tokens(turn.calls, encoding)
        else:
            completion = tokens.count(turn.text, encoding)
        return tokens.Usage(sizes[-1], self._cache.cached(prefixes, sizes), completion)


class _Delivery(Response):
    """Delivers an answer and writes its record, however it ended."""

    def __init__(self, answer: TimedAnswer, call: _Call, log: TruthLog) -> None:
        super().__init__()
        self._answer = answer
        self._call = call
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        try:
            self._call.status = await deliver(self._answer, self._call.started, receive, send)
        finally:
            self._log.write(self._call.record())


def build_app(settings: Settings) -> Starlette:
    """
    Give the server as an ASGI application.

    Raises OSError if the truth log cannot be opened. The tokenizers are loaded before the first
    call is accepted.
    """
    simulator = _Simulator(settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        for name in tokens.ENCODINGS:
            tokens.tokenizer(name)
        yield
        simulator.log.close()

    azure_path = "/openai/deployments/{deployment}/chat/completions"
    return Starlette(
        lifespan=lifespan,
        routes=[
            Route("/v1/chat/completions", simulator.openai, methods=["POST"]),
            Route(azure_path, simulator.azure, methods=["POST"]),
            Route("/v1/models", simulator.models),
            Route("/health", simulator.health),
        ],
    )


def create_app() -> Starlette:
    """Give the server with the settings of the environment; ends the process if they are bad."""
    try:
        return build_app(read_settings(os.environ))
    except (SettingsError, OSError) as error:
        sys.exit(f"The simulated LLM cannot start: {error}")


def _named(turn: Calls, key: CallKey) -> Calls:
    """Give each call of a turn its id."""
    calls = (
        replace(call, id=f"call_{key.token(f'call {index}')}")
        for index, call in enumerate(turn.calls)
    )
    return Calls(tuple(calls))


def _authorise(request: Request, *, azure: bool) -> None:
    """Refuse calls without a key; any key will do."""
    bearer = request.headers.get("authorization", "").removeprefix("Bearer").strip()
    if not (bearer or (azure and request.headers.get("api-key"))):
        raise RequestError("The call carries no API key.", status=401, code="invalid_api_key")
    if azure and not request.query_params.get("api-version"):
        raise RequestError(
            "Nothing is here without an api-version in the address.", status=404, code="404"
        )


async def _body(request: Request) -> object:
    try:
        return json.loads(await request.body())
    except ValueError:
        raise RequestError("The body of the request is not JSON.") from None


def _trace_id(request: Request) -> str | None:
    found = _TRACEPARENT.match(request.headers.get("traceparent", ""))
    return found[1] if found else None


def _refusal(error: RequestError) -> Response:
    headers = {"retry-after": str(_RETRY_AFTER_SECONDS)} if error.status == _RATE_LIMITED else None
    return JSONResponse(wire.error_body(error), error.status, headers)
