"""docs/your-own-app.md: its scenarios are the files it shows, and its commands do what it says."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.whole

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/your-own-app.md").read_text()
KEY = "sk-known-0123456789"
SECONDS = 0.02


class Server(ThreadingHTTPServer):
    """Speaks both APIs of the page, and counts what it is asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.chats: list[dict[str, Any]] = []
        self.conversations: list[tuple[dict[str, str], dict[str, Any]]] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self._send("text/plain", exposition(len(self.server.chats)))
        else:
            self._send("application/json", "{}")

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(SECONDS)
        if self.path == "/api/chat":
            self.server.chats.append(asked)
            self._send(
                "application/json", json.dumps({"response": f"You asked {asked['message']}"})
            )
            return
        assert self.path == "/v1/chat/completions"
        self.server.conversations.append((dict(self.headers), asked))
        usage = {"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22}
        if not asked.get("stream"):
            message = {"role": "assistant", "content": "By an open loop."}
            choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
            self._send("application/json", json.dumps({"choices": choices, "usage": usage}))
            return
        chunks: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("A ", "bias.")
        ]
        data = [*map(json.dumps, [*chunks, {"choices": [], "usage": usage}]), "[DONE]"]
        self._send("text/event-stream", "".join(f"data: {each}\n\n" for each in data))

    def _send(self, kind: str, body: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def exposition(chats: int) -> str:
    """Write the metrics that docs/example/slo.yaml names."""
    name, labels = "http_request_duration_seconds", 'method="POST",endpoint="/api/chat"'
    buckets = [f'{name}_bucket{{{labels},le="{le}"}} {chats}' for le in ("0.1", "5.0", "+Inf")]
    lines = [
        f"# TYPE {name} histogram", *buckets,
        f"{name}_sum{{{labels}}} {chats * SECONDS}", f"{name}_count{{{labels}}} {chats}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def ran(server: Server, workspaces: Callable[[str], Any]) -> dict[str, Any]:
    """Both walks at once, each in a folder of its own: run for two seconds, then judge."""
    host = f"http://127.0.0.1:{server.server_address[1]}"
    walks, started = {}, {}
    for name, run, _ in commands():
        walks[name] = workspaces(name)
        (walks[name].path / "docs").symlink_to(ROOT / "docs")
        words = run.replace("http://127.0.0.1:8000", host).split()[1:]
        started[name] = walks[name].start(*words, "--duration", "2s", OPENAI_API_KEY=KEY)
    for name, walk in walks.items():
        done = walk.finish(started[name])
        assert done.code == 0, done.words
        judged = walk.run(*commands()[0][2].split()[1:])
        assert judged.code == 3, judged.words  # two seconds are too few to be sure of 95 %
        assert "client 100 %" in judged.flat, judged.words
    return walks


def commands() -> list[tuple[str, str, str]]:
    """Read the page's own walks: the name of the scenario, how it is run, how it is judged."""
    blocks = re.findall(r"```sh\n(harness run (\w+) .*)\n(harness judge .*)\n```", PAGE)
    return [(name, run, judge) for run, name, judge in blocks]


def samples(walk: Any, name: str) -> list[dict[str, Any]]:
    path = walk.reports / f"latest/windows/{name}/samples.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_page_shows_the_files_as_they_are_and_none_is_longer_than_it_says() -> None:
    shown = re.findall(r"<!-- example: (\S+) -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert [file for file, _ in shown] == ["docs/example/my_llm.py", "docs/example/my_app.py"]
    for file, text in shown:
        assert text == (ROOT / file).read_text()
        assert len(text.splitlines()) < 20
    assert [name for name, _, _ in commands()] == ["my_llm", "my_app"]


def test_an_openai_endpoint_is_asked_in_conversations(ran: dict[str, Any], server: Server) -> None:
    kept = samples(ran["my_llm"], "my_llm")
    operations = {s["operation"] for s in kept}
    assert ({s["outcome"] for s in kept}, operations) == ({"ok"}, {"chat", "chat_stream"})
    assert {(s["input_tokens"], s["output_tokens"]) for s in kept} == {(20, 2)}
    streamed = [s for s in kept if s["operation"] == "chat_stream"]
    assert {s["events"] for s in streamed} == {2}
    assert all(s["start"] + SECONDS <= s["first_token"] <= s["end"] for s in streamed)
    # The second turn tells the first one again.
    follow_ups = [asked["messages"] for _, asked in server.conversations if "stream" not in asked]
    assert follow_ups[0] == [
        {"role": "system", "content": "Answer in one sentence."},
        {"role": "user", "content": "What is coordinated omission?"},
        {"role": "assistant", "content": "A bias."},
        {"role": "user", "content": "How is it avoided?"},
    ]


def test_the_key_goes_to_the_server_and_nowhere_else(ran: dict[str, Any], server: Server) -> None:
    assert {headers["Authorization"] for headers, _ in server.conversations} == {f"Bearer {KEY}"}
    files = [f for f in ran["my_llm"].reports.rglob("*") if f.is_file()]
    assert len(files) > 5
    assert [f.name for f in files if KEY.encode() in f.read_bytes()] == []


def test_a_json_api_of_ones_own_is_asked_and_counted(ran: dict[str, Any], server: Server) -> None:
    kept = samples(ran["my_app"], "my_app")
    assert [s["outcome"] for s in kept] == ["ok"] * 8  # 4 a second for 2 seconds
    asked = {"message": "What is in the documents folder?"}
    assert [chat for chat in server.chats if chat != asked] == []
    assert len(server.chats) > 8  # there was a warm-up too
    verdicts = json.loads((ran["my_app"].reports / "latest/verdicts.json").read_text())
    counted = {a["witness"]: a["requests"] for a in verdicts["accounts"]}
    assert counted == {"client": 8, "metrics": 8}
