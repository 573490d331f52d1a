"""A fresh control plane with Weir's processes, for one benchmark."""

import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import docker

from bench.usage import cpu_seconds, own_cpu_seconds
from devcluster import components, dockerd, image, leftovers
from devcluster.cluster import Cluster
from devcluster.components import Component
from devcluster.hosts import Share
from devcluster.processes import Process, ProcessRunner
from devcluster.rest import Rest, RestError
from devcluster.state import State, locked
from devcluster.supervise import wait_for
from weir_crds.kinds import HOST

OPERATOR = components.OPERATOR_PROGRAM
CONTROL_PLANE = ("kube-apiserver", "etcd", "kube-controller-manager")
_READY_SECONDS = 120.0
_WHOLE_MACHINE = Share(None, None)


@contextmanager
def fresh_system() -> Iterator["System"]:
    """Start a control plane of its own, and leave nothing of it or what ran on it."""
    state = State(Path(tempfile.mkdtemp(prefix="weir-bench-", dir="/tmp")))
    with locked(state):
        runner = ProcessRunner(state)
        system = System(Cluster(state, runner, durable=True))
        try:
            system.cluster.start()
            yield system
        finally:
            system.close()
            runner.stop_all()
            dockerd.clean_up(state)
            shutil.rmtree(state.root)


class System:
    """Weir's components on a control plane, started and stopped as a benchmark needs them."""

    def __init__(self, cluster: Cluster) -> None:
        """Start nothing yet."""
        self.cluster = cluster
        self._run = uuid.uuid4().hex[:6]  # tells our hosts from others that share a Docker
        self._components: dict[str, Component] = {}
        self._docker_host = ""
        self._hosts: list[str] = []

    @property
    def runner(self) -> ProcessRunner:
        """What runs the processes."""
        return self.cluster.runner

    @property
    def docker_host(self) -> str:
        """URL of a Docker daemon that has the image: the one that answers, else a new one."""
        if not self._docker_host:
            found = dockerd.find_or_start(self.cluster.state, self.runner)
            image.ensure_busybox(found.host)
            self._docker_host = found.host
        return self._docker_host

    def docker_client(self) -> docker.APIClient:
        """Return a new connection to that Docker."""
        return docker.APIClient(self.docker_host, version="auto", timeout=120)

    def host_names(self, count: int) -> list[str]:
        """Return names for new hosts, which no other run has."""
        known = len(self._hosts)
        names = [f"bench-{self._run}-{number}" for number in range(known + 1, known + count + 1)]
        self._hosts += names
        return names

    def start_operator(self) -> None:
        """Start it and wait until it is ready."""
        self._ensure(
            OPERATOR, lambda: components.operator(self.cluster.identities, self.cluster.ports)
        )
        self.wait_ready(OPERATOR)

    def start_docker_daemon(self, host: str) -> None:
        """Start the daemon of one host that has the whole machine; wait until it may be used."""
        self._start_daemons([host], self.docker_host)

    def start_fake_daemons(self, hosts: list[str], cores: int) -> None:
        """Start daemons whose engine only pretends, one process each; wait until all are ready.

        Args:
            hosts: their names.
            cores: how many each has, in four NUMA nodes if they can be shared so.
        """
        sysfs = self.cluster.state.root / f"sysfs-{cores}"
        write_sysfs(sysfs, cores)
        fake = ("--engine=fake", f"--sysfs-root={sysfs}")
        self._start_daemons(hosts, "unix:///nonexistent", fake)

    def start_facade(self) -> str:
        """Start it and wait until it is ready; return its URL."""
        cluster, name = self.cluster, components.FACADE_PROGRAM
        self._ensure(name, lambda: components.facade(cluster.identities, cluster.ports))
        self.wait_ready(name)
        return f"http://127.0.0.1:{cluster.ports.get(name)}"

    def process(self, name: str) -> Process:
        """Return the process of a program."""
        return self.runner[name]

    def pid_of_daemon(self, host: str) -> int:
        """Return the process id of a host's daemon."""
        return self.runner[components.daemon_program(host)].pid

    @property
    def weir_programs(self) -> list[str]:
        """Names of operator, daemons and facade."""
        return [*self._components]

    def stop(self, programs: Iterable[str]) -> None:
        """Stop programs."""
        for name in programs:
            self.runner[name].stop()

    def reset(self) -> None:
        """Stop all of Weir, and leave no host to which a Task could be bound."""
        self.stop(reversed(self._components))
        self._components.clear()
        self.cluster.admin.request("DELETE", HOST.path())

    def forget_runs(self, hosts: list[str]) -> None:
        """Remove what daemons, which do not run, keep of runs."""
        for host in hosts:
            shutil.rmtree(self._folder(host), ignore_errors=True)

    def cpu_seconds(self) -> dict[str, float]:
        """Return how much CPU time each running program has used, and ``bench``, this process."""
        running = self.runner.running().items()
        return {name: cpu_seconds(one.pid) for name, one in running} | {"bench": own_cpu_seconds()}

    def metrics(self, program: str) -> dict[str, float]:
        """Return a component's metrics by name with labels."""
        text = self._probe(program).request("GET", "/metrics").decode()
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def wait_ready(self, program: str) -> float:
        """Wait until a component answers its readiness probe; return for how many seconds."""
        ready = partial(self._probe(program).answers, "/readyz")
        return wait_for(self.runner, program, ready, _READY_SECONDS)

    def is_ready(self, program: str) -> bool:
        """Tell whether a component answers its readiness probe."""
        return self._probe(program).answers("/readyz")

    def close(self) -> None:
        """Stop all of Weir, and remove the containers that are left."""
        self.stop(reversed(self._components))
        if self._docker_host:
            leftovers.remove_containers(self._docker_host, [*self._hosts, self.raw_host])

    @property
    def raw_host(self) -> str:
        """The host label of containers that are made without Weir."""
        return f"bench-{self._run}-raw"

    def _start_daemons(
        self, hosts: list[str], docker_host: str, more: tuple[str, ...] = ()
    ) -> None:
        for host in hosts:
            folder = self._folder(host)
            folder.mkdir(parents=True, exist_ok=True)
            make = partial(
                components.node_daemon,
                host,
                _WHOLE_MACHINE,
                docker_host=docker_host,
                folder=folder,
                identities=self.cluster.identities,
                ports=self.cluster.ports,
                arguments=more,
            )
            self._ensure(components.daemon_program(host), make)
        for host in hosts:
            name = components.daemon_program(host)
            self.wait_ready(name)
            wait_for(self.runner, name, partial(self._host_is_ready, host), _READY_SECONDS)

    def _ensure(self, name: str, make: Callable[[], Component]) -> None:
        if name not in self._components:
            self._components[name] = make()
        self.runner.ensure(self._components[name].program)

    def _folder(self, host: str) -> Path:
        return self.cluster.state.root / "hosts" / host

    def _host_is_ready(self, host: str) -> bool:
        try:
            found = self.cluster.admin.json("GET", HOST.path(name=host))
        except RestError:
            return False
        told = {c["type"]: c["status"] for c in found.get("status", {}).get("conditions", [])}
        return told.get("Ready") == "True" and found["spec"].get("approval") == "Approved"

    def _probe(self, program: str) -> Rest:
        return Rest(f"http://{self._components[program].health}")


def write_sysfs(root: Path, cores: int) -> None:
    """Write what a kernel shows of that many cores, in four NUMA nodes if they can be shared so."""
    nodes = 4 if cores >= 4 and cores % 4 == 0 else 1
    each = cores // nodes
    files = {
        "devices/system/cpu/online": f"0-{cores - 1}",
        "devices/system/node/online": f"0-{nodes - 1}",
    }
    for node in range(nodes):
        folder = f"devices/system/node/node{node}"
        files[f"{folder}/cpulist"] = f"{node * each}-{node * each + each - 1}"
        files[f"{folder}/meminfo"] = f"Node {node} MemTotal: {1024 * 1024} kB"
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
