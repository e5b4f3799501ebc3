"""Requests that never reach the server: refused, in plain words, and never a traceback."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ANSWER = b'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 18\r\n\r\n{"response": "42"}'


@pytest.fixture(scope="module")
def unused() -> Iterator[int]:
    """A port that is taken, but where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that only its maker trusts, for 127.0.0.1."""
    path = tmp_path_factory.mktemp("tls") / "self-signed.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-keyout", str(path), "-out", f"{path}.crt", "-days", "2",
            "-subj", "/CN=known", "-addext", "subjectAltName=IP:127.0.0.1",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture(scope="module")
def tls_port(certificate: Path) -> Iterator[int]:
    """A server that answers over TLS, where it is trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                plain, _ = listening.accept()
            except OSError:
                return
            try:
                with plain, context.wrap_socket(plain, server_side=True) as connection:
                    received = b""
                    while b"anyone there?" not in received:
                        received += connection.recv(65536)
                    connection.sendall(ANSWER)
            except OSError:
                pass  # it was not trusted

    thread = threading.Thread(target=serve)
    thread.start()
    yield listening.getsockname()[1]
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join()


@pytest.fixture(scope="module")
def kept(
    in_child: Callable[..., Any], server: Any, unused: int, tls_port: int, certificate: Path
) -> dict[str, tuple[str, int | None, str]]:
    """What became of one chat with each of these, all from one process."""
    trusted = {"SSL_CERT_FILE": f"{certificate}.crt"}
    asked: dict[str, tuple[str, dict[str, str]]] = {
        "nobody listens": (f"http://127.0.0.1:{unused}", {}),
        "no such name": ("http://no-such-server.invalid", {}),
        "not trusted": (f"https://127.0.0.1:{tls_port}", {}),
        "trusted": (f"https://127.0.0.1:{tls_port}", trusted),
        "of another name": (f"https://localhost:{tls_port}", trusted),
        "no TLS": (server.url.replace("http:", "https:"), {}),
    }
    calls = [["chat", ["anyone there?"], {}]]
    made = in_child(
        "child_requests.py",
        json.dumps([{"url": u, "environment": e, "calls": calls} for u, e in asked.values()]),
        "[]",
    )
    samples = [sample for each in made["made"] for sample in each["samples"]]
    assert all(s["start"] <= s["end"] for s in samples)
    return {
        name: (s["outcome"], s["http_status"], s["detail"])
        for name, s in zip(asked, samples, strict=True)
    }


def test_a_target_that_is_not_there(kept: Any, unused: int) -> None:
    assert kept["nobody listens"] == (
        "refused", None, f"nothing listens on port {unused} (connection refused)"
    )  # fmt: skip


def test_a_name_that_nobody_has(kept: Any) -> None:
    outcome, status, detail = kept["no such name"]
    assert (outcome, status) == ("refused", None)
    assert detail.startswith("no server is known by the name no-such-server.invalid (DNS: ")


def test_a_certificate_that_nobody_trusts(kept: Any) -> None:
    assert kept["not trusted"] == (
        "refused", None, "the server's TLS certificate is not trusted: self-signed certificate"
    )  # fmt: skip


def test_a_certificate_that_the_environment_trusts(kept: Any) -> None:
    assert kept["trusted"] == ("ok", 200, "")


def test_a_trusted_certificate_of_another_name(kept: Any) -> None:
    outcome, status, detail = kept["of another name"]
    assert (outcome, status) == ("refused", None)
    assert detail.startswith(
        "the server's TLS certificate is not trusted: Hostname mismatch, certificate is not valid"
    )


def test_tls_where_there_is_none(kept: Any) -> None:
    outcome, status, detail = kept["no TLS"]
    assert (outcome, status) == ("refused", None)
    assert detail.startswith(
        ("the server does not speak TLS as this client does", "no connection")
    )
