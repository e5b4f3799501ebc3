"""The scenario classes that a process was started with, and the users made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.load.plan import Plan
from harness.load.user import AgentUser


def agent_users(environment: Any) -> list[type[AgentUser]]:
    """Give the scenario classes of a load."""
    return [user for user in environment.user_classes if issubclass(user, AgentUser)]


def travellers(
    environment: Any, plan: Plan, classes: Mapping[str, type[AgentUser]]
) -> dict[str, AgentUser]:
    """Make the one user of each scenario that sends all its journeys in an open loop."""
    environment.host = plan.target
    for name in plan.users:
        classes[name].host = plan.target
    return {name: classes[name](environment) for name in plan.users}


def stop_users(environment: Any) -> None:
    """Let Locust's users end after the task they are at."""
    for greenlet in list(environment.runner.user_greenlets):
        if greenlet.args and greenlet.args[0]._state != "stopping":  # noqa: SLF001 - not public
            greenlet.args[0].stop()
