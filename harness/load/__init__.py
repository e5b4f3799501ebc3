"""
What a scenario is written with: AgentUser, arrivals, questions, and preparation.

The first name taken from here brings in Locust and hooks the harness into it.
Importing a module of this package by itself does not: Locust patches the whole
process for gevent, which is no business of those who only read a stream.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from locust import between, constant, task

    from harness.load.apis.filesystem_agent import FilesystemAgent
    from harness.load.apis.http_json import EventStream, Http
    from harness.load.apis.openai_chat import OpenAIChat
    from harness.load.arrivals import Constant, Poisson, Ramp, Spike, Steps, Trace
    from harness.load.borrowed import tasks_of
    from harness.load.chat_api import Answer, BadAnswerError, BrokenStreamError, Conversation
    from harness.load.exchange import Reply
    from harness.load.prepare import clear_cache, prime
    from harness.load.questions import Deck, Question
    from harness.load.user import AgentUser

__all__ = [
    "AgentUser",
    "Answer",
    "BadAnswerError",
    "BrokenStreamError",
    "Constant",
    "Conversation",
    "Deck",
    "EventStream",
    "FilesystemAgent",
    "Http",
    "OpenAIChat",
    "Poisson",
    "Question",
    "Ramp",
    "Reply",
    "Spike",
    "Steps",
    "Trace",
    "between",
    "clear_cache",
    "constant",
    "prime",
    "task",
    "tasks_of",
]

_HOMES = {
    "AgentUser": "harness.load.user",
    "Answer": "harness.load.chat_api",
    "BadAnswerError": "harness.load.chat_api",
    "BrokenStreamError": "harness.load.chat_api",
    "Constant": "harness.load.arrivals",
    "Conversation": "harness.load.chat_api",
    "Deck": "harness.load.questions",
    "EventStream": "harness.load.apis.http_json",
    "FilesystemAgent": "harness.load.apis.filesystem_agent",
    "Http": "harness.load.apis.http_json",
    "OpenAIChat": "harness.load.apis.openai_chat",
    "Poisson": "harness.load.arrivals",
    "Question": "harness.load.questions",
    "Ramp": "harness.load.arrivals",
    "Reply": "harness.load.exchange",
    "Spike": "harness.load.arrivals",
    "Steps": "harness.load.arrivals",
    "Trace": "harness.load.arrivals",
    "between": "locust",
    "clear_cache": "harness.load.prepare",
    "constant": "locust",
    "prime": "harness.load.prepare",
    "task": "locust",
    "tasks_of": "harness.load.borrowed",
}


def __getattr__(name: str) -> Any:
    """Bring in what is asked for, Locust and our hooks in it first."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_module("harness.load.plugin")
    return getattr(import_module(_HOMES[name]), name)
