"""A real control plane that lasts as long as the process that started it."""

import re
from collections import Counter
from pathlib import Path

from devcluster import binaries, manifests
from devcluster.controlplane import ControlPlane, plan_control_plane, start_control_plane
from devcluster.identities import Identities
from devcluster.kubeconfig import client_certificate, kubeconfig_text
from devcluster.processes import ProcessRunner
from devcluster.rest import Rest
from devcluster.state import Ports, State, write_file

READ_VERBS = ("GET", "LIST", "WATCH")
_EMPTIES_NAMESPACES = "DELETECOLLECTION"  # Kubernetes' own controller, or a test; never Weir


class Cluster:
    """etcd, kube-apiserver and kube-controller-manager, with Weir's CRDs, roles and policies."""

    def __init__(self, state: State, runner: ProcessRunner, *, durable: bool = False) -> None:
        """Choose ports and make keys; nothing runs yet.

        Args:
            state: where all of it is kept.
            runner: runs its processes, and stops them.
            durable: whether etcd waits for the disk.
        """
        self.state = state
        self.runner = runner
        self.ports = Ports(state)
        self.plane: ControlPlane = plan_control_plane(
            state, self.ports, binaries.find_all(), durable=durable
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
            service_account: its name.
            host: bind the token to the Node of this name, as a daemon's is.
        """
        return self.identities.kubeconfig_for(service_account, host)

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl as administrator; a failure raises with what it said."""
        return manifests.kubectl(self.plane, self.admin_kubeconfig, *arguments)

    def writes(self, group: str) -> int:
        """Return how many requests to an API group were writes, since the API server's start.

        What empties a deleted namespace is left out.
        """
        return sum(
            count
            for (of_group, _, verb), count in self.requests().items()
            if of_group == group and verb not in (*READ_VERBS, _EMPTIES_NAMESPACES)
        )

    def requests(self) -> Counter[tuple[str, str, str]]:
        """Return how many requests were answered since the API server's start.

        Returns:
            Counts by group, resource/subresource and verb.
        """
        text = self.admin.request("GET", "/metrics", timeout_seconds=30).decode()
        counts: Counter[tuple[str, str, str]] = Counter()
        for line in text.splitlines():
            if not line.startswith("apiserver_request_total{"):
                continue
            label = dict(re.findall(r'(\w+)="([^"]*)"', line))
            if label["resource"]:
                resource = "/".join(filter(None, (label["resource"], label["subresource"])))
                count = int(float(line.rsplit(" ", 1)[1]))
                counts[label["group"], resource, label["verb"]] += count
        return counts
