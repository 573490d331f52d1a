"""Asks hosts' daemons: HTTPS, each known by the certificate that its Host names.

With the standard library alone, since the plugin is one file that needs nothing but Python.
"""

import hashlib
import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

from weir_cli.kubectl import KubectlError
from weir_crds.daemon_endpoint import DaemonEndpoint, daemon_endpoint
from weir_crds.names import SERVICE_ACCOUNT_READER, SYSTEM_NAMESPACE
from weir_kube.errors import DaemonBrokeOffError, DaemonRefusedError, DaemonUnavailableError
from weir_kube.store import Object

_TOKEN_SECONDS = 600
_CONNECT_SECONDS = 5.0
# A daemon asks the API server about a new caller before it answers.
_ANSWER_SECONDS = 20.0
# Whole answers do not come in drips: a daemon that is silent for so long in one is stuck.
_SILENT_SECONDS = 30.0
_JSON_LIMIT = 16 * 1024 * 1024
_REFUSAL_LIMIT = 64 * 1024
_CHUNK = 64 * 1024


class TokenIssuer(Protocol):
    """Makes tokens (``Kubectl`` does, and ``KubectlProxy``)."""

    def create_token(
        self, service_account: str, namespace: str, audience: str, seconds: int
    ) -> str:
        """Return a new token of a ServiceAccount, or raise KubectlError."""
        ...


class Daemon:
    """The daemon of one host, asked with one token that opens nothing elsewhere."""

    def __init__(self, issuer: TokenIssuer, host: Object) -> None:
        """Have a token made.

        Raises:
            NotContactedError: the Host's daemon is sent nothing.
            KubectlError: no token; the message says who grants it and how.
        """
        self.endpoint = daemon_endpoint(host)
        try:
            self._token = issuer.create_token(
                SERVICE_ACCOUNT_READER, SYSTEM_NAMESPACE, self.endpoint.audience, _TOKEN_SECONDS
            )
        except KubectlError as error:
            raise _explained(error) from error

    def get_json(self, path: str, seconds: float) -> Any:
        """Ask for one whole answer.

        Raises:
            DaemonUnavailableError, DaemonBrokeOffError, DaemonRefusedError: as their names say.
        """
        with self.stream(path, {}, answer_seconds=min(seconds, _ANSWER_SECONDS)) as (_, chunks):
            body = b""
            for chunk in chunks:
                body += chunk
                if len(body) > _JSON_LIMIT:
                    raise DaemonUnavailableError(f"host {self.endpoint.host} answers too much")
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise DaemonUnavailableError(
                f"the daemon of host {self.endpoint.host} answered with what cannot be read"
            ) from error

    @contextmanager
    def stream(
        self,
        path: str,
        query: Mapping[str, str],
        *,
        answer_seconds: float = _ANSWER_SECONDS,
        endless: bool = False,
    ) -> Iterator[tuple[Message, Iterator[bytes]]]:
        """Ask, and yield the answer's headers and its body in pieces, as they come.

        Args:
            path: on the daemon's port.
            query: parameters.
            answer_seconds: how long the answer may take to begin.
            endless: the body may stand still for as long as it likes.

        Raises:
            DaemonUnavailableError, DaemonBrokeOffError, DaemonRefusedError: as their names say.
        """
        endpoint = self.endpoint
        connection = _connect(endpoint)
        try:
            connection.sock.settimeout(answer_seconds)
            response = self._ask(connection, f"{path}?{urlencode(query)}" if query else path)
            if response.status != 200:
                raise _refusal(endpoint.host, response)
            connection.sock.settimeout(None if endless else _SILENT_SECONDS)
            yield response.headers, _pieces(endpoint.host, response)
        finally:
            connection.close()

    def _ask(
        self, connection: http.client.HTTPSConnection, target: str
    ) -> http.client.HTTPResponse:
        headers = {"Authorization": f"Bearer {self._token}", "User-Agent": "kubectl-weir"}
        where = f"the daemon of host {self.endpoint.host} at {self.endpoint.url}"
        try:
            connection.request("GET", target, headers=headers)
            return connection.getresponse()
        except TimeoutError as error:
            raise DaemonUnavailableError(f"{where} did not answer in time") from error
        except (OSError, http.client.HTTPException) as error:
            raise DaemonUnavailableError(f"{where} broke off: {error}") from error


def _connect(endpoint: DaemonEndpoint) -> http.client.HTTPSConnection:
    """Connect, and be sure of the certificate before anything is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it signed itself: known by its fingerprint, below
    try:
        address = urlsplit(endpoint.url)
        connection = http.client.HTTPSConnection(
            address.hostname or "", address.port, timeout=_CONNECT_SECONDS, context=context
        )
        connection.connect()
    except (OSError, ValueError) as error:  # an address that is none is a ValueError
        raise DaemonUnavailableError(
            f"cannot reach the daemon of host {endpoint.host} at {endpoint.url}: {error}"
        ) from error
    sock: Any = connection.sock
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    shown = sock.getpeercert(binary_form=True) or b""
    if hashlib.sha256(shown).digest() != endpoint.fingerprint:
        connection.close()
        raise DaemonUnavailableError(
            f"what answers at {endpoint.url} is not the daemon of host {endpoint.host}: it"
            " shows another certificate than the Host's status names"
        )
    return connection


def _pieces(host: str, response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            data = response.read1(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise DaemonBrokeOffError(
                f"host {host} broke off in the middle of its answer"
            ) from error
        if not data:
            return
        yield data


def _refusal(host: str, response: http.client.HTTPResponse) -> DaemonRefusedError:
    status = response.status
    try:
        body = json.loads(response.read(_REFUSAL_LIMIT))
        return DaemonRefusedError(host, str(body["reason"]), str(body["message"]), status)
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return DaemonRefusedError(host, "UnknownAnswer", f"status {status} without words", status)


def _explained(error: KubectlError) -> KubectlError:
    if error.status != "Forbidden":
        return error
    return KubectlError(
        f"{error}\nReading logs and live figures needs the role weir-log-reader in"
        f" namespace {SYSTEM_NAMESPACE}; an administrator grants it with:\n"
        "  kubectl create rolebinding NAME --role=weir-log-reader --user=USER"
        f" -n {SYSTEM_NAMESPACE}"
    )
