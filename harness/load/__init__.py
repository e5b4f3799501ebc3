"""What a scenario is written with: AgentUser, arrivals, questions, and preparation."""

from locust import between, constant, task

from harness.load import plugin
from harness.load.arrivals import Constant, Poisson
from harness.load.prepare import clear_cache, prime
from harness.load.questions import Deck, Question
from harness.load.user import AgentUser

__all__ = [
    "AgentUser",
    "Constant",
    "Deck",
    "Poisson",
    "Question",
    "between",
    "clear_cache",
    "constant",
    "plugin",
    "prime",
    "task",
]
