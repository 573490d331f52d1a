"""Many requests to the API server by one kubectl: ``kubectl proxy``.

A process for each request costs about 50 ms of CPU, which is a minute for a fleet of a thousand
hosts. The proxy listens on a socket in a folder that nobody else may enter, and shares the
person's credentials, plugins and flags as every other kubectl does.
"""

import http.client
import json
import os
import select
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weir_cli.kubectl import Kubectl, KubectlError
from weir_kube.kinds import SERVICEACCOUNT

# Whatever ends us, kill -9 too, closes the pipe that it reads: then the proxy and its folder go.
# A signal that the whole process group gets, as of Ctrl-C, must not end it before it has done that.
_KEEPER = """
trap : INT HUP TERM QUIT
"$@" 2>"$0/errors" &
exec >&- 2>&-
read -r _
kill $!
rm -rf "$0"
"""
_START_SECONDS = 30.0
# The name of a socket has 107 bytes at most, 103 on macOS; ours needs 28 of them.
_LONGEST_FOLDER = 70


class KubectlProxy:
    """Asks the API server by one kubectl, which goes on; may be asked from many threads."""

    def __init__(self, socket_path: Path, answer_seconds: float) -> None:
        """Ask nothing yet."""
        self._socket_path = socket_path
        self._answer_seconds = answer_seconds

    def create_token(
        self, service_account: str, namespace: str, audience: str, seconds: int
    ) -> str:
        """Return a new token of a ServiceAccount.

        Raises:
            KubectlError: the person may not have one, or nobody answers.
        """
        path = SERVICEACCOUNT.path(namespace, service_account, "token")
        asked = {"audiences": [audience], "expirationSeconds": seconds}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": asked}
        status, answer = self._post(path, json.dumps(body))
        try:
            found = json.loads(answer)
            if status < 300:
                return str(found["status"]["token"])
            message = str(found["message"])
        except (ValueError, KeyError, TypeError):  # of the proxy itself: it reached nobody
            text = answer.decode(errors="replace").strip()
            raise KubectlError(f"Unable to connect to the server: {text}") from None
        raise KubectlError(f"error: failed to create token: {message}")

    def _post(self, path: str, body: str) -> tuple[int, bytes]:
        connection = _UnixConnection(self._socket_path, self._answer_seconds)
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        except TimeoutError as error:
            raise KubectlError("Unable to connect to the server: no answer in time") from error
        except (OSError, http.client.HTTPException) as error:
            raise KubectlError(f"error: kubectl proxy broke off: {error}") from error
        finally:
            connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@contextmanager
def kubectl_proxy(kubectl: Kubectl) -> Iterator[KubectlProxy]:
    """Run ``kubectl proxy``.

    Raises:
        KubectlError: kubectl does not start; the message is its own.
    """
    folder = _make_folder()
    command = kubectl.command("proxy", f"--unix-socket={folder / 'socket'}")
    try:
        keeper = subprocess.Popen(  # noqa: S603 (the kubectl that is on the person's own path)
            ["/bin/sh", "-c", _KEEPER, str(folder), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise KubectlError(f"error: kubectl proxy cannot be run: {error.strerror}") from error
    with keeper:  # on leaving, its stdin is closed and its end awaited
        if not _has_started(keeper):
            raise KubectlError(_complaint(folder) or "error: kubectl proxy did not start")
        yield KubectlProxy(folder / "socket", kubectl.deadline_seconds)


def _make_folder() -> Path:
    """Return a new folder that nobody else may enter, whose sockets have names short enough."""
    try:
        usual = tempfile.gettempdir()
        place = usual if len(os.fsencode(usual)) <= _LONGEST_FOLDER else "/tmp"  # noqa: S108 (mkdtemp is safe there)
        return Path(tempfile.mkdtemp(prefix="kubectl-weir-", dir=place))
    except OSError as error:
        raise KubectlError(
            f"error: kubectl proxy needs a folder for its socket: {error.strerror or error}"
        ) from error


def _complaint(folder: Path) -> str:
    try:
        return (folder / "errors").read_text(errors="replace").strip()
    except OSError as error:
        return f"error: kubectl proxy needs a folder for its socket: {error.strerror}"


def _has_started(keeper: "subprocess.Popen[bytes]") -> bool:
    """Wait for the line that the proxy prints once it serves; its end is an empty one."""
    assert keeper.stdout is not None
    until = time.monotonic() + _START_SECONDS
    readable, _, _ = select.select([keeper.stdout], [], [], until - time.monotonic())
    return bool(readable) and keeper.stdout.readline().startswith(b"Starting to serve")
