"""Run every scenario's tasks with a user that only notes what it is asked; prints JSON."""

from __future__ import annotations

import json
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harness.load import AgentUser, Answer

ROOT = Path(__file__).parents[2]


class FakeUser:
    """What a task needs of a user: it sends nothing, and succeeds `good` times before it fails."""

    def __init__(self, questions: Any, good: int) -> None:
        self.questions = questions
        self.calls: list[dict[str, Any]] = []
        self._good = good
        self._conversations: list[Any] = []

    def _ends_well(self) -> bool:
        self._good -= 1
        return self._good >= 0

    def chat(self, question: Any, *, stream: bool = False, conversation: Any = None) -> Any:
        known = None
        if conversation is not None:
            if not any(conversation is c for c in self._conversations):
                self._conversations.append(conversation)
            known = [conversation is c for c in self._conversations].index(True)
        call = {"text": question.text, "answer": question.answer}
        self.calls.append({"call": "chat", **call, "stream": stream, "conversation": known})
        return Answer("whatever") if self._ends_well() else None

    def request(self, method: str, path: str, *, operation: str, **more: Any) -> Any:
        content = more.pop("content", b"").decode()
        call = {"method": method, "path": path, "operation": operation, "content": content}
        expect = list(more.pop("expect", (200,)))
        self.calls.append({"call": "request", **call, "expect": expect, **more})
        return SimpleNamespace(status=expect[0]) if self._ends_well() else None

    def think(self, seconds: float) -> None:
        self.calls.append({"call": "think", "seconds": seconds})


def calls(user: type[AgentUser], good: int = 99) -> dict[str, list[list[dict[str, Any]]]]:
    """What each task does in two journeys, one after the other."""
    done = {}
    for task in dict.fromkeys(user.tasks):
        done[task.__name__] = []
        for _ in range(2):
            fake = FakeUser(user.questions, good)
            task(fake)
            done[task.__name__].append(fake.calls)
    return done


def about(name: str) -> dict[str, Any]:
    module = import_module("scenarios." + name)
    (user,) = [
        v for v in vars(module).values()
        if isinstance(v, type) and issubclass(v, AgentUser) and v is not AgentUser
    ]  # fmt: skip
    deck = user.questions
    return {
        "class": user.__name__,
        "scenario": user.scenario(),
        "arrivals": str(user.arrivals),
        "rate": user.arrivals.mean_rate,
        "duration": user.arrivals.duration,
        "weights": Counter(task.__name__ for task in user.tasks),
        "steps": [step.__name__ for step in user.prepare],
        "asks": [q.text for q in deck or ()],
        "answers": [q.answer for q in deck or ()],
        "repeats": deck is not None and deck._repeat,
        "calls": calls(user),
        "calls_when_the_first_fails": calls(user, good=0),
        "calls_when_the_second_fails": calls(user, good=1),
    }


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    print(json.dumps({name: about(name) for name in sys.argv[1:]}))
