"""
Who may use the API: everybody, or whoever has the token of the operator.

And from where: a web page of somebody else can send requests too, through the browser of a person
who may.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Collection
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


ANY = "*"
"""Among hosts or origins: all of them."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing. What they answer, a browser shows to no page of another origin."""

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def guarded(token: SecretStr | None) -> dict[str, Any]:
    """Say in the documentation of a router what the guards of its routes answer."""
    if token is None:
        return {"responses": answers(421)}
    needed = Security(HTTPBearer(auto_error=False))
    return {"dependencies": [needed], "responses": answers(401, 421)}


class PageGuard:
    """
    Pure ASGI middleware against web pages of others.

    A page can have a browser send a form to any address, so what changes something is refused
    (403) when it comes from another origin. And it can give its own name the address of this
    app, by which the app becomes its own origin: names that are not the app's are refused (421).
    Programs send no Origin, and say who they mean.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        allowed_origins: Collection[str] = (),
        allowed_hosts: Collection[str] = (),
        is_private: bool = True,
    ) -> None:
        """
        Guard `app`, for pages of its own origin and of `allowed_origins`.

        The app is known by any address, by localhost and by the names `allowed_hosts`. When
        there are none of these, by any name too, unless the app `is_private` and asked through
        the loopback interface: elsewhere it is reached by names it cannot know.
        """
        self._app = app
        self._origins = frozenset(allowed_origins)
        self._hosts = frozenset(allowed_hosts)
        self._is_private = is_private

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 403 or 421."""
        refusal = self._refusal(scope) if scope["type"] == "http" and _is_api(scope) else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        headers = Headers(scope=scope)
        hosts = [host.lower() for host in headers.getlist("host")]
        if not all(self._is_known(host, scope) for host in hosts):
            told = "this app is not known by that name; ALLOWED_HOSTS can add it"
            return envelope(421, "MISDIRECTED_REQUEST", told)
        if scope["method"] in SAFE_METHODS:
            return None
        if not all(self._is_allowed(origin, hosts) for origin in headers.getlist("origin")):
            told = "pages of other origins may change nothing; CORS_ALLOWED_ORIGINS can add one"
            return envelope(403, "CROSS_ORIGIN", told)
        return None

    def _is_known(self, host: str, scope: Scope) -> bool:
        name = _without_port(host)
        if name in self._hosts or ANY in self._hosts or _is_local(name) or _is_address(name):
            return True
        is_strict = self._hosts or (self._is_private and _came_by_loopback(scope))
        return not is_strict

    def _is_allowed(self, origin: str, hosts: Collection[str]) -> bool:
        if origin in self._origins or ANY in self._origins:
            return True
        scheme, _, place = origin.lower().partition("://")
        # A browser leaves the usual port out, a proxy may not.
        port = _DEFAULT_PORTS.get(scheme, "")
        return place != "" and any(place == host.removesuffix(port) for host in hosts)


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
        if scope["type"] != "http" or not _is_api(scope) or self._is_known(scope):
            await self._app(scope, receive, send)
            return
        refusal = envelope(
            401,
            "UNAUTHORIZED",
            "this API needs a token: Authorization: Bearer ...",
            headers={"WWW-Authenticate": "Bearer"},
        )
        await refusal(scope, receive, send)

    def _is_known(self, scope: Scope) -> bool:
        given = Headers(scope=scope).get("authorization", "")
        scheme, _, token = given.partition(" ")
        # Compared in constant time, or the time it takes would tell the token bit by bit.
        is_token = hmac.compare_digest(token.strip().encode("latin-1"), self._expected)
        return is_token and scheme.lower() == "bearer"


def is_loopback(name: str) -> bool:
    """Whether a name or an address leads to this machine only."""
    if _is_local(name):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _is_api(scope: Scope) -> bool:
    # The router's own reading of the path: a difference would be a way around the guard.
    return get_route_path(scope).startswith(GUARDED)


def _came_by_loopback(scope: Scope) -> bool:
    """Whether the connection ends at an address of this machine only; none is a Unix socket."""
    server = scope.get("server")
    return server is not None and is_loopback(server[0])


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].removesuffix(".")


def _is_local(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost")


def _is_address(name: str) -> bool:
    """Whether it is no name at all: what a browser has looked up nowhere is nobody's trick."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
