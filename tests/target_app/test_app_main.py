"""The app as a process: started by its module, on a port, with settings that are right or not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]


def environment(documents: Path, **more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "DATA_ROOT_PATH": str(documents),
        "OPENAI_API_KEY": "sk-not-shown",
        "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
        "PORT": "0",
        # Loading a tokenizer takes a second; tests of counting ask for it.
        "TOKEN_CHECK_EVERY": "0",
        **more,
    }


def test_wrong_settings_end_it_with_one_line_and_no_traceback(documents: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "target_app"],
        env=environment(documents, MAX_TOOL_ITERATIONS="none"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (
        2,
        "",
        (
            "the app cannot start with these settings:\n"
            "MAX_TOOL_ITERATIONS: Input should be a valid integer, unable to parse string as an "
            "integer\n"
        ),
    )


@pytest.mark.parametrize(
    ("prices", "fault"),
    [
        pytest.param(None, "cannot be read: No such file or directory", id="not there"),
        pytest.param("version: 1", "models: Field required", id="malformed"),
    ],
)
def test_a_price_list_that_cannot_be_used_ends_it_with_one_line(
    documents: Path, tmp_path: Path, prices: str | None, fault: str
) -> None:
    path = tmp_path / "some-prices.yaml"
    if prices is not None:
        path.write_text(prices)
    ended = subprocess.run(
        [sys.executable, "-m", "target_app"],
        env=environment(documents, PRICES_PATH=str(path)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (
        2,
        f"the app cannot start with these settings:\n{path}: {fault}\n",
    )


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["-m", "target_app"], id="by its module"),
        pytest.param(
            ["-m", "uvicorn", "target_app.main:create_app", "--factory", "--port", "0"],
            id="by uvicorn",
        ),
    ],
)
def test_it_serves_on_localhost_and_stops_when_told(documents: Path, command: list[str]) -> None:
    with subprocess.Popen(
        [sys.executable, *command],
        env=environment(documents),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        address = next(
            line.split("http://")[1].split()[0] for line in process.stderr if "running on" in line
        )
        try:
            health = httpx.get(f"http://{address}/health", timeout=10)
            # Nothing listens where the LLM should be.
            answer = httpx.post(
                f"http://{address}/api/chat", json={"message": "hello"}, timeout=30
            )
        finally:
            process.send_signal(signal.SIGTERM)
            log = process.communicate(timeout=30)[1]

    assert address.startswith("127.0.0.1:")
    assert health.json()["status"] == "healthy"
    assert (answer.status_code, answer.json()["message"]) == (
        502,
        "the connection to the LLM failed",
    )
    assert "Traceback" not in log
    assert "sk-not-shown" not in log
