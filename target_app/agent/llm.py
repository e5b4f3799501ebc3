"""The LLM at the other end of the wire: OpenAI or Azure OpenAI chat completions."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

import httpx2
import openai
from openai import AsyncAzureOpenAI, AsyncOpenAI, AsyncStream
from pydantic import SecretStr

from target_app.agent.messages import Prompt, Reply, ToolCall, Usage
from target_app.agent.wire import Completion
from target_app.settings import Settings

OnToken = Callable[[str], Awaitable[None]]

PATH = "/chat/completions"
SERVER_ERROR = 500

_END = object()


class LLMError(Exception):
    """
    The LLM did not answer.

    `kind` is one of KINDS and `status` the HTTP status, when there was one.
    `retry_after_seconds` is how long the LLM asked to be left alone. The message holds nothing of
    the request, so it can be shown to a caller.
    """

    KINDS = ("timeout", "connection", "rate_limit", "http_error", "broken_answer")

    def __init__(
        self,
        kind: str,
        message: str,
        status: int | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        """Say what went wrong, as a word for metrics and as a sentence for people."""
        super().__init__(message)
        self.kind = kind
        self.status = status
        self.retry_after_seconds = retry_after_seconds

    @property
    def may_pass(self) -> bool:
        """
        Whether the same call may succeed a little later.

        Not after a timeout: who is too slow for one call is not helped by a second one.
        """
        return self.kind in {"rate_limit", "connection"} or (self.status or 0) >= SERVER_ERROR


class LLM(Protocol):
    """Something that continues a conversation."""

    async def call(self, prompt: Prompt, on_token: OnToken | None) -> Reply:
        """
        Ask once. With `on_token` the answer is streamed and each piece is handed over.

        Raises LLMError. A streamed answer that ends too early, whatever way, is told to
        `prompt.broke_off` as far as it came.
        """
        ...


def make_client(settings: Settings) -> AsyncOpenAI:
    """
    Make the one client of the app: its connections are meant to be shared.

    It never retries, so that every call on the wire is counted once.
    """
    if settings.azure_openai_endpoint is not None:
        return AsyncAzureOpenAI(
            azure_endpoint=settings.azure_openai_endpoint,
            api_key=_key(settings.azure_openai_api_key),
            api_version=settings.azure_openai_api_version,
            timeout=settings.llm_timeout_seconds,
            max_retries=0,
        )
    return AsyncOpenAI(
        api_key=_key(settings.openai_api_key),
        base_url=settings.openai_base_url,
        timeout=settings.llm_timeout_seconds,
        max_retries=0,
    )


class OpenAILLM:
    """An LLM behind the openai SDK."""

    def __init__(self, client: AsyncOpenAI, model: str) -> None:
        """Use a client made elsewhere, which stays its maker's to close."""
        self._client = client
        self._model = model

    async def call(self, prompt: Prompt, on_token: OnToken | None) -> Reply:
        """
        Ask once. Raises LLMError, and what `on_token` raises.

        The time that `on_token` takes is not the LLM's, and does not count against its timeout.
        """
        patience = _Patience(prompt.timeout_seconds)
        if on_token is not None:
            return await self._stream(prompt, on_token, patience)
        async with patience.waiting():
            return await self._complete(prompt)

    async def _complete(self, prompt: Prompt) -> Reply:
        # `post` sends the messages as they are and hands out the answer as it came;
        # `chat.completions.create` walks through both to transform what here is right already.
        answer = await self._client.post(
            PATH,
            cast_to=object,
            body=self._body(prompt),
            options={"headers": prompt.headers},
        )
        return Completion.model_validate(answer).reply()

    async def _stream(self, prompt: Prompt, on_token: OnToken, patience: _Patience) -> Reply:
        gathered = _Gathered(self._model)
        try:
            return await self._gather(prompt, on_token, patience, gathered)
        except BaseException:
            if gathered.begun and prompt.broke_off is not None:
                prompt.broke_off(gathered.so_far())
            raise

    async def _gather(
        self, prompt: Prompt, on_token: OnToken, patience: _Patience, gathered: _Gathered
    ) -> Reply:
        async with patience.waiting():
            stream = await self._open_stream(prompt)
        async with stream:
            while True:
                async with patience.waiting():
                    chunk = await anext(stream, _END)
                    if chunk is _END:
                        return gathered.reply()
                    text = gathered.add(Completion.model_validate(chunk))
                if text:
                    await on_token(text)

    async def _open_stream(self, prompt: Prompt) -> AsyncStream[object]:
        return await self._client.post(
            PATH,
            cast_to=object,
            body=self._body(prompt) | {"stream": True, "stream_options": {"include_usage": True}},
            options={"headers": prompt.headers},
            stream=True,
            stream_cls=AsyncStream[object],
        )

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self._model, "messages": prompt.messages}
        return body | {"tools": prompt.tools, "tool_choice": "auto"} if prompt.tools else body


class _Patience:
    """How long the LLM may still be waited for in one call."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds

    @asynccontextmanager
    async def waiting(self) -> AsyncIterator[None]:
        """Wait for the LLM within the time that is left. Raises LLMError for all that fails."""
        clock = asyncio.get_running_loop().time
        begun = clock()
        try:
            async with asyncio.timeout(self._seconds):
                yield
        except (TimeoutError, openai.APITimeoutError) as error:
            raise LLMError("timeout", "the LLM did not answer in time") from error
        except openai.APIConnectionError as error:
            raise LLMError("connection", "the connection to the LLM failed") from error
        except openai.RateLimitError as error:
            msg = "the LLM limits the rate of calls"
            raise LLMError("rate_limit", msg, 429, _retry_after(error)) from error
        except openai.APIStatusError as error:
            msg = f"the LLM answered with status {error.status_code}"
            raise LLMError("http_error", msg, error.status_code, _retry_after(error)) from error
        except (openai.OpenAIError, httpx2.HTTPError, ValueError) as error:
            raise LLMError(
                "broken_answer", "the LLM's answer broke off or is malformed"
            ) from error
        finally:
            if self._seconds is not None:
                self._seconds -= clock() - begun


@dataclass(slots=True)
class _Gathered:
    """A streamed answer put together."""

    model: str
    content: list[str] = field(default_factory=list)
    calls: dict[int, tuple[list[str], list[str], list[str]]] = field(default_factory=dict)
    usage: Usage | None = None
    begun: bool = False
    finished: bool = False

    def add(self, chunk: Completion) -> str:
        """Take in one chunk and answer the text in it."""
        self.model = chunk.model or self.model
        if chunk.usage is not None:
            self.usage = chunk.usage.apart()
        if not chunk.choices:
            return ""
        self.begun = True
        choice = chunk.choices[0]
        self.finished = self.finished or choice.finish_reason is not None
        delta = choice.delta
        if delta is None:
            return ""
        for piece in delta.tool_calls or ():
            call = self.calls.setdefault(piece.index, ([], [], []))
            for texts, part in zip(call, piece.parts(), strict=True):
                texts.append(part)
        text = delta.content or ""
        self.content.append(text)
        return text

    def reply(self) -> Reply:
        """Answer what was said; raises ValueError when it was not said to its end."""
        if not self.finished:
            msg = "the stream ended without a finish reason"
            raise ValueError(msg)
        return self.so_far()

    def so_far(self) -> Reply:
        """Answer what was said until now."""
        calls = tuple(
            ToolCall(*("".join(texts) for texts in call)) for _, call in sorted(self.calls.items())
        )
        return Reply("".join(self.content), calls, self.usage, self.model)


def _retry_after(error: openai.APIStatusError) -> float | None:
    return read_retry_after(error.response.headers.get("retry-after"), time.time())


def read_retry_after(value: str | None, now: float) -> float | None:
    """
    Read a Retry-After header as seconds from `now` (seconds since 1970), never below 0.

    None when there is none or it cannot be read. Source: RFC 9110, section 10.2.3.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _key(secret: SecretStr | None) -> str:
    return "" if secret is None else secret.get_secret_value()
