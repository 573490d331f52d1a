"""kubectl as the way to the API server.

Whatever the person's kubectl can reach, by whatever credentials, plugins and flags, so can we, and
its words for what went wrong are the words that the person knows.
"""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from weir_cli.formatting import parse_duration
from weir_crds.errors import WeirError
from weir_crds.kinds import Kind
from weir_kube.store import Object

# As kubectl's own.
_PAGE = 500
ONE_BY_ONE = 4
"""So many requests, one after the other, are cheaper than a list of all."""
_DEFAULT_SECONDS = 15.0
_NO_LIMIT_SECONDS = 366 * 86400.0
# ``--server`` may lead to anything that speaks HTTP.
_NO_ANSWER = "error: what answered is no API server: it sent no object"
# Of an object that is missing it names the object.
_NO_SUCH_PATH = "the server could not find the requested resource"
# What a pod's kubectl takes for the namespace where no kubeconfig names one.
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class KubectlError(WeirError):
    """kubectl failed; the message is its own."""

    reason = "KubectlFailed"

    @property
    def status(self) -> str:
        """The API server's reason, ``NotFound`` say; empty: it was not the API server's refusal."""
        found = re.search(r"Error from server \((\w+)\)", str(self))
        if found:
            return found[1]
        return "Forbidden" if " is forbidden: " in str(self) else ""


class Kubectl:
    """Asks the API server, one kubectl process for each question."""

    def __init__(
        self, flags: Sequence[str] = (), namespace: str | None = None, *, page: int = _PAGE
    ) -> None:
        """Ask nothing yet.

        Args:
            flags: kubectl's own, ``--context=c`` say, passed on as they are.
            namespace: what ``-n`` named; None: that of the context.
            page: how many objects of a list are asked for at once.
        """
        self._page = page
        self._flags = tuple(flags)
        self._namespace = namespace

    @cached_property
    def namespace(self) -> str:
        """The namespace that is meant."""
        if self._namespace:
            return self._namespace
        query = ("config", "view", "--minify", "--output=jsonpath={..namespace}")
        try:
            found = self._run(*query).decode().strip()
        except KubectlError:
            found = ""  # no kubeconfig: as in a pod
        if not found and _POD_NAMESPACE.exists():
            found = _POD_NAMESPACE.read_text().strip()
        return found or "default"

    @cached_property
    def deadline_seconds(self) -> float:
        """How long one answer may take, by ``--request-timeout``."""
        return deadline_of(self._flags)

    def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        """Return an object.

        Raises:
            KubectlError: there is none, it may not be read, or nobody answers.
        """
        return self._read(kind, kind.path(namespace, name))

    def find(self, kind: Kind, name: str, namespace: str | None = None) -> Object | None:
        """Return an object; None: there is none.

        Raises:
            KubectlError: it may not be read, or nobody answers.
        """
        try:
            return self.get(kind, name, namespace)
        except KubectlError as error:
            if error.status != "NotFound":
                raise
            return None

    def each(
        self, kind: Kind, namespace: str | None = None, selectors: Mapping[str, str] | None = None
    ) -> Iterator[Object]:
        """Yield the objects of a namespace, or of all; as many are in memory as the caller keeps.

        Args:
            kind: what they are.
            namespace: None: of all.
            selectors: ``labelSelector`` and ``fieldSelector``.

        Raises:
            KubectlError: they may not be read, or nobody answers.
        """
        query = {"limit": str(self._page), **(selectors or {})}
        while True:
            page = self._read(kind, f"{kind.path(namespace)}?{urlencode(query)}")
            if not isinstance(page.get("items"), list):
                raise KubectlError(_NO_ANSWER)
            for obj in page["items"]:
                obj["metadata"].pop("managedFields", None)  # half of it, and of no use to us
                yield obj
            more = page["metadata"].get("continue")
            if not more:
                return
            query["continue"] = more

    def named(self, kind: Kind, names: Sequence[str], namespace: str | None = None) -> list[Object]:
        """Return the objects of these names, each once, in that order.

        Raises:
            KubectlError: there is none of one of the names, or as of ``get``.
        """
        wanted = dict.fromkeys(names)
        if len(wanted) <= ONE_BY_ONE:
            return [self.get(kind, name, namespace) for name in wanted]
        found = {obj["metadata"]["name"]: obj for obj in self.each(kind, namespace)}
        for name in wanted:
            if name not in found:
                raise KubectlError(
                    f'Error from server (NotFound): {kind.plural}.{kind.group} "{name}" not found'
                )
        return [found[name] for name in wanted]

    def list(
        self, kind: Kind, namespace: str | None = None, selector: str | None = None
    ) -> list[Object]:
        """Return the objects of a namespace, or of all, in the order of their names.

        Raises:
            KubectlError: they may not be read, or nobody answers.
        """
        return [*self.each(kind, namespace, {"labelSelector": selector} if selector else {})]

    @contextmanager
    def watch(
        self, kind: Kind, namespace: str, name: str, version: str
    ) -> Iterator[Iterator[tuple[str, Object]]]:
        """Yield the changes of one object after a resourceVersion, until the server ends them."""
        query = {
            "watch": "true",
            "resourceVersion": version,
            "fieldSelector": f"metadata.name={name}",
            "allowWatchBookmarks": "true",
        }
        path = f"{kind.path(namespace)}?{urlencode(query)}"
        # What it complains about, nobody would read: whoever watches reads anew.
        arguments = ("get", "--raw", path, "--request-timeout=0")
        with self._start(*arguments, stderr=subprocess.DEVNULL) as process:
            try:
                yield _events(process)
            finally:
                process.kill()

    def create_token(
        self, service_account: str, namespace: str, audience: str, seconds: int
    ) -> str:
        """Return a new token of a ServiceAccount.

        Raises:
            KubectlError: the person may not have one, or nobody answers.
        """
        arguments = (f"--audience={audience}", f"--duration={seconds}s", f"--namespace={namespace}")
        return self._run("create", "token", service_account, *arguments).decode().strip()

    def _read(self, kind: Kind, path: str) -> Object:
        try:
            found = _decoded(self._run("get", "--raw", path))
        except KubectlError as error:
            if not str(error).endswith(_NO_SUCH_PATH):
                raise
            raise KubectlError(
                f"error: the server doesn't have a resource type {kind.plural}.{kind.group}:"
                " Weir is not installed there"
            ) from error
        if not isinstance(found, dict) or not isinstance(found.get("metadata"), dict):
            raise KubectlError(_NO_ANSWER)
        return found

    def _run(self, *arguments: str) -> bytes:
        with self._start(*arguments) as process:
            try:
                out, err = process.communicate()
            except BaseException:
                process.kill()
                raise
        if process.returncode != 0:
            raise KubectlError(err.decode(errors="replace").strip() or "kubectl failed")
        return out

    def command(self, *arguments: str) -> Sequence[str]:
        """Return a command line of kubectl with the person's flags."""
        # A flag that comes twice counts as it comes last.
        timeout = () if _asked_timeout(self._flags) else (f"--request-timeout={_DEFAULT_SECONDS}s",)
        return ["kubectl", *timeout, *self._flags, *arguments]

    def _start(self, *arguments: str, stderr: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(  # noqa: S603 (the kubectl that is on the person's own path)
                self.command(*arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        except OSError as error:
            raise KubectlError(f"error: kubectl cannot be run: {error.strerror}") from error


def deadline_of(flags: Sequence[str]) -> float:
    """Return how many seconds ``--request-timeout`` allows for one answer; 0 is as good as none."""
    asked = _asked_timeout(flags)
    if asked is None:
        return _DEFAULT_SECONDS
    return parse_duration(asked) or _NO_LIMIT_SECONDS


def _asked_timeout(flags: Sequence[str]) -> str | None:
    prefix = "--request-timeout="
    asked = [flag.removeprefix(prefix) for flag in flags if flag.startswith(prefix)]
    return asked[-1] if asked else None


def _events(process: subprocess.Popen[bytes]) -> Iterator[tuple[str, Object]]:
    assert process.stdout is not None
    for line in process.stdout:
        event = _decoded(line)
        if not isinstance(event, dict) or event.get("type") in (None, "ERROR"):
            return  # history is gone, or a line broke off: whoever watches reads anew
        yield event["type"], event["object"]


def _decoded(text: bytes) -> Any:
    """Return what JSON says; None: it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
