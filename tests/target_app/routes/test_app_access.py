"""Who may use the API: the token, and pages of other origins."""

from __future__ import annotations

from typing import Any

import pytest

from tests.target_app.scripted import Start

pytestmark = pytest.mark.anyio

TOKEN = "correct-horse-é"
BEARER = {"authorization": f"Bearer {TOKEN}".encode()}
GUARDED = [
    ("POST", "/api/chat"),
    ("POST", "/api/chat/stream"),
    ("GET", "/api/chat/sessions/s/history"),
    ("DELETE", "/api/chat/sessions/s"),
    ("GET", "/api/documents"),
    ("POST", "/api/documents"),
    ("POST", "/api/documents/upload"),
    ("GET", "/api/documents/readme.md"),
    ("PUT", "/api/documents/readme.md"),
    ("DELETE", "/api/documents/readme.md"),
    ("GET", "/api/stream/file/readme.md"),
    ("GET", "/api/stream/search/readme.md?pattern=x"),
    ("DELETE", "/api/cache"),
    ("GET", "/api/anything/else"),
]


async def test_nothing_of_the_api_is_answered_without_the_token(start: Start) -> None:
    refusal = {
        "error": "UNAUTHORIZED",
        "message": "this API needs a token: Authorization: Bearer ...",
        "details": {},
    }
    async with start("hello", api_token=TOKEN) as app:
        for method, path in GUARDED:
            without = await app.client.request(method, path)
            assert (path, without.status_code, without.json()) == (path, 401, refusal)
            assert without.headers["www-authenticate"] == "Bearer"
            with_token = await app.client.request(method, path, headers=BEARER)
            assert (path, with_token.status_code) != (path, 401)


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b"Bearer wrong", id="another token"),
        pytest.param(b"Bearer ", id="an empty token"),
        pytest.param(f"Basic {TOKEN}".encode(), id="another scheme"),
        pytest.param(TOKEN.encode(), id="no scheme"),
        pytest.param(f"Bearer {TOKEN}x".encode(), id="more than the token"),
        pytest.param(b"Bearer \xff\xfe", id="no text"),
    ],
)
async def test_what_is_not_the_token_does_not_open(start: Start, header: bytes) -> None:
    async with start(api_token=TOKEN) as app:
        answer = await app.client.get("/api/documents", headers={"authorization": header})

    assert answer.status_code == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_the_token_opens(start: Start, scheme: str) -> None:
    async with start(api_token=TOKEN) as app:
        header = {"authorization": f"{scheme} {TOKEN}".encode()}
        answer = await app.client.get("/api/documents", headers=header)

    assert answer.status_code == 200


async def test_a_body_is_not_read_before_the_token(start: Start) -> None:
    async def body() -> Any:
        raise AssertionError
        yield b""

    async with start(api_token=TOKEN) as app:
        answer = await app.client.post("/api/documents", content=body())

    assert answer.status_code == 401


async def test_what_shows_no_document_stays_open(start: Start) -> None:
    paths = ["/", "/health", "/ready", "/metrics", "/openapi.json", "/docs"]
    async with start(api_token=TOKEN) as app:
        statuses = [(await app.client.get(path)).status_code for path in paths]

    assert statuses == [200] * 6


async def test_the_description_of_the_api_says_when_a_token_is_needed(start: Start) -> None:
    async with start(api_token=TOKEN) as app:
        guarded = (await app.client.get("/openapi.json")).json()
    async with start() as app:
        free = (await app.client.get("/openapi.json")).json()

    assert guarded["paths"]["/api/documents"]["get"]["security"] == [{"HTTPBearer": []}]
    assert "401" in guarded["paths"]["/api/documents"]["get"]["responses"]
    assert "security" not in guarded["paths"]["/health"]["get"]
    assert "security" not in free["paths"]["/api/documents"]["get"]


PAGE = "https://page.example"
PREFLIGHT = {
    "origin": PAGE,
    "access-control-request-method": "PUT",
    "access-control-request-headers": "authorization",
}


async def test_pages_of_other_origins_may_not_use_it(start: Start) -> None:
    async with start() as app:
        asked = await app.client.options("/api/documents/readme.md", headers=PREFLIGHT)
        used = await app.client.get("/api/documents", headers={"origin": PAGE})

    assert (asked.status_code, asked.json()["error"]) == (405, "METHOD_NOT_ALLOWED")
    assert not [name for name in (*asked.headers, *used.headers) if "access-control" in name]


async def test_pages_of_the_origins_allowed_may(start: Start) -> None:
    async with start(cors_allowed_origins=(PAGE,), api_token=TOKEN) as app:
        # A browser sends no token with this question.
        asked = await app.client.options("/api/documents/readme.md", headers=PREFLIGHT)
        refused = await app.client.get("/api/documents", headers={"origin": PAGE})
        stranger = await app.client.options(
            "/api/documents/readme.md", headers={**PREFLIGHT, "origin": "https://other.example"}
        )

    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == PAGE
    assert "access-control-allow-credentials" not in asked.headers
    # The page can read that it needs a token.
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, PAGE)
    assert "access-control-allow-origin" not in stranger.headers
