"""The API server as one account sees it, for tests of what it accepts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from devcluster.rest import JSON, MERGE_PATCH, Rest, RestError
from support.cluster import Cluster
from weir_crds.kinds import ACCESSTOKEN, HOST, TASK, USER, Kind
from weir_kube.kinds import EVENT, LEASE

_KINDS = {kind.kind: kind for kind in (TASK, HOST, LEASE, USER, ACCESSTOKEN, EVENT)}


@dataclass(frozen=True)
class Client:
    """Writes objects and tells the API server's verdict: None for yes, else why not."""

    rest: Rest

    def create(self, obj: dict[str, Any], *, dry_run: bool = False) -> str | None:
        """Create it."""
        kind, namespace, _ = _where(obj)
        return self._write("POST", kind.path(namespace), obj, dry_run=dry_run)

    def patch(
        self, obj: dict[str, Any], changes: dict[str, Any], subresource: str | None = None
    ) -> str | None:
        """Merge changes into it."""
        return self._write("PATCH", _path(obj, subresource), changes, content_type=MERGE_PATCH)

    def replace(
        self, obj: dict[str, Any], subresource: str | None = None, *, dry_run: bool = False
    ) -> str | None:
        """Put the object in the place of what is there."""
        return self._write("PUT", _path(obj, subresource), obj, dry_run=dry_run)

    def delete(self, obj: dict[str, Any]) -> str | None:
        """Delete it."""
        return self._send("DELETE", _path(obj), None)

    def get(self, obj: dict[str, Any]) -> dict[str, Any]:
        """Return it as it is now."""
        return self.rest.json("GET", _path(obj))

    def _write(
        self,
        method: str,
        path: str,
        body: dict[str, Any],
        *,
        content_type: str = JSON,
        dry_run: bool = False,
    ) -> str | None:
        query = "?fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
        return self._send(method, path + query, body, content_type)

    def _send(
        self, method: str, path: str, body: dict[str, Any] | None, content_type: str = JSON
    ) -> str | None:
        try:
            self.rest.request(method, path, body, content_type=content_type)
        except RestError as exc:
            if exc.status == 0:
                raise  # no answer is no verdict
            return str(exc)
        return None


def client_of(cluster: Cluster, kubeconfig: Path) -> Client:
    """Return a client with the token that a kubeconfig names."""
    (user,) = yaml.safe_load(kubeconfig.read_text())["users"]
    token = Path(user["user"]["tokenFile"]).read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    return Client(Rest(cluster.server, cluster.admin.ca, headers=headers))


def _where(obj: dict[str, Any]) -> tuple[Kind, str | None, str]:
    metadata = obj["metadata"]
    return _KINDS[obj["kind"]], metadata.get("namespace"), metadata["name"]


def _path(obj: dict[str, Any], subresource: str | None = None) -> str:
    kind, namespace, name = _where(obj)
    return kind.path(namespace, name, subresource)
