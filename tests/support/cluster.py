"""The tests' control plane: one that can be killed, with fresh namespaces."""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from devcluster import cluster
from devcluster.state import State
from support.polling import eventually
from support.process import ProcessRunner
from support.run import new_state

# The longest delay of a write: that of Host.status.allocated, and a little.
_DELAYED_SECONDS = 12.0


class Cluster(cluster.Cluster):
    """etcd, kube-apiserver and kube-controller-manager, with Weir's CRDs, roles and policies."""

    def kill_apiserver(self) -> None:
        """kill -9."""
        self.runner["kube-apiserver"].kill()

    def restart_apiserver(self) -> None:
        """Kill it if it runs, and start it."""
        self.kill_apiserver()
        self.start_apiserver()

    def start_apiserver(self) -> None:
        """Start it if it does not run, and wait until it is ready."""
        self.runner["kube-apiserver"].start()
        eventually(lambda: self.admin.answers("/readyz"), what="the API server is back", timeout=60)
        # It exits when it loses the API server while it starts.
        self.runner["kube-controller-manager"].start()

    def settled_writes(self, group: str) -> int:
        """Return ``writes`` when all that is written with a delay has been written."""
        seen, since = -1, time.monotonic()

        def settled() -> bool:
            nonlocal seen, since
            if (now := self.writes(group)) != seen:
                seen, since = now, time.monotonic()
            return time.monotonic() - since > _DELAYED_SECONDS

        eventually(settled, f"no more writes to {group}", timeout=120, every=0.5)
        return seen

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


OwnCluster = Callable[..., AbstractContextManager[Cluster]]


@contextmanager
def own_cluster(word: str, tidy_up: Callable[[State], None] = lambda _: None) -> Iterator[Cluster]:
    """Start a control plane of one's own, and leave nothing of it.

    Args:
        word: tells its folder from others.
        tidy_up: called when its processes have ended, before the folder goes.
    """
    with new_state(word, tidy_up) as state:
        runner = ProcessRunner(state)
        started = Cluster(state, runner)
        try:
            started.start()
            yield started
        finally:
            runner.stop_all()
