"""Who may use the API: the token, pages of other origins, and names that are not the app's."""

from __future__ import annotations

from pathlib import Path
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
    ("GET", "/api/tracing"),
    ("PUT", "/api/tracing"),
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


LOCAL = "http://127.0.0.1:8000"
"""A request to it comes by the loopback interface, as far as the app can see."""

FORM = {"files": {"file": ("new.md", b"x")}}


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def misdirected() -> dict[str, Any]:
    return {
        "error": "MISDIRECTED_REQUEST",
        "message": "this app is not known by that name; ALLOWED_HOSTS can add it",
        "details": {},
    }


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        pytest.param("https://evil.example", "127.0.0.1:8000", id="another site"),
        pytest.param("http://127.0.0.1:3000", "127.0.0.1:8000", id="another port"),
        pytest.param("http://localhost:8000", "127.0.0.1:8000", id="another name"),
        pytest.param("http://127.0.0.1", "127.0.0.1:8000", id="the usual port"),
        pytest.param("null", "127.0.0.1:8000", id="a page without an origin"),
        pytest.param("", "127.0.0.1:8000", id="nothing"),
    ],
)
async def test_a_page_of_another_origin_changes_nothing(
    start: Start, documents: Path, origin: str, host: str
) -> None:
    sent = {"origin": origin, "host": host}
    async with start("hello") as app:
        answers = [
            await app.client.post(f"{LOCAL}/api/documents/upload", headers=sent, **FORM),
            await app.client.post(f"{LOCAL}/api/chat", headers=sent, json={"message": "hello"}),
            await app.client.delete(f"{LOCAL}/api/documents/readme.md", headers=sent),
            await app.client.delete(f"{LOCAL}/api/cache", headers=sent),
        ]

    assert [(answer.status_code, answer.json()["error"]) for answer in answers] == [
        (403, "CROSS_ORIGIN")
    ] * 4
    assert names_in(documents) == ["readme.md", "teams"]


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        pytest.param(LOCAL, "127.0.0.1:8000", id="by its address"),
        pytest.param("http://LOCALHOST:8000", "localhost:8000", id="by its name"),
        pytest.param("http://[::1]:8000", "[::1]:8000", id="by its long address"),
        pytest.param("https://localhost", "localhost:443", id="behind a proxy that adds the port"),
        pytest.param(PAGE, "127.0.0.1:8000", id="of an origin that is allowed"),
    ],
)
async def test_a_page_of_the_app_itself_may_change_something(
    start: Start, documents: Path, origin: str, host: str
) -> None:
    sent = {"origin": origin, "host": host}
    async with start(cors_allowed_origins=(PAGE,)) as app:
        answer = await app.client.post(f"{LOCAL}/api/documents/upload", headers=sent, **FORM)

    assert answer.status_code == 201
    assert (documents / "new.md").read_text() == "x"


async def test_all_origins_may_be_allowed(start: Start) -> None:
    async with start(cors_allowed_origins=("*",)) as app:
        answer = await app.client.post("/api/documents/upload", headers={"origin": PAGE}, **FORM)

    assert answer.status_code == 201


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example"])
async def test_a_name_that_somebody_gave_the_address_of_the_app_is_refused(
    start: Start, documents: Path, host: str
) -> None:
    # To the browser the page and the app have the same origin now.
    sent = {"origin": f"http://{host}", "host": host}
    async with start() as app:
        answers = [
            await app.client.get(f"{LOCAL}/api/documents/readme.md", headers=sent),
            await app.client.post(f"{LOCAL}/api/documents/upload", headers=sent, **FORM),
        ]
        # What shows no document is open to monitoring, under whatever name.
        health = await app.client.get(f"{LOCAL}/health", headers=sent)

    assert [(a.status_code, a.json()) for a in answers] == [(421, misdirected())] * 2
    assert health.status_code == 200
    assert not (documents / "new.md").exists()


OUTSIDE = "http://10.1.2.3:8000"


@pytest.mark.parametrize(
    ("url", "host", "settings", "status"),
    [
        pytest.param(LOCAL, "localhost:8000", {}, 200, id="localhost"),
        pytest.param(LOCAL, "docs.localhost", {}, 200, id="a name beneath localhost"),
        pytest.param(LOCAL, "LOCALHOST.", {}, 200, id="a name in full"),
        pytest.param(LOCAL, "192.168.1.2:8000", {}, 200, id="an address"),
        pytest.param("http://[::ffff:127.0.0.1]", "docs.example", {}, 421, id="a mapped address"),
        pytest.param(LOCAL, "docs.example", {"allowed_hosts": ("docs.example",)}, 200, id="added"),
        pytest.param(LOCAL, "docs.example", {"allowed_hosts": ("*",)}, 200, id="all added"),
        pytest.param(LOCAL, "docs.example", {"api_token": "t"}, 401, id="a token is asked for"),
        pytest.param(LOCAL, "docs.example", {"host": "0.0.0.0"}, 200, id="open to all"),
        pytest.param(OUTSIDE, "docs.example", {}, 200, id="asked from outside"),
        pytest.param(
            OUTSIDE, "other.example", {"allowed_hosts": ("docs.example",)}, 421, id="not added"
        ),
        pytest.param(
            LOCAL,
            "other.example",
            {"allowed_hosts": ("docs.example",), "host": "0.0.0.0"},
            421,
            id="not added, open to all",
        ),
    ],
)
async def test_the_names_an_app_is_known_by(
    start: Start, url: str, host: str, settings: dict[str, Any], status: int
) -> None:
    async with start(**settings) as app:
        answer = await app.client.get(f"{url}/api/documents", headers={"host": host})

    assert answer.status_code == status
