"""A Weir of its own, small and without containers: what is done to it no other test notices."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from devcluster.components import node_daemon, operator
from devcluster.hosts import Share
from devcluster.login import ensure_login
from devcluster.state import State
from support.cluster import Cluster
from support.facade_process import FacadeProcess, Reply
from support.polling import eventually
from support.process import Keeper, Process, ProcessRunner
from support.tasks import BUSYBOX, condition
from weir_crds.kinds import HOST
from weir_crds.resources import RESOURCES

HOST_NAME = "small"


class SmallWorld:
    """A control plane, the operator, one host whose engine is made up, and the facade.

    Attributes:
        cluster: the control plane.
        facade: what the tests are about.
        token: an administrator's API token.
    """

    def __init__(self, state: State) -> None:
        self._runner = ProcessRunner(state)
        self.cluster = Cluster(state, self._runner)
        self.cluster.start()
        daemon = node_daemon(
            HOST_NAME,
            Share((0, 1), 1024),
            docker_host="unix:///nowhere",
            folder=state.root / "host",
            identities=self.cluster.identities,
            ports=self.cluster.ports,
            arguments=("--engine=fake",),
        )
        programs = [operator(self.cluster.identities, self.cluster.ports).program, daemon.program]
        self._processes = [Process(one, state.log_of(one.name)) for one in programs]
        # The operator ends when it has lost its Lease, as it does when the API server is away.
        self._keeper = Keeper()
        self.facade = FacadeProcess(self.cluster, "--namespace=default")
        for process in self._processes:
            self._keeper.start(process)
        self.facade.start()
        self.token = ensure_login(state, self.cluster.admin, self.facade.url).token
        eventually(self._host_takes_work, "the host takes work", 60)

    def close(self) -> None:
        """Stop all of it."""
        self.facade.process.kill()
        self._keeper.close()
        for process in self._processes:
            process.kill()
        self._runner.stop_all()

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Ask the facade as an administrator."""
        bearer = {"Authorization": f"Bearer {self.token}"}
        return self.facade.request(method, path, body, bearer | dict(headers or {}))

    def submit(self, **submission: Any) -> str:
        """Submit a command as an administrator, and return the task's id."""
        reply = self.request(
            "POST", "/api/submit", {"command": "sleep 60", "registry_image": BUSYBOX, **submission}
        )
        assert reply.status == 202, reply.body
        found: str = reply.json()["task_ids"][0]
        return found

    def objects(self) -> Counter[str]:
        """Count the objects of all kinds that the facade writes."""
        return Counter(
            {
                kind.kind: len(self.cluster.admin.json("GET", kind.path())["items"])
                for kind in (one.kind for one in RESOURCES)
            }
        )

    def _host_takes_work(self) -> bool:
        host = self.cluster.admin.find(HOST.path(name=HOST_NAME)) or {}
        return all(condition(host, kind).get("status") == "True" for kind in ("Ready", "Approved"))
