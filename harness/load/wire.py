"""
One HTTP request on one connection: sent once, never again, and read as it arrives.

Locust's client is made for scripts of requests. It sends some of them again
when a connection breaks, follows redirects, keeps cookies that all journeys
would share, reads error pages of any size, and keeps a stream's bytes until it
has a block of them. A measured client may do none of this, so requests go
straight to the HTTP parser below it (geventhttpclient's).
"""

from __future__ import annotations

import select
import socket
import ssl
from collections import deque
from urllib.parse import quote, urlsplit

import gevent
import gevent.socket
import httpx
from gevent.monkey import get_original
from geventhttpclient.response import HTTPParseError, HTTPResponse

from harness.load import clock

_BLOCK_BYTES = 64 * 1024
_HEADERS_BYTES = 64 * 1024
# Servers close idle connections after some seconds (uvicorn: 5). One that is used again just then
# fails, through no fault of the target's, so none is kept that long.
_KEPT_SECONDS = 3.0
_KEPT = "!#$%&'()*+,/:;=?@[]~"
_poll = get_original("select", "poll")


class NotSentError(Exception):
    """Why a request never reached the server, in plain words."""


class TooLargeError(Exception):
    """An answer of more bytes than are read."""


class Response(HTTPResponse):
    """
    An answer as it comes in.

    `arrived` is the instant at which its last bytes came, by harness.load.clock.
    """

    def __init__(self, connection: socket.socket, method: str, largest: int) -> None:
        """Read nothing yet."""
        super().__init__(method)
        self._connection = connection
        self._left = largest
        self._largest = largest
        self.arrived = clock.now()

    def read_head(self, until: float) -> int:
        """Read up to the end of the headers and give the status; raises as `read` does."""
        left = _HEADERS_BYTES
        while not self.headers_complete or self.get_code() < 200:
            left -= self._receive(until)
            if left < 0:
                raise HTTPParseError("headers without an end")
        length = self.content_length
        if length is not None and length > self._left and self.method != "HEAD":
            self._left = -1  # none of it need be read
        return self.get_code()

    def read(self, until: float) -> bytes:
        """
        Give what has arrived and was not given, waiting for it until an instant; b"" at the end.

        Raises TimeoutError, OSError, HTTPParseError when the connection ends too
        early, and TooLargeError.
        """
        while not self._body_buffer and not self.message_complete and self._left >= 0:
            self._receive(until)
        body = bytes(self._body_buffer)
        self._body_buffer.clear()
        self._left -= len(body)
        if self._left < 0:
            raise TooLargeError(f"the answer is larger than {self._largest / 1024**2:g} MiB")
        return body

    def read_all(self, until: float) -> bytes:
        """Give the rest of the body; raises as `read` does."""
        body = self.read(until)
        if self.message_complete:
            return body
        parts = [body]
        while part := self.read(until):
            parts.append(part)
        return b"".join(parts)

    def _receive(self, until: float) -> int:
        now = clock.now()
        if now >= until:
            raise TimeoutError
        self._connection.settimeout(until - now)
        try:
            data = self._connection.recv(_BLOCK_BYTES)
        except TimeoutError:
            raise TimeoutError from None
        self.arrived = clock.now()
        if not data and not self.message_begun:
            raise ConnectionResetError("the connection was closed before an answer came")
        self.feed(data)
        return len(data)

    def _on_message_begin(self) -> None:
        if self.message_complete and self.get_code() >= 200:
            raise HTTPParseError("more than one answer to one request")
        super()._on_message_begin()


class Connections:
    """
    The connections of one user to one server, each used again within seconds or not at all.

    Certificates are checked against those that SSL_CERT_FILE or SSL_CERT_DIR
    names, else against certifi's; the environment's proxies are not used.
    """

    def __init__(self, url: str, seconds: float) -> None:
        """Take the server's address, and how long connecting may take."""
        place = urlsplit(url)
        self.host = place.netloc.rpartition("@")[2]
        self.base = place.path.rstrip("/")
        self._name = place.hostname or ""
        self._tls = tls() if place.scheme == "https" else None
        self._port = place.port or (443 if self._tls else 80)
        self._seconds = seconds
        self._idle: deque[tuple[socket.socket, float]] = deque()

    def send(self, request: bytes, method: str, until: float, largest: int) -> Response:
        """
        Send a request and give its answer, of which nothing is read yet.

        Raises NotSentError when it never reached the server, TimeoutError when
        it could not be sent in time, OSError when the connection broke.
        """
        connection = self._kept() or self._connect(until)
        try:
            connection.settimeout(max(1e-3, until - clock.now()))
            connection.sendall(request)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it may have answered before it had read everything
        except BaseException:
            connection.close()
            raise
        return Response(connection, method, largest)

    def done(self, response: Response) -> None:
        """Keep the connection of an answer that was read to its end; close any other."""
        connection = response._connection  # noqa: SLF001 - two halves of one thing
        if response.should_close():
            connection.close()
            return
        now = clock.now()
        self._idle.append((connection, now))
        while now - self._idle[0][1] > _KEPT_SECONDS:
            self._idle.popleft()[0].close()

    def close(self) -> None:
        """Close all that are idle."""
        while self._idle:
            self._idle.pop()[0].close()

    def _kept(self) -> socket.socket | None:
        now = clock.now()
        while self._idle:
            connection, since = self._idle.pop()
            if now - since <= _KEPT_SECONDS and _is_quiet(connection):
                return connection
            connection.close()
        return None

    def _connect(self, until: float) -> socket.socket:
        seconds = min(self._seconds, until - clock.now())
        late = TimeoutError(f"no connection within {seconds:.3g} s")
        try:
            with gevent.Timeout(seconds, late):
                connection = gevent.socket.create_connection((self._name, self._port))
                try:
                    # Else a large request's last packet waits for the one before to be confirmed.
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    if self._tls:
                        return self._tls.wrap_socket(connection, server_hostname=self._name)
                except BaseException:
                    connection.close()
                    raise
                return connection
        except OSError as error:
            if error is late:
                raise
            raise NotSentError(self._unsent(error)) from error

    def _unsent(self, error: OSError) -> str:
        """Say in plain words why there is no connection."""
        if isinstance(error, socket.gaierror):
            return f"no server is known by the name {self._name} (DNS: {error.strerror})"
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"the server's TLS certificate is not trusted: {error.verify_message}"
        if isinstance(error, ssl.SSLError):
            return f"the server does not speak TLS as this client does: {error.reason or error}"
        if isinstance(error, ConnectionRefusedError):
            return f"nothing listens on port {self._port} (connection refused)"
        return f"no connection: {error.strerror or error}"


def tls() -> ssl.SSLContext:
    """Make the TLS settings of the client that prepares the target those of the load, too."""
    return httpx.create_ssl_context()


def request_target(path: str) -> str:
    """Write a path as HTTP carries it; what is escaped already stays so."""
    plain = path.isascii() and path.isprintable() and " " not in path
    return path if plain else quote(path, _KEPT)


def _is_quiet(connection: socket.socket) -> bool:
    """Whether an idle connection is still open: one that has something to read has ended."""
    poll = _poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)


__all__ = ["Connections", "HTTPParseError", "NotSentError", "Response", "TooLargeError"]
