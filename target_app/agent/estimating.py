"""An LLM that always says how many tokens a call took."""

from __future__ import annotations

import dataclasses

from target_app.agent.llm import LLM, OnToken
from target_app.agent.messages import Prompt, Reply
from target_app.agent.tokens import count_aside


class EstimatingLLM:
    """
    An LLM whose replies have a usage, whoever counted it.

    One that is missing is estimated, and the reply marked: streams through some proxies have
    none, nor has one that broke off, and a chat that seems to cost nothing would be the worst of
    all estimates.
    """

    def __init__(self, llm: LLM) -> None:
        """Wrap `llm`."""
        self._llm = llm

    async def call(self, prompt: Prompt, on_token: OnToken | None) -> Reply:
        """Ask once. Raises LLMError."""
        broken_off: list[Reply] = []
        listening = dataclasses.replace(prompt, broke_off=broken_off.append)
        try:
            reply = await self._llm.call(listening, on_token)
        except BaseException:
            if broken_off and prompt.broke_off is not None:
                prompt.broke_off(await _estimated(prompt, broken_off[0]))
            raise
        return await _estimated(prompt, reply)


async def _estimated(prompt: Prompt, reply: Reply) -> Reply:
    """Answer the reply with a usage: the one that was told, else one counted here and marked."""
    if reply.usage is not None:
        return reply
    usage = await count_aside(prompt, reply, reply.model)
    return dataclasses.replace(reply, usage=usage, usage_estimated=True)
