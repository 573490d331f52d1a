"""A host may answer anything, or nothing: that is one error, and never a wait without an end."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from weir_cli import daemon as daemon_module
from weir_cli import logs as logs_module
from weir_cli.daemon import Daemon
from weir_kube.errors import DaemonBrokeOffError, DaemonUnavailableError
from weir_nodedaemon.server import load_or_create


class Issuer:
    def create_token(
        self, service_account: str, namespace: str, audience: str, seconds: int
    ) -> str:
        return "token"


def daemon_at(url: str, fingerprint: str = "sha256:" + "00" * 32) -> Daemon:
    endpoint = {"url": url, "fingerprint": fingerprint}
    host: dict[str, Any] = {
        "metadata": {"name": "n1", "uid": "u"},
        "spec": {"approval": "Approved"},
        "status": {"endpoint": endpoint},
    }
    return Daemon(Issuer(), host)


@contextmanager
def answering(folder: Path, answer: bytes) -> Iterator[Daemon]:
    """Serve one request with these bytes, and keep the connection open until the end."""
    certificate = load_or_create(folder, ["127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert_path, certificate.key_path)
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)

        def serve() -> None:
            with context.wrap_socket(listener.accept()[0], server_side=True) as connection:
                connection.recv(65536)
                connection.sendall(answer)
                over.wait()

        thread = threading.Thread(target=serve)
        thread.start()
        port = listener.getsockname()[1]
        try:
            yield daemon_at(f"https://127.0.0.1:{port}", certificate.fingerprint)
        finally:
            over.set()
            thread.join()


def whole(body: bytes, *headers: str) -> bytes:
    head = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


@pytest.mark.parametrize("body", [b"[" * 100_000, b"<html>", b"\xff", b""])
def test_figures_that_cannot_be_read(tmp_path: Path, body: bytes) -> None:
    with answering(tmp_path, whole(body)) as daemon, pytest.raises(DaemonUnavailableError) as error:
        daemon.get_json("/v1/stats", 20.0)
    assert str(error.value) == "the daemon of host n1 answered with what cannot be read"


def test_a_daemon_that_stops_in_the_middle_of_what_is_not_followed_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr(daemon_module, "_SILENT_SECONDS", 0.2)
    half = whole(b"some\nmore\n")[:-5]
    with answering(tmp_path, half) as daemon, pytest.raises(DaemonBrokeOffError):
        logs_module._print_stream(daemon, "/log", {}, "u")
    assert capfdbinary.readouterr().out == b"some\n"


def test_a_header_that_is_no_number_hides_no_output(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    with answering(tmp_path, whole(b"some\n", "Weir-Dropped-Bytes: many")) as daemon:
        logs_module._print_stream(daemon, "/log", {}, "u")
    assert capfdbinary.readouterr().out == b"some\n"


@pytest.mark.parametrize("url", ["https://127.0.0.1:99999", "https://a..b:1"])
def test_an_address_that_is_none(url: str) -> None:
    with (
        pytest.raises(DaemonUnavailableError, match="cannot reach the daemon of host n1 at"),
        daemon_at(url).stream("/v1/stats", {}),
    ):
        pass
