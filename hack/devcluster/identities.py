"""Each component is known to the API server as its own ServiceAccount, never as administrator."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devcluster.errors import DevClusterError
from devcluster.kubeconfig import kubeconfig_text, token_file
from devcluster.rest import Rest, RestError
from devcluster.state import write_file

SYSTEM_NAMESPACE = "weir-system"
OPERATOR = "weir-operator"
NODE_DAEMON = "weir-nodedaemon"
FACADE = "weir-api"
# Renewed at each start; an instance that runs for longer needs `make demo` again.
_TOKEN_SECONDS = 365 * 24 * 3600


@dataclass(frozen=True)
class Identities:
    """Makes tokens by TokenRequest, and kubeconfigs that name their files."""

    admin: Rest
    folder: Path

    def kubeconfig_for(self, service_account: str, host: str | None = None) -> Path:
        """Return a kubeconfig of a ServiceAccount, with a fresh token.

        Args:
            host: bind the token to the Node object of this name, which is made if need be: the
                claim by which the admission policies tell one host's daemon from another's.

        Raises:
            DevClusterError: the ServiceAccount does not exist, or the API server refuses.
        """
        name = f"{service_account}-{host}" if host else service_account
        spec: dict[str, Any] = {"expirationSeconds": _TOKEN_SECONDS}
        try:
            if host:
                node = self._ensure_node(host)
                spec["boundObjectRef"] = {
                    "apiVersion": "v1",
                    "kind": "Node",
                    "name": host,
                    "uid": node["metadata"]["uid"],
                }
            answer = self.admin.json(
                "POST",
                f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/serviceaccounts/{service_account}/token",
                {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec},
            )
        except RestError as exc:
            raise DevClusterError(f"No token for {name}: {exc}") from exc
        token = self.folder / f"{name}.token"
        write_file(token, answer["status"]["token"])
        kubeconfig = self.folder / f"{name}.kubeconfig"
        assert self.admin.ca is not None
        text = kubeconfig_text(self.admin.server, self.admin.ca, token_file(token))
        write_file(kubeconfig, text)
        return kubeconfig

    def _ensure_node(self, name: str) -> dict[str, Any]:
        found = self.admin.find(f"/api/v1/nodes/{name}")
        if found is not None:
            return found
        body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
        return self.admin.json("POST", "/api/v1/nodes", body)
