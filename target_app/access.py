"""Who may use the API: everybody, or whoever has the token of the operator."""

from __future__ import annotations

import hmac
from typing import Any

from fastapi import Security
from fastapi.security import HTTPBearer
from pydantic import SecretStr
from starlette._utils import get_route_path
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from target_app.routes.errors import answers, envelope

GUARDED = "/api/"
"""
Paths that begin so need the token.

What stays open shows no document: the description of the API, the health checks of whatever keeps
the app running, and the metrics, which have counts in them and no names. Those who ask for these
are machines that seldom have a place for a token.
"""


def guarded(token: SecretStr | None) -> dict[str, Any]:
    """Say in the documentation of a router that its routes need the token, if there is one."""
    if token is None:
        return {}
    return {"dependencies": [Security(HTTPBearer(auto_error=False))], "responses": answers(401)}


class TokenGuard:
    """
    Pure ASGI middleware that lets nobody in without the token.

    Not a dependency of the routes: those are asked only after the whole body was read.
    """

    def __init__(self, app: ASGIApp, token: SecretStr) -> None:
        """Guard `app`."""
        self._app = app
        self._expected = token.get_secret_value().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 401."""
        if scope["type"] != "http" or not self._is_guarded(scope) or self._is_known(scope):
            await self._app(scope, receive, send)
            return
        refusal = envelope(
            401,
            "UNAUTHORIZED",
            "this API needs a token: Authorization: Bearer ...",
            headers={"WWW-Authenticate": "Bearer"},
        )
        await refusal(scope, receive, send)

    def _is_guarded(self, scope: Scope) -> bool:
        # The router's own reading of the path: a difference would be a way around the guard.
        return get_route_path(scope).startswith(GUARDED)

    def _is_known(self, scope: Scope) -> bool:
        given = Headers(scope=scope).get("authorization", "")
        scheme, _, token = given.partition(" ")
        # Compared in constant time, or the time it takes would tell the token bit by bit.
        is_token = hmac.compare_digest(token.strip().encode("latin-1"), self._expected)
        return is_token and scheme.lower() == "bearer"
