"""Requests that no app should accept: each must get its own 4xx, and nothing else."""

from typing import Any

from harness.load import AgentUser, Poisson, task

CHAT, STREAM, DOCUMENTS = "/api/chat", "/api/chat/stream", "/api/documents"
JSON = {"Content-Type": "application/json"}
TEXT = {"Content-Type": "text/plain"}
CASES: tuple[tuple[str, int, str, str, dict[str, Any]], ...] = (
    ("empty_message", 422, "POST", CHAT, {"json": {"message": ""}}),
    ("empty_message_stream", 422, "POST", STREAM, {"json": {"message": ""}}),
    ("long_message", 422, "POST", CHAT, {"json": {"message": "x" * 4097}}),
    ("message_is_a_number", 422, "POST", CHAT, {"json": {"message": 12}}),
    ("no_message", 422, "POST", CHAT, {"json": {}}),
    ("malformed_json", 422, "POST", CHAT, {"content": b'{"message": ', "headers": JSON}),
    ("not_json", 422, "POST", CHAT, {"content": b"hello", "headers": TEXT}),
    ("bad_session_id", 422, "POST", CHAT, {"json": {"message": "Hi", "session_id": "../x"}}),
    ("large_body", 413, "POST", CHAT, {"json": {"message": "x" * 70_000}}),
    ("unknown_session", 404, "GET", f"{CHAT}/sessions/of-nobody/history", {}),
    ("unknown_document", 404, "GET", f"{DOCUMENTS}/there/is/none.txt", {}),
    ("path_traversal", 403, "GET", f"{DOCUMENTS}/..%2f..%2fetc%2fpasswd", {}),
    ("write_outside", 403, "POST", DOCUMENTS, {"json": {"path": "../x.txt", "content": "x"}}),
    ("upload_no_form", 400, "POST", f"{DOCUMENTS}/upload", {"content": b"x", "headers": TEXT}),
    ("unknown_route", 404, "GET", "/api/there-is-none", {}),
    ("wrong_method", 405, "PUT", CHAT, {"json": {"message": "Hi"}}),
)


class BadInput(AgentUser):
    """Every mistake once in each journey; none of them reaches the LLM."""

    arrivals = Poisson(rate=2, duration="9s", warmup="1s")

    @task
    def send_nonsense(self) -> None:
        """Make every mistake, one after the other."""
        for operation, status, method, path, sent in CASES:
            self.request(method, path, operation=operation, expect=(status,), **sent)
