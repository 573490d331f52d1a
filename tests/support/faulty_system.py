"""Weir with a proxy before every server that its parts use, so that anything can go wrong."""

import dataclasses
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

from devcluster.hosts import Share
from devcluster.identities import NODE_DAEMON, OPERATOR, Identities
from devcluster.state import write_file
from support.api_proxy import ApiProxy
from support.cluster import Cluster
from support.docker_proxy import DockerProxy
from support.http_proxy import abort
from support.loop_thread import LoopThread
from support.process import Process
from support.weir_system import WeirSystem


class FaultySystem(WeirSystem):
    """Operator and one daemon; each has its own proxy before the API server.

    Attributes:
        loop: in which the proxies live: what is done to them is done there.
        api: the proxies before the API server, by ``operator`` and ``daemon``.
        docker: the proxy before the daemon's Docker.
    """

    def __init__(self, cluster: Cluster, docker_host: str, share: Share) -> None:
        self.loop = LoopThread()
        ca = cluster.admin.ca
        assert ca is not None
        self.api = {
            account: self.loop.enter(ApiProxy(cluster.server, ca))
            for account in ("operator", "daemon")
        }
        socket = cluster.state.root / "docker.proxy"
        self.docker = self.loop.enter(DockerProxy(socket, docker_host))
        servers = {OPERATOR: self.api["operator"].url, NODE_DAEMON: self.api["daemon"].url}
        super().__init__(
            cluster,
            docker_host,
            [share],
            identities=_Rerouted(cluster.identities.admin, cluster.state.pki, servers),
            docker_of_daemons=self.docker.url,
            restart_seconds=0.1,
        )

    def heal(self) -> None:
        """Take all faults back: everything runs, and every server answers."""
        for proxy in self.api.values():
            self.loop.call(_heal, proxy)
        self.loop.call(_heal, self.docker)
        for process in map(self.process, ("operator", "daemon")):
            if process.running():
                process.thaw()

    def killer(self, component: str) -> Callable[[], None]:
        """Return what kills a component at once; whoever keeps it starts it again."""
        process: Process = self.process(component)

        def kill() -> None:
            if process.running():  # else its id may be somebody else's by now
                os.kill(process.pid, signal.SIGKILL)

        return kill

    def close(self) -> None:
        """Stop all."""
        self.heal()
        super().close()
        self.loop.close()


@dataclasses.dataclass(frozen=True)
class _Rerouted(Identities):
    """Makes kubeconfigs that name another server for some accounts."""

    servers: dict[str, str]

    def kubeconfig_for(self, service_account: str, host: str | None = None) -> Path:
        original = super().kubeconfig_for(service_account, host)
        config = json.loads(original.read_text())
        cluster = config["clusters"][0]["cluster"]
        cluster["server"] = self.servers.get(service_account, cluster["server"])
        rerouted = original.with_suffix(".rerouted")
        write_file(rerouted, json.dumps(config))
        return rerouted


def _heal(proxy: ApiProxy | DockerProxy) -> None:
    proxy.clear_rules()
    proxy.release()
    for request in proxy.dropped:
        abort(request)  # who waits for its answer shall not wait for a deadline
    proxy.dropped.clear()
    if isinstance(proxy, ApiProxy):
        proxy.drop_every = 0
        if proxy.lost_events:
            proxy.expire_watches()
        proxy.lost_events.clear()
