"""Whatever is sent to the routes, nothing leaves the root and nothing is changed."""

from __future__ import annotations

import asyncio
import re

import pytest

from tests.target_app.attacks.http_requests import RAW, UNFINISHED, Attack, all_attacks
from tests.target_app.attacks.siege import Answer, Siege

pytestmark = pytest.mark.anyio

HEADER = re.compile(rb"[A-Za-z0-9-]+: [\x20-\x7e]*")
SHOWING = {"chunk", "match", "tool_result"}


@pytest.mark.parametrize("attack", [pytest.param(a, id=a.id) for a in all_attacks()])
async def test_an_attack_by_request_comes_to_nothing(siege: Siege, attack: Attack) -> None:
    requests = [request.aimed_at(str(siege.world.elsewhere)) for request in attack.requests]
    answers: list[Answer] = []

    async def go() -> None:
        siege.llm.turns[:] = []
        sending = (
            siege.send(
                request.method,
                request.target,
                headers=request.headers,
                body=request.body,
                length=request.length,
            )
            for request in requests
        )
        answers[:] = await asyncio.gather(*sending)

    written = [*siege.world.root.iterdir()]

    def undo() -> None:
        for place in siege.world.root.iterdir():
            if place not in written:
                place.unlink()

    await siege.withstand(go, blocks=attack.blocks, writes=attack.writes, undo=undo)

    for request, answer in zip(requests, answers, strict=True):
        check_headers(answer)
        if not attack.shows and answer.status == 200 and b"text/event-stream" in answer.head:
            names = [name for name, _ in answer.events()]
            assert "error" in names, (request, answer)
            assert SHOWING.isdisjoint(names), (request, answer)
        else:
            assert answer.status in attack.statuses, (request.method, request.target, answer)
        if answer.status >= 400 and b"application/json" in answer.head:
            assert answer.json().keys() == {"error", "message", "details"}, answer


@pytest.mark.parametrize("what", RAW)
async def test_what_is_no_proper_request_comes_to_nothing(siege: Siege, what: str) -> None:
    answers: list[Answer] = []

    async def go() -> None:
        siege.llm.turns[:] = []
        answers[:] = [await siege.send_bytes(RAW[what], hang_up=what in UNFINISHED)]

    await siege.withstand(go, blocks=None)
    [answer] = answers
    check_headers(answer)
    assert answer.status == 0 or 200 <= answer.status < 500, answer
    assert b"200 OK" not in answer.head or b"healthy" in answer.body, answer


async def test_the_name_of_a_document_cannot_break_a_header(siege: Siege) -> None:
    async def go() -> None:
        for name in sorted((siege.world.root / "odd").iterdir()):
            target = "".join(
                f"%{byte:02x}" for byte in f"odd/{name.name}".encode(errors="replace")
            )
            for query in ("", "?download=true"):
                answer = await siege.send("GET", f"/api/documents/{target}{query}")
                check_headers(answer)
                assert answer.status in {200, 404}, answer

    await siege.withstand(go, blocks={})


def check_headers(answer: Answer) -> None:
    """Check that a header says one thing and is nobody else's."""
    _, *headers = answer.head.split(b"\r\n") if answer.head else [b""]
    for header in headers:
        assert HEADER.fullmatch(header), header
        assert not header.lower().startswith((b"set-cookie", b"access-control")), header
