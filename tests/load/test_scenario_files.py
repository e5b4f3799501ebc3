"""What is wrong in a scenario file is said with file and line, before a run is made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAD = "from harness.load import AgentUser, Constant, task\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param(
            HEAD + "class Bad(AgentUser):\n    arrivals = Constant(rate=-1, duration='4s')\n",
            "bad.py:3: Constant(rate=-1)",
            id="bad arrivals",
        ),
        pytest.param("class Bad(:\n", "bad.py:1: SyntaxError", id="no Python"),
        pytest.param(HEAD, "bad.py: it declares no AgentUser", id="no user"),
    ],
)
def test_a_scenario_that_cannot_be_run_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "bad.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "harness.load.scenario_files", "bad.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"harness: {sentence}"), done.stderr
