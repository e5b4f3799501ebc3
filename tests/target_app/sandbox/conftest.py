"""Both ways to open a path, and commands run as the sandbox runs them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from target_app.sandbox import openat2
from target_app.sandbox.output import Limits
from target_app.sandbox.paths import DataRoot
from target_app.sandbox.result import Command, Execution
from target_app.sandbox.run import run_command

ROOMY = Limits(100_000, 100_000, 30)

MakeRoot = Callable[[Path], DataRoot]
Run = Callable[..., Execution]


@pytest.fixture(params=["openat2", "walk"])
def make_root(request: pytest.FixtureRequest) -> MakeRoot:
    """Make a data root that opens paths in one of the two ways."""
    use_openat2 = request.param == "openat2"
    if use_openat2 and not openat2.is_available():
        if os.environ.get("CI") == "true":
            pytest.fail("the kernel of CI has openat2")
        pytest.skip("this kernel has no openat2")
    return lambda path: DataRoot(path, use_openat2=use_openat2)


@pytest.fixture
def run(documents: Path) -> Run:
    """Run a command in this process, beneath the documents."""

    def run(name: str, path: str = ".", limits: Limits = ROOMY, **options: Any) -> Execution:
        return run_command(DataRoot(documents), Command(name, path, options), limits)

    return run
