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

    from harness.load.arrivals import Constant, Poisson
    from harness.load.chat_api import Answer, BadAnswerError, BrokenStreamError
    from harness.load.prepare import clear_cache, prime
    from harness.load.questions import Deck, Question
    from harness.load.user import AgentUser

__all__ = [
    "AgentUser",
    "Answer",
    "BadAnswerError",
    "BrokenStreamError",
    "Constant",
    "Deck",
    "Poisson",
    "Question",
    "between",
    "clear_cache",
    "constant",
    "prime",
    "task",
]

_HOMES = {
    "AgentUser": "harness.load.user",
    "Answer": "harness.load.chat_api",
    "BadAnswerError": "harness.load.chat_api",
    "BrokenStreamError": "harness.load.chat_api",
    "Constant": "harness.load.arrivals",
    "Deck": "harness.load.questions",
    "Poisson": "harness.load.arrivals",
    "Question": "harness.load.questions",
    "between": "locust",
    "clear_cache": "harness.load.prepare",
    "constant": "locust",
    "prime": "harness.load.prepare",
    "task": "locust",
}


def __getattr__(name: str) -> Any:
    """Bring in what is asked for, Locust and our hooks in it first."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_module("harness.load.plugin")
    return getattr(import_module(_HOMES[name]), name)
