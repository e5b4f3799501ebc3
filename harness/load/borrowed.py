"""Tasks of other scenarios, for one that mixes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from locust import TaskSet

from harness.load.user import AgentUser

Task = TaskSet | Callable[..., Any]


def tasks_of(folder: Path, weights: Mapping[str, int]) -> list[Task]:
    """
    Give the tasks of scenarios in a folder, each scenario as often as its weight says.

    They run as tasks of the user that borrows them: with its questions, under its name. The
    files are read by their place and not imported by name, since Locust runs each scenario file
    by itself, in whatever working directory. Raises ValueError naming the file that is at fault.
    """
    if not weights:
        raise ValueError(f"{folder}: give at least one scenario to take tasks of")
    for name, weight in weights.items():
        if not isinstance(weight, int) or weight < 1:
            raise ValueError(f"{folder}: the weight of {name} is {weight!r}; give 1, 2, 3, ...")
    lent = {name: _tasks(folder / f"{name}.py") for name in weights}
    # As many shares as every scenario can divide evenly among its own tasks.
    shares = math.lcm(*(len(tasks) for tasks in lent.values()))
    return [
        task
        for name, tasks in lent.items()
        for task in tasks
        for _ in range(weights[name] * shares // len(tasks))
    ]


@cache
def _tasks(file: Path) -> tuple[Task, ...]:
    """Run a scenario file apart from Locust, so that its users are not started too."""
    spec = spec_from_file_location(f"harness_borrows_{file.stem}", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise ValueError(f"{file}: there is no such scenario")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    tasks = tuple(
        task
        for user in vars(module).values()
        if isinstance(user, type) and issubclass(user, AgentUser) and user.__module__ == spec.name
        for task in user.tasks
    )
    if not tasks:
        raise ValueError(f"{file}: it declares no AgentUser with tasks")
    return tasks
