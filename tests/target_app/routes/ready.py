"""An LLM that is always ready, for tests that do not know what they will ask."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass, field

from target_app.agent.llm import OnToken
from target_app.agent.messages import Prompt, Reply, ToolCall
from tests.target_app.scripted import CALL_USAGE

WAIT = "wait"


@dataclass
class ReadyLLM:
    """Looks at the folder first, then answers; asked to WAIT, it does until it is given up."""

    asked: threading.Event = field(default_factory=threading.Event)
    given_up: threading.Event = field(default_factory=threading.Event)

    async def call(self, prompt: Prompt, on_token: OnToken | None) -> Reply:
        last = prompt.messages[-1]
        if last["content"] == WAIT:
            self.asked.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.given_up.set()
        if last["role"] == "tool":
            if on_token is not None:
                await on_token("done")
            return Reply("done", (), CALL_USAGE, "ready-1")
        call = ToolCall("call-1", "ls", json.dumps({"path": "."}))
        return Reply("", (call,), CALL_USAGE, "ready-1")
