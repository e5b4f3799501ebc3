"""Attacks by HTTP requests, as data: what is sent, byte for byte, and what must come of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from tests.target_app.attacks.tool_calls import ABSENT, ELSEWHERE, LEAVING, REFUSED

MEBIBYTE = 1024 * 1024
BOUNDARY = "boundary"
MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
JSON = {"Content-Type": "application/json"}
CHANGED = b'{"content": "changed"}'

REFUSALS = frozenset(range(400, 500))
"""Whatever is wrong, it is the caller's fault and said so; never a 5xx."""


@dataclass(frozen=True, slots=True)
class Request:
    """
    One request, with Content-Length and Connection added when it is sent.

    `length` is the Content-Length to claim in place of the true one. `body` may come in pieces;
    without a `length` it is then sent in chunks.
    """

    method: str
    target: str
    body: bytes | tuple[bytes, ...] = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | str | None = None

    def aimed_at(self, elsewhere: str) -> Request:
        """Put in the folder that only an absolute path reaches."""
        shown = quote(ELSEWHERE, safe="")
        target = self.target.replace(shown, quote(elsewhere, safe=""))
        if isinstance(self.body, tuple):
            return replace(self, target=target)
        body = self.body.replace(ELSEWHERE.encode(), elsewhere.encode())
        return replace(self, target=target, body=body)


@dataclass(frozen=True, slots=True)
class Attack:
    """
    Requests to send, and what must come of every one of them.

    `statuses` are the ones it may be answered with; 0 is an end without an answer. A stream of
    events may also begin with 200 and say it in an event. `writes` may change beneath the root.
    Only where it `shows` something may a stream show what a document holds.
    """

    id: str
    requests: tuple[Request, ...]
    statuses: frozenset[int] = REFUSALS
    blocks: Mapping[str, int] | None = field(default_factory=dict)
    writes: tuple[str, ...] = ()
    shows: bool = False


def shown(path: str) -> str:
    """Escape every letter of a path that an address would understand."""
    return quote(path, safe="")


READS: dict[str, Callable[[str], Request]] = {
    "listed": lambda path: Request("GET", f"/api/documents?path={shown(path)}"),
    "read": lambda path: Request("GET", f"/api/documents/{shown(path)}"),
    "downloaded": lambda path: Request("GET", f"/api/documents/{shown(path)}?download=true"),
    "streamed": lambda path: Request("GET", f"/api/stream/file/{shown(path)}"),
    "searched": lambda path: Request("GET", f"/api/stream/search/{shown(path)}?pattern=."),
}
CHANGES: dict[str, Callable[[str], Request]] = {
    "replaced": lambda path: Request("PUT", f"/api/documents/{shown(path)}", CHANGED, JSON),
    "deleted": lambda path: Request("DELETE", f"/api/documents/{shown(path)}"),
}
ADDITIONS: dict[str, Callable[[str], Request]] = {
    "created": lambda path: Request(
        "POST", "/api/documents", _json(path=path, content="new"), JSON
    ),
    "uploaded into": lambda path: upload(f"path={shown(path)}"),
}


def upload(query: str = "", name: str = "new.txt", content: bytes = b"new\n") -> Request:
    body = multipart(f'form-data; name="file"; filename="{name}"', content)
    return Request("POST", f"/api/documents/upload?{query}", body, MULTIPART)


def multipart(disposition: str, content: bytes, more: str = "") -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n{more}\r\n"
    return head.encode("utf-8", "surrogateescape") + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def _json(**values: object) -> bytes:
    return json.dumps(values).encode()


def _paths() -> Iterator[Attack]:
    for what, make in {**READS, **CHANGES, **ADDITIONS}.items():
        leaving = tuple(make(path) for path in LEAVING.values())
        blocks = {"path_traversal": len(leaving)}
        yield Attack(f"paths that lead out, {what}", leaving, blocks=blocks)
        refused = tuple(make(path) for path in REFUSED.values())
        yield Attack(f"links, pipes and devices, {what}", refused)
        # To create what is not there is no attack.
        if what not in ADDITIONS:
            yield Attack(f"nothing, {what}", tuple(make(path) for path in ABSENT.values()))
    behind = tuple(
        make(f"{link}/new.txt")
        for make in ADDITIONS.values()
        for link in ("links/out-folder", "teams/way", "links/up", "links/proc/cwd")
    )
    blocks = {"path_traversal": len(behind)}
    yield Attack("new files behind links that lead out", behind, blocks=blocks)


def _addresses() -> Iterator[Attack]:
    for what, written in {
        "open dots": "../secret.txt",
        "an open absolute path": "/etc/passwd",
        "open dots behind a folder": "teams/../../secret.txt",
        "dots escaped": "%2e%2e/secret.txt",
        "dots and slashes escaped": "%2e%2e%2fsecret.txt",
        "capitals in the escapes": "%2E%2E%2Fsecret.txt",
        "an escaped absolute path": "%2fetc%2fpasswd",
        "an escaped NUL": "readme.md%00",
    }.items():
        sent = tuple(
            Request(method, f"{route}{written}{query}")
            for method, route, query in (
                ("GET", "/api/documents/", ""),
                ("GET", "/api/stream/file/", ""),
                ("GET", "/api/stream/search/", "?pattern=."),
                ("DELETE", "/api/documents/", ""),
            )
        )
        yield Attack(f"{what} in an address", sent, blocks={"path_traversal": len(sent)})
    for what, written in {
        "dots escaped twice": "%252e%252e%252fsecret.txt",
        "overlong dots": "%c0%ae%c0%ae/secret.txt",
        "an overlong slash": "..%c0%afsecret.txt",
        "a backslash": "..%5csecret.txt",
        "no UTF-8": "%ff%fe",
        "a surrogate": "%ed%a0%80",
        "half an escape": "%",
        "no escape": "%zz",
        "a line break": "readme.md%0d%0aSet-Cookie:%20a=b",
        "an escape sequence": "%1b[2J%1b]0;owned%07",
        "a very long name": "n" * 3000,
        "a very long path": "n/" * 20_000,
    }.items():
        sent = tuple(
            Request(method, f"{route}{written}{query}")
            for method, route, query in (
                ("GET", "/api/documents/", ""),
                ("GET", "/api/documents?path=", ""),
                ("GET", "/api/stream/file/", ""),
                ("GET", "/api/stream/search/", "?pattern=."),
                ("DELETE", "/api/documents/", ""),
                ("GET", "/", ""),
            )
        )
        yield Attack(f"{what} in an address", sent)
    yield Attack(
        "folders that are to be deleted or replaced",
        tuple(
            Request(method, f"/api/documents/{written}", body, JSON if body else {})
            for method, body in (("DELETE", b""), ("PUT", CHANGED))
            for written in (
                "",
                ".",
                "./",
                "%2e",
                "./.",
                "teams",
                "teams/",
                "teams/.",
                "x*",
                "x%2a",
            )
        ),
    )
    yield Attack(
        "other addresses",
        (
            Request("GET", "/static/../target_app/settings.py"),
            Request("GET", "//etc/passwd"),
            Request("GET", "/../../etc/passwd"),
            Request("GET", "/metrics/../../etc/passwd"),
            Request("GET", "http://127.0.0.1/etc/passwd"),
            Request("GET", "/.env"),
            Request("GET", "/api/documents.old"),
            Request("TRACE", "/api/documents"),
            Request("PATCH", "/api/documents/readme.md"),
            Request("PROPFIND", "/api/documents/"),
            Request(
                "MOVE", "/api/documents/readme.md", headers={"Destination": "/api/documents/b"}
            ),
            Request("COPY", "/api/documents/readme.md", headers={"Destination": "../secret"}),
            Request(
                "POST",
                "/api/documents/readme.md",
                headers={"X-HTTP-Method-Override": "DELETE"},
            ),
        ),
    )


SESSIONS = {
    "a path": "..%2f..%2fsecret.txt",
    "an open path": "../../secret.txt",
    "a line break": "a%0d%0ab",
    "a NUL": "a%00",
    "10,000 letters": "a" * 10_000,
    "a template": "%7B%7Bconfig%7D%7D",
    "a glob": "*",
    "nothing": "",
    "an id nobody has": "unknown",
}


def _sessions() -> Iterator[Attack]:
    yield Attack(
        "sessions that there are not",
        tuple(
            Request(method, f"/api/chat/sessions/{name}{rest}")
            for name in SESSIONS.values()
            for method, rest in (("GET", "/history"), ("DELETE", ""))
        ),
    )
    ids = ("../../x", "a\r\nb", "a\0", "", "a b", "\u0430", "a\n", "a" * 65, 1, [], {}, True)
    yield Attack(
        "session ids that are none",
        tuple(
            Request("POST", route, _json(message="question", session_id=one), JSON)
            for route in ("/api/chat", "/api/chat/stream")
            for one in ids
        ),
    )


def _bodies() -> Iterator[Attack]:
    bodies = {
        "no JSON": b"question",
        "nothing": b"",
        "a list": b"[]",
        "null": b"null",
        "half an object": b'{"message": "question"',
        "no UTF-8": b'{"message": "\xff\xfe"}',
        "UTF-16": '{"message": 1}'.encode("utf-16"),
        "a lone surrogate": b'{"message": "\\ud800", "path": "\\ud800", "content": "\\ud800"}',
        "a NUL for a message": b'{"message": ""}',
        "a number for a message": b'{"message": 1, "path": 1, "content": 1}',
        "nested lists": b'{"message": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        "nested objects": b'{"message": ' * 5_000 + b"1" + b"}" * 5_000,
        "a long number": b'{"message": ' + b"9" * 10_000 + b"}",
        "a message of 4,097 letters": _json(message="n" * 4097),
    }
    for method, route in (
        ("POST", "/api/chat"),
        ("POST", "/api/chat/stream"),
        ("POST", "/api/documents"),
        ("PUT", "/api/documents/readme.md"),
    ):
        sent = tuple(Request(method, route, body, JSON) for body in bodies.values())
        yield Attack(f"bodies that are not wanted at {route}", sent)
    yield Attack(
        "bodies of another type",
        tuple(
            Request("POST", route, body, {"Content-Type": kind})
            for route in ("/api/chat", "/api/documents")
            for kind, body in (
                ("application/xml", b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a/>'),
                ("application/x-www-form-urlencoded", b"message=question&path=a&content=b"),
                ("application/json; charset=utf-7", b"+ADw-"),
                ("application/x-python-pickle", b"cos\nsystem\n(S'id'\ntR."),
                ("", b"message"),
            )
        ),
    )
    pieces = (b'{"message": "', *[b"n" * 65_536] * 1600, b'"}')
    yield Attack(
        "100 MB of JSON, in chunks",
        (
            Request("POST", "/api/chat", pieces, JSON),
            Request("POST", "/api/documents", pieces, JSON),
            Request("PUT", "/api/documents/readme.md", pieces, JSON),
        ),
        statuses=frozenset({413}),
        blocks=None,
    )
    yield Attack(
        "100 MB of JSON, announced",
        (
            Request("POST", "/api/chat", pieces, JSON, length=100 * MEBIBYTE),
            Request("POST", "/api/documents", pieces, JSON, length=100 * MEBIBYTE),
        ),
        statuses=frozenset({413}),
        blocks=None,
    )


def _uploads() -> Iterator[Attack]:
    begin = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="big.txt"\r\n'
    gibibyte = (f"{begin}\r\n".encode(), *[b"n" * 65_536] * 16_384)
    yield Attack(
        "an upload of 1 GB, in chunks",
        (Request("POST", "/api/documents/upload", gibibyte, MULTIPART),),
        statuses=frozenset({413}),
        blocks={"file_too_large": 1},
    )
    yield Attack(
        "an upload of 1 GB, announced",
        (Request("POST", "/api/documents/upload", gibibyte, MULTIPART, length=2**30),),
        statuses=frozenset({413}),
        blocks=None,
    )
    names = {
        "a path that leaves": "../../written.txt",
        "a path into a folder": "teams/written.txt",
        "a path behind a link": "links/out-folder/written.txt",
        "an absolute path": "/tmp/written.txt",
        "backslashes": "..\\..\\written.txt",
        "a drive": "C:\\written.txt",
        "two dots": "..",
        "a dot": ".",
        "nothing": "",
        "a NUL": "written.txt\0.png",
        "an escape sequence": "\x1b[2Jwritten.txt",
        "300 letters": "n" * 300,
        "a quote": 'written.txt\\"; x="',
        "a template": "{{written.txt}}",
        "a name that is taken": "readme.md",
        "the name of a link": "inner",
    }
    for where in (".", "links"):
        yield Attack(
            f"names that a file cannot have, uploaded into {where}",
            tuple(upload(f"path={where}", name=name) for name in names.values()),
            # A name that can be made harmless may be: then it is a new file in its folder.
            statuses=REFUSALS | {201},
            blocks=None,
            writes=("written.txt", "..\\", "C:", "{{", "inner", "links/"),
        )
    whole = multipart('form-data; name="file"; filename="written.txt"', b"new")
    forms = {
        "without a name": multipart("form-data", b"new"),
        "with another name": multipart('form-data; name="other"; filename="a.txt"', b"new"),
        "without a file name": multipart('form-data; name="file"', b"new"),
        "with no parts": f"--{BOUNDARY}--\r\n".encode(),
        "with no boundary": b"new",
        "that breaks off": whole[:-8],
        "with a part in it that breaks off": whole[:60],
        "with two files": whole.replace(f"--{BOUNDARY}--".encode(), whole),
        "with 100,000 parts": f"--{BOUNDARY}\r\n\r\n\r\n".encode() * 100_000,
        "with a header of 1 MB": multipart("form-data; " + "n" * MEBIBYTE, b"new"),
        "with 100,000 headers": multipart('form-data; name="file"', b"new", "a: b\r\n" * 100_000),
        "with 100,000 parameters": multipart("form-data" + "; a=b" * 100_000, b"new"),
        "with a million quotes": multipart("form-data; name=" + '"' * MEBIBYTE, b"new"),
        "with bare line feeds": whole.replace(b"\r\n", b"\n"),
    }
    for what, body in forms.items():
        attack = Request("POST", "/api/documents/upload", body, MULTIPART)
        yield Attack(f"a form {what}", (attack,), blocks=None)
    yield Attack(
        "forms with boundaries that are none",
        tuple(
            Request("POST", "/api/documents/upload", whole, {"Content-Type": kind})
            for kind in (
                "multipart/form-data",
                "multipart/form-data; boundary=",
                "multipart/form-data; boundary=other",
                "multipart/form-data; boundary=" + "n" * 5000,
                'multipart/form-data; boundary="a\tb"',
                "multipart/mixed; boundary=boundary",
                "application/json",
                "; ; ;",
            )
        ),
    )


def _headers() -> Iterator[Attack]:
    tags = (
        "*, *",
        '"',
        'W/"',
        '"a" "b"',
        "W/" * 5000,
        '"' * 30_000,
        '"\\r\\nSet-Cookie: a=b"',
        "\udcff",
    )
    yield Attack(
        "versions that are none",
        tuple(
            Request(method, "/api/documents/readme.md", body, {"If-Match": tag, **JSON})
            for tag in tags
            for method, body in (("PUT", CHANGED), ("DELETE", b""))
        ),
    )
    yield Attack(
        "versions that nobody has, while reading",
        tuple(
            Request("GET", f"/api/documents/readme.md{query}", headers={"If-None-Match": tag})
            for tag in tags
            for query in ("", "?download=true")
        ),
        statuses=frozenset({200, 400}),
    )
    odd = {
        "traceparent": "00-" + "f" * 32 + "-" + "f" * 16 + "-ff" * 50,
        "tracestate": "a=b," * 5000,
        "baggage": "a=%0d%0aSet-Cookie:b," * 500,
        "Authorization": "Bearer " + "n" * 20_000,
        "Cookie": "a=" + "b" * 20_000,
        "X-Forwarded-For": "127.0.0.1, ../secret.txt",
        "X-Forwarded-Prefix": "/../..",
        "X-Original-URL": "/etc/passwd",
        "Origin": "http://evil.example",
        "Range": "bytes=" + "0-1," * 5000,
        "Accept": "*/*;q=" + "9" * 5000,
        "Accept-Encoding": "gzip, ../../etc/passwd",
        "Expect": "200-ok",
        "Upgrade": "websocket",
        "User-Agent": "\x1b[2J\x1b]0;owned\x07 {0.__class__} %s%n ${jndi:ldap://127.0.0.1/a}",
        "Accept-Language": "\udcff\udcfe",
    }
    for target in (
        "/api/documents/readme.md",
        "/api/documents/readme.md?download=true",
        "/api/stream/file/readme.md",
        "/health",
    ):
        sent = tuple(Request("GET", target, headers={name: odd[name]}) for name in odd)
        yield Attack(f"odd headers at {target}", sent, statuses=REFUSALS | {200}, shows=True)


def _streams() -> Iterator[Attack]:
    values = ("0", "-1", "1.5", "true", "1e9", "9" * 5000, "abc", "%00", "", "1048577", "[]")
    yield Attack(
        "sizes of pieces that are none",
        tuple(Request("GET", f"/api/stream/file/readme.md?chunk_size={v}") for v in values),
    )
    yield Attack(
        "numbers of matches that are none",
        tuple(
            Request("GET", f"/api/stream/search/readme.md?pattern=a&max_matches={value}")
            for value in (*values, "1001")
        ),
    )
    yield Attack(
        "patterns that are none",
        tuple(
            Request("GET", f"/api/stream/search/readme.md?{query}")
            for query in (
                "", "pattern=", "pattern=a%0ab", "pattern=(", "pattern=" + "n" * 40_000,
                "pattern=(%3Fe)a", "pattern=%5C", "pattern[]=a",
            )
        ),
    )  # fmt: skip
    yield Attack(
        "a folder that is to be streamed",
        tuple(
            Request("GET", f"/api/stream/{route}/{path}{query}")
            for route, query in (("file", ""), ("search", "?pattern=alpha"))
            for path in ("", ".", "teams", "pipes", "links")
        ),
    )


def _raw(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode("utf-8", "surrogateescape")


RAW: dict[str, bytes] = {
    "a body longer than announced": _raw(
        "PUT /api/documents/readme.md HTTP/1.1\nHost: a\nContent-Length: 2\n"
        'Content-Type: application/json\n\n{}{"content": "changed"}'
    ),
    "a request within a body that is too long": _raw(
        "POST /api/chat HTTP/1.1\nHost: a\nContent-Length: 2\n\n{}"
        "DELETE /api/documents/.. HTTP/1.1\nHost: a\n\n"
    ),
    "two lengths": _raw(
        "POST /api/chat HTTP/1.1\nHost: a\nContent-Length: 2\nContent-Length: 70\n\n{}"
        "DELETE /api/documents/.. HTTP/1.1\nHost: a\n\n"
    ),
    "a length and chunks": _raw(
        "POST /api/chat HTTP/1.1\nHost: a\nContent-Length: 6\nTransfer-Encoding: chunked\n\n0\n\n"
        "DELETE /api/documents/.. HTTP/1.1\nHost: a\n\n"
    ),
    "chunks of another kind": _raw(
        "POST /api/chat HTTP/1.1\nHost: a\nTransfer-Encoding: gzip, chunked\n\n2\n{}\n0\n\n"
    ),
    "a negative length": _raw("POST /api/chat HTTP/1.1\nHost: a\nContent-Length: -1\n\n{}"),
    "a length that is no number": _raw(
        "POST /api/chat HTTP/1.1\nHost: a\nContent-Length: 0x2\n\n{}"
    ),
    "a length of 5,000 digits": _raw(
        f"POST /api/chat HTTP/1.1\nHost: a\nContent-Length: {'9' * 5000}\n\n{{}}"
    ),
    "a length of a terabyte, and no body": _raw(
        "POST /api/chat HTTP/1.1\nHost: a\nContent-Length: 1000000000000\n\n{}"
    ),
    "a document shorter than announced": _raw(
        "PUT /api/documents/readme.md HTTP/1.1\nHost: a\nContent-Length: 1000\n"
        'Content-Type: application/json\n\n{"content": "changed"}'
    ),
    "an upload shorter than announced": _raw(
        "POST /api/documents/upload HTTP/1.1\nHost: a\nContent-Length: 10000\n"
        f"Content-Type: {MULTIPART['Content-Type']}\n\n"
    )
    + multipart('form-data; name="file"; filename="written.txt"', b"new")[:-10],
    "a chunk of an immense size": _raw(
        "POST /api/chat HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\nffffffffffffffff\n{}"
    ),
    "a chunk without an end": _raw(
        "POST /api/chat HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n2;" + "n" * 200_000
    ),
    "a header of 1 MB": _raw(f"GET /health HTTP/1.1\nHost: a\nA: {'n' * MEBIBYTE}\n\n"),
    "100,000 headers": _raw("GET /health HTTP/1.1\nHost: a\n" + "A: b\n" * 100_000 + "\n"),
    "a header that is folded": _raw("GET /health HTTP/1.1\nHost: a\nA: b\n Set-Cookie: c\n\n"),
    "a header with a NUL": _raw("GET /health HTTP/1.1\nHost: a\nA: b\0c\n\n"),
    "a header with a bare return": b"GET /health HTTP/1.1\r\nHost: a\r\nA: b\rSet-Cookie: c\r\n\r\n",
    "a header without a name": _raw("GET /health HTTP/1.1\nHost: a\n: b\n\n"),
    "a name with a space": _raw("GET /health HTTP/1.1\nHost: a\nContent-Length : 5\n\n"),
    "no host": _raw("GET /health HTTP/1.1\n\n"),
    "two hosts": _raw("GET /health HTTP/1.1\nHost: a\nHost: b\n\n"),
    "an address of 1 MB": _raw(f"GET /{'n' * MEBIBYTE} HTTP/1.1\nHost: a\n\n"),
    "an address with spaces": _raw("GET /api/documents/a b ../secret.txt HTTP/1.1\nHost: a\n\n"),
    "an address with a line break": b"GET /health\r\nA: b HTTP/1.1\r\n\r\n",
    "an address that is not ASCII": _raw("GET /api/documents/\u00e9\udcff HTTP/1.1\nHost: a\n\n"),
    "a method that is none": _raw("\x00\x01\x02 / HTTP/1.1\nHost: a\n\n"),
    "HTTP of another version": _raw("GET /health HTTP/9.9\nHost: a\n\n"),
    "HTTP without a version": _raw("GET /health\n\n"),
    "the beginning of HTTP/2": _raw("PRI * HTTP/2.0\n\nSM\n\n"),
    "the beginning of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "an upgrade to a web socket": _raw(
        "GET /api/chat HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: websocket\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\nSec-WebSocket-Version: 13\n\n"
    ),
    "a tunnel": _raw("CONNECT 127.0.0.1:22 HTTP/1.1\nHost: a\n\n"),
    "nothing at all": b"",
    "noise": bytes(range(256)) * 64,
}
"""What is no proper request."""

UNFINISHED = {
    "a length of a terabyte, and no body",
    "a document shorter than announced",
    "an upload shorter than announced",
    "a chunk of an immense size",
    "a chunk without an end",
    "the beginning of TLS",
    "an address with a line break",
    "nothing at all",
}
"""Those of which a server may rightly wait for the rest; here the client hangs up."""


def all_attacks() -> Iterable[Attack]:
    return (
        *_paths(), *_addresses(), *_sessions(), *_bodies(), *_uploads(), *_headers(), *_streams(),
    )  # fmt: skip
