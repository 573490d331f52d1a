"""A real control plane of the tests' own."""

import re
import uuid
from pathlib import Path

from devcluster import binaries, manifests
from devcluster.controlplane import ControlPlane, plan_control_plane, start_control_plane
from devcluster.identities import Identities
from devcluster.kubeconfig import client_certificate, kubeconfig_text
from devcluster.rest import Rest
from devcluster.state import Ports, State, write_file
from support.polling import eventually
from support.process import ProcessRunner

_READ_VERBS = ("GET", "LIST", "WATCH")


class Cluster:
    """etcd, kube-apiserver and kube-controller-manager, with Weir's CRDs, roles and policies."""

    def __init__(self, state: State, runner: ProcessRunner) -> None:
        self.state = state
        self.runner = runner
        self.ports = Ports(state)
        self.plane: ControlPlane = plan_control_plane(
            state, self.ports, binaries.find_all(), durable=False
        )
        self.admin_kubeconfig = state.kubeconfig
        user = client_certificate(self.plane.pki.admin)
        write_file(
            self.admin_kubeconfig, kubeconfig_text(self.plane.server, self.plane.pki.ca, user)
        )

    def start(self) -> None:
        """Start it and apply the manifests."""
        start_control_plane(self.plane, self.ports, self.runner)
        manifests.apply_all(self.plane, self.admin_kubeconfig)

    @property
    def server(self) -> str:
        """The API server's URL."""
        return self.plane.server

    @property
    def admin(self) -> Rest:
        """Plain HTTP as administrator."""
        return self.plane.admin

    @property
    def identities(self) -> Identities:
        """Makes kubeconfigs of ServiceAccounts."""
        return Identities(self.admin, self.state.pki)

    def kubeconfig_for(self, service_account: str, host: str | None = None) -> Path:
        """Return a kubeconfig of a ServiceAccount in weir-system (``weir-operator``, say).

        Args:
            host: bind the token to the Node of this name, as a daemon's is.
        """
        return self.identities.kubeconfig_for(service_account, host)

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl as administrator; a failure raises with what it said."""
        return manifests.kubectl(self.plane, self.admin_kubeconfig, *arguments)

    def kill_apiserver(self) -> None:
        """kill -9."""
        self.runner["kube-apiserver"].kill()

    def restart_apiserver(self) -> None:
        """Kill it if it runs, start it, and wait until it is ready."""
        process = self.runner["kube-apiserver"]
        process.kill()
        process.start()
        eventually(lambda: self.admin.answers("/readyz"), what="the API server is back", timeout=60)
        # It exits when it loses the API server while it starts.
        self.runner["kube-controller-manager"].start()

    def writes(self, group: str) -> int:
        """Return how many requests to an API group were no reads, since the API server's start."""
        text = self.admin.request("GET", "/metrics", timeout_seconds=30).decode()
        total = 0.0
        for line in text.splitlines():
            if line.startswith("apiserver_request_total{") and f'group="{group}"' in line:
                verb = re.search(r'verb="(\w+)"', line)
                if verb and verb[1] not in _READ_VERBS:
                    total += float(line.rsplit(" ", 1)[1])
        return int(total)

    def create_namespace(self, labels: dict[str, str] | None = None) -> str:
        """Create a namespace of a new name, and return that."""
        name = f"t-{uuid.uuid4().hex[:8]}"
        metadata = {"name": name, "labels": labels or {}}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        self.admin.json("POST", "/api/v1/namespaces", body)
        return name

    def delete_namespace(self, name: str) -> None:
        """Ask for its deletion, and do not wait for it; one that is gone is fine."""
        if self.admin.find(f"/api/v1/namespaces/{name}") is not None:
            self.admin.request("DELETE", f"/api/v1/namespaces/{name}")
