"""The document routes: what they answer, conditions, uploads, downloads and what they refuse."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.target_app.scripted import RunningApp, Start, call

pytestmark = pytest.mark.anyio

API = "/api/documents"


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def move(folder: Path, name: str) -> Path:
    return folder.rename(folder.with_name(name))


def without_date(info: dict[str, Any]) -> dict[str, Any]:
    assert info.pop("modified").endswith("Z")
    return info


async def test_a_document_from_its_making_to_its_end(start: Start, documents: Path) -> None:
    info = {
        "name": "plan.md",
        "path": "new/plan.md",
        "is_directory": False,
        "size": 5,
        "extension": ".md",
    }
    async with start() as app:
        client = app.client
        made = await client.post(API, json={"path": "new/plan.md", "content": "first"})
        read = await client.get(f"{API}/new/plan.md")
        written = await client.put(f"{API}/new/plan.md", json={"content": "2 é"})
        listed = await client.get(API, params={"path": "new"})
        deleted = await client.delete(f"{API}/new/plan.md")
        gone = await client.get(f"{API}/new/plan.md")

        assert made.status_code == 201
        told = made.json()
        without_date(told["info"])
        assert told == {"message": "document created", "path": "new/plan.md", "info": info}
        assert read.status_code == 200
        shown = read.json()
        without_date(shown["info"])
        assert shown == {"path": "new/plan.md", "content": "first", "info": info}
        assert read.headers["etag"] == made.headers["etag"]
        assert (written.status_code, written.json()["message"]) == (200, "document updated")
        assert written.headers["etag"] != made.headers["etag"]
        (item,) = listed.json().pop("items")
        assert (item["path"], item["size"]) == ("new/plan.md", 4)
        assert {k: v for k, v in listed.json().items() if k != "items"} == {
            "path": "new",
            "total": 1,
            "truncated": False,
        }
        assert deleted.json() == {"message": "document deleted", "path": "new/plan.md"}
        assert (gone.status_code, gone.json()) == (
            404,
            {
                "error": "NOT_FOUND",
                "message": "new/plan.md: no such document",
                "details": {},
            },
        )
        assert names_in(documents / "new") == []
        assert await app.series("http_requests_total") == {
            "http_requests_total endpoint=/api/documents method=GET status=200": 1,
            "http_requests_total endpoint=/api/documents method=POST status=201": 1,
            "http_requests_total endpoint=/api/documents/{path:path} method=DELETE status=200": 1,
            "http_requests_total endpoint=/api/documents/{path:path} method=GET status=200": 1,
            "http_requests_total endpoint=/api/documents/{path:path} method=GET status=404": 1,
            "http_requests_total endpoint=/api/documents/{path:path} method=PUT status=200": 1,
        }


async def test_a_list_goes_beneath_folders_and_says_when_there_is_more(start: Start) -> None:
    async with start() as app:
        answer = await app.client.get(API, params={"recursive": True, "limit": 3})

    body = answer.json()
    assert [item["path"] for item in body["items"]] == ["readme.md", "teams", "teams/blue.txt"]
    assert (body["path"], body["total"], body["truncated"]) == (".", 3, True)


@pytest.mark.parametrize("name", ["upload", "download", "a/upload", "ümlaut und mehr?#.md"])
async def test_a_document_may_have_any_name(start: Start, name: str) -> None:
    place = f"{API}/{quote(name)}"
    async with start() as app:
        made = await app.client.post(API, json={"path": name, "content": "x"})
        read = await app.client.get(place)
        loaded = await app.client.get(place, params={"download": True})
        written = await app.client.put(place, json={"content": "y"})
        deleted = await app.client.delete(place)

    assert [a.status_code for a in (made, read, loaded, written, deleted)] == [
        201, 200, 200, 200, 200,
    ]  # fmt: skip
    assert (read.json()["path"], loaded.text) == (name, "x")


# Conditions


async def test_who_has_a_version_already_is_not_sent_it_again(start: Start) -> None:
    async with start() as app:
        for more in ({}, {"download": True}):
            first = await app.client.get(f"{API}/readme.md", params=more)
            tag = first.headers["etag"]
            for known in (tag, f'"other", W/{tag}', "*"):
                again = await app.client.get(
                    f"{API}/readme.md", params=more, headers={"if-none-match": known}
                )
                assert (again.status_code, again.content) == (304, b"")
                assert again.headers["etag"] == tag
            other = await app.client.get(
                f"{API}/readme.md", params=more, headers={"if-none-match": '"other"'}
            )
            assert (other.status_code, other.content) == (200, first.content)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_another_version_than_the_one_named_is_left_alone(
    start: Start, documents: Path, method: str
) -> None:
    body = {"json": {"content": "mine"}} if method == "PUT" else {}
    async with start() as app:
        tag = (await app.client.get(f"{API}/readme.md")).headers["etag"]
        for stale in ('"other"', f"W/{tag}", "nonsense"):
            refused = await app.client.request(
                method, f"{API}/readme.md", headers={"if-match": stale}, **body
            )
            assert (refused.status_code, refused.json()["error"]) == (412, "PRECONDITION_FAILED")
        assert (documents / "readme.md").read_text() == "alpha\nbeta\ngamma\n"

        done = await app.client.request(
            method, f"{API}/readme.md", headers={"if-match": f'"other", {tag}'}, **body
        )
        assert done.status_code == 200


# Uploads


def form(content: bytes, filename: str = "data.bin", field: str = "file") -> dict[str, Any]:
    return {"files": {field: (filename, content)}}


async def test_an_upload_keeps_every_byte(start: Start, documents: Path) -> None:
    content = bytes(range(256)) * 4000 + b"\r\n--not-the-boundary\r\n"
    async with start() as app:
        answer = await app.client.post(
            f"{API}/upload", params={"path": "new/folder"}, **form(content, "größe.bin")
        )
        loaded = await app.client.get(f"{API}/new/folder/größe.bin", params={"download": True})

    told = answer.json()
    assert (answer.status_code, told["message"]) == (201, "document uploaded")
    assert (told["path"], told["filename"], told["size"]) == (
        "new/folder/größe.bin",
        "größe.bin",
        len(content),
    )
    assert (documents / "new" / "folder" / "größe.bin").read_bytes() == content
    assert loaded.content == content
    assert loaded.headers["etag"] == answer.headers["etag"]


async def test_an_upload_does_not_replace_what_is_there(start: Start, documents: Path) -> None:
    async with start() as app:
        answer = await app.client.post(f"{API}/upload", **form(b"x", "readme.md"))

    assert (answer.status_code, answer.json()["error"]) == (409, "ALREADY_EXISTS")
    assert (documents / "readme.md").read_text() == "alpha\nbeta\ngamma\n"


async def test_an_upload_replaces_a_document_when_it_is_to(start: Start, documents: Path) -> None:
    async with start() as app:
        tag = (await app.client.get(f"{API}/readme.md")).headers["etag"]
        over = {"replace": True}
        stale = await app.client.post(
            f"{API}/upload",
            params=over,
            headers={"if-match": '"other"'},
            **form(b"x", "readme.md"),
        )
        missing = await app.client.post(f"{API}/upload", params=over, **form(b"x", "new.md"))
        assert (documents / "readme.md").read_text() == "alpha\nbeta\ngamma\n"
        done = await app.client.post(
            f"{API}/upload", params=over, headers={"if-match": tag}, **form(b"x", "readme.md")
        )
        read = await app.client.get(f"{API}/readme.md")

    assert (stale.status_code, stale.json()["error"]) == (412, "PRECONDITION_FAILED")
    assert (missing.status_code, missing.json()["error"]) == (404, "NOT_FOUND")
    assert (done.status_code, done.json()["size"]) == (200, 1)
    assert (read.json()["content"], read.headers["etag"]) == ("x", done.headers["etag"])
    assert names_in(documents) == ["readme.md", "teams"]


async def test_an_upload_above_the_limit_is_refused_while_it_is_read(
    start: Start, documents: Path
) -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="big"\r\n\r\n'
        while sent < 100_000_000:
            sent += 10_000
            yield b"x" * 10_000

    async with start(max_file_size=50_000) as app:
        answer = await app.client.post(
            f"{API}/upload",
            content=endless(),
            headers={"content-type": "multipart/form-data; boundary=b"},
        )

        assert (answer.status_code, answer.json()["error"]) == (413, "FILE_TOO_LARGE")
        assert sent == 60_000
        assert names_in(documents) == ["readme.md", "teams"]
        assert await app.series("sandbox_security_blocks") == {
            "sandbox_security_blocks_total block_type=file_too_large": 1
        }
        assert await app.series("errors") == {
            "errors_total component=sandbox error_type=file_too_large": 1
        }


PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n'
MULTIPART = "multipart/form-data; boundary=b"


@pytest.mark.parametrize(
    ("content_type", "body", "message"),
    [
        pytest.param(
            "application/json",
            b"{}",
            "multipart/form-data is wanted, with a boundary",
            id="no form",
        ),
        pytest.param(
            "multipart/form-data",
            PART,
            "multipart/form-data is wanted, with a boundary",
            id="no boundary",
        ),
        pytest.param(MULTIPART, b"", "a part named 'file' with a filename is wanted", id="empty"),
        pytest.param(
            MULTIPART,
            PART.replace(b'"file"', b'"other"'),
            "a part named 'file' with a filename is wanted",
            id="another field",
        ),
        pytest.param(
            MULTIPART,
            PART.replace(b'; filename="a"', b""),
            "a part named 'file' with a filename is wanted",
            id="no file name",
        ),
        pytest.param(MULTIPART, PART + PART + b"--b--\r\n", "one part only is wanted", id="two"),
        pytest.param(MULTIPART, PART, "the form breaks off", id="no end"),
        pytest.param(MULTIPART, b"nonsense" * 10, None, id="nonsense"),
        pytest.param(
            "multipart/form-data; boundary=" + "b" * 500, PART, None, id="a long boundary"
        ),
        pytest.param(
            MULTIPART,
            b"--b\r\nA: " + b"x" * 100_000,
            "Maximum header size exceeded",
            id="a long header",
        ),
    ],
)
async def test_what_is_no_form_of_one_file_is_refused(
    start: Start, documents: Path, content_type: str, body: bytes, message: str | None
) -> None:
    async with start() as app:
        answer = await app.client.post(
            f"{API}/upload", content=body, headers={"content-type": content_type}
        )

    told = answer.json()
    assert (answer.status_code, told["error"]) == (400, "BAD_REQUEST")
    assert told["message"] == (message or told["message"])
    assert names_in(documents) == ["readme.md", "teams"]


# Downloads


@pytest.mark.parametrize(
    ("name", "disposition"),
    [
        pytest.param(
            "plain name.txt",
            "attachment; filename=\"plain name.txt\"; filename*=UTF-8''plain%20name.txt",
            id="plain",
        ),
        pytest.param(
            'quo"te\\.txt',
            "attachment; filename=\"quo_te_.txt\"; filename*=UTF-8''quo%22te%5C.txt",
            id="quotes",
        ),
        pytest.param(
            "zwei\rX-Evil: 1.txt",
            'attachment; filename="zwei_X-Evil_ 1.txt"; '
            "filename*=UTF-8''zwei%0DX-Evil%3A%201.txt",
            id="line breaks",
        ),
        pytest.param(
            "größe.txt",
            "attachment; filename=\"gr__e.txt\"; filename*=UTF-8''gr%C3%B6%C3%9Fe.txt",
            id="not ASCII",
        ),
    ],
)
async def test_a_download_is_saved_under_its_name_whatever_that_is(
    start: Start, documents: Path, name: str, disposition: str
) -> None:
    (documents / name).write_bytes(b"\xff\x00data")
    place = f"{API}/{quote(name)}"
    async with start() as app:
        answer = await app.client.get(place, params={"download": True})

    assert (answer.status_code, answer.content) == (200, b"\xff\x00data")
    assert answer.headers["content-disposition"] == disposition
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-length"] == "6"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "x-evil" not in answer.headers


async def test_a_download_its_reader_leaves_is_closed(start: Start, documents: Path) -> None:
    (documents / "large").write_bytes(b"x" * 3_000_000)

    def is_open() -> bool:
        links = (path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink())
        return documents / "large" in links

    async with start() as app:
        began = asyncio.Event()

        async def receive() -> Any:
            await began.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message.get("body"):
                assert is_open()
                began.set()
                await asyncio.Event().wait()

        scope = {
            "type": "http",
            "method": "GET",
            "path": f"{API}/large",
            "raw_path": b"",
            "query_string": b"download=true",
            "headers": [],
        }
        await asyncio.wait_for(app.app(scope, receive, send), 10)

        assert not is_open()


# Refusals


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        pytest.param("%2e%2e/secret.txt", 403, "PATH_TRAVERSAL", id="up"),
        pytest.param("..%2fsecret.txt", 403, "PATH_TRAVERSAL", id="up, with a slash in escapes"),
        pytest.param("/etc/passwd", 403, "PATH_TRAVERSAL", id="absolute"),
        pytest.param("a%00b", 403, "PATH_TRAVERSAL", id="NUL"),
        pytest.param("way-out", 403, "PATH_TRAVERSAL", id="a link that leads out"),
        pytest.param("inner", 400, "NOT_A_DOCUMENT", id="a link that stays inside"),
        pytest.param("teams", 400, "NOT_A_DOCUMENT", id="a folder"),
        pytest.param("", 400, "NOT_A_DOCUMENT", id="the root"),
        pytest.param("missing.md", 404, "NOT_FOUND", id="nothing"),
        pytest.param("%ff%fe", 404, "NOT_FOUND", id="no text"),
        pytest.param("%252e%252e/secret.txt", 404, "NOT_FOUND", id="escaped twice"),
        pytest.param("n" * 300, 404, "NOT_FOUND", id="a name too long"),
        pytest.param("n" * 5000, 422, "VALIDATION_ERROR", id="a path too long"),
    ],
)
async def test_every_route_refuses_the_same_paths(
    start: Start, documents: Path, path: str, status: int, error: str
) -> None:
    (documents / "way-out").symlink_to("../secret.txt")
    (documents / "inner").symlink_to("readme.md")
    async with start() as app:
        answers = [
            await app.client.get(f"{API}/{path}"),
            await app.client.get(f"{API}/{path}?download=true"),
            await app.client.put(f"{API}/{path}", json={"content": "x"}),
            await app.client.delete(f"{API}/{path}"),
            await app.client.get(f"/api/stream/file/{path}"),
            await app.client.get(f"/api/stream/search/{path}?pattern=x"),
        ]

        told = [(answer.status_code, answer.json()["error"]) for answer in answers]
        assert told == [(status, error)] * 6
        assert not [answer for answer in answers if str(documents.parent) in answer.text]
        assert (documents.parent / "secret.txt").read_text() == "the secret\n"
        blocked = error == "PATH_TRAVERSAL"
        assert await app.series("sandbox_security_blocks") == (
            {"sandbox_security_blocks_total block_type=path_traversal": 6} if blocked else {}
        )
        assert await app.series("errors_total") == (
            {"errors_total component=sandbox error_type=path_traversal": 6} if blocked else {}
        )


@pytest.mark.parametrize(
    ("request_body", "status", "error"),
    [
        pytest.param({"path": "../x", "content": ""}, 403, "PATH_TRAVERSAL", id="up"),
        pytest.param({"path": "teams", "content": ""}, 409, "ALREADY_EXISTS", id="a folder"),
        pytest.param(
            {"path": "readme.md/x", "content": ""}, 409, "ALREADY_EXISTS", id="in a file"
        ),
        pytest.param({"path": "a\nb", "content": ""}, 400, "BAD_NAME", id="a line break"),
        pytest.param(
            {"path": ".unfinished-x/secret.md", "content": ""}, 400, "BAD_NAME", id="out of sight"
        ),
        pytest.param({"path": "x", "content": "c" * 101}, 413, "FILE_TOO_LARGE", id="too large"),
        pytest.param({"path": "x"}, 422, "VALIDATION_ERROR", id="no content"),
        pytest.param({"path": "x", "content": 1}, 422, "VALIDATION_ERROR", id="a number"),
        pytest.param([], 422, "VALIDATION_ERROR", id="a list"),
    ],
)
async def test_what_cannot_be_created(
    start: Start, documents: Path, request_body: Any, status: int, error: str
) -> None:
    async with start(max_file_size=100) as app:
        answer = await app.client.post(API, json=request_body)

    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert names_in(documents) == ["readme.md", "teams"]


async def test_text_that_no_file_can_hold_is_refused(start: Start) -> None:
    async with start() as app:
        answer = await app.client.post(
            API,
            content=rb'{"path": "x", "content": "\ud800"}',
            headers={"content-type": "application/json"},
        )

    assert (answer.status_code, answer.json()["details"]) == (
        422,
        {"body.content": "must be text that UTF-8 can write"},
    )


async def test_a_body_far_above_the_limit_is_refused_while_it_is_read(start: Start) -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        yield b'{"content": "'
        while sent < 100_000_000:
            sent += 10_000
            yield b"x" * 10_000

    limits = {f"{API}/readme.md": 262_144, f"{API}/upload": 262_144, "/api/chat": 65_536}
    async with start() as app:
        for path, limit in limits.items():
            sent = 0
            answer = await app.client.request(
                "PUT" if path.startswith(API) else "POST",
                path,
                content=endless(),
                headers={"content-type": "application/json"},
            )
            assert (answer.status_code, answer.json()) == (
                413,
                {
                    "error": "BODY_TOO_LARGE",
                    "message": f"the body is larger than {limit} bytes",
                    "details": {},
                },
            )
            assert limit < sent <= limit + 10_000


async def test_small_documents_have_small_bodies(start: Start) -> None:
    async with start(max_file_size=1000) as app:
        fits = await app.client.put(
            f"{API}/readme.md", json={"content": "x", "more": "y" * 67_000}
        )
        larger = await app.client.put(
            f"{API}/readme.md", json={"content": "x", "more": "y" * 68_000}
        )

    assert (fits.status_code, larger.status_code) == (200, 413)
    assert larger.json()["message"] == "the body is larger than 67536 bytes"


async def test_a_body_that_is_said_to_be_too_large_is_not_read(start: Start) -> None:
    async with start() as app:
        status: list[int] = []

        async def receive() -> Any:
            raise AssertionError

        async def send(message: Any) -> None:
            status.append(message.get("status", 0))

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/api/chat",
            "raw_path": b"",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json"), (b"content-length", b"70000")],
        }
        await asyncio.wait_for(app.app(scope, receive, send), 10)

        assert status[0] == 413


async def test_documents_that_are_locked_are_said_to_be(
    start: Start, documents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("target_app.documents.drafts.LOCK_SECONDS", 0.0)
    other = os.open(documents, os.O_RDONLY)
    try:
        fcntl.flock(other, fcntl.LOCK_EX)
        async with start() as app:
            answer = await app.client.delete(f"{API}/readme.md")
    finally:
        os.close(other)

    assert (answer.status_code, answer.json()["error"]) == (503, "FOLDER_BUSY")


async def test_documents_that_are_gone_are_said_to_be_and_come_back(
    start: Start, documents: Path
) -> None:
    async with start() as app:
        elsewhere = move(documents, "elsewhere")
        answers = [
            await app.client.get(API),
            await app.client.get(f"{API}/readme.md"),
            await app.client.put(f"{API}/readme.md", json={"content": "x"}),
            await app.client.delete(f"{API}/readme.md"),
            await app.client.post(API, json={"path": "x", "content": "x"}),
            await app.client.post(f"{API}/upload", **form(b"x")),
            await app.client.get("/api/stream/file/readme.md"),
            await app.client.get("/api/stream/search/readme.md?pattern=x"),
        ]
        move(elsewhere, documents.name)
        back = await app.client.get(f"{API}/readme.md")

    gone = {
        "error": "DATA_ROOT_GONE",
        "message": "the folder of documents is not there",
        "details": {},
    }
    assert [(answer.status_code, answer.json()) for answer in answers] == [(503, gone)] * 8
    assert back.json()["content"] == "alpha\nbeta\ngamma\n"


async def test_what_a_crash_left_of_a_document_is_found_by_nobody(
    start: Start, documents: Path
) -> None:
    (documents / "teams" / ".unfinished-0123").write_text("alpha")
    searches = [call("grep", pattern="alpha"), call("find"), call("ls", path="teams", all=True)]
    async with start(searches, "done") as app:
        answer = await app.ask()
        listed = await app.client.get(API, params={"recursive": True, "hidden": True})

    assert "blue.txt" in answer.text
    assert "unfinished" not in answer.text + listed.text


async def test_of_many_that_create_the_same_document_one_does(start: Start) -> None:
    async def create(app: RunningApp, number: int) -> int:
        body = {"path": "new/one.md", "content": str(number)}
        return (await app.client.post(API, json=body)).status_code

    async with start() as app:
        statuses = await asyncio.gather(*(create(app, number) for number in range(20)))

    assert sorted(statuses) == [201] + [409] * 19
