"""The whole of Weir as real processes: operator, node daemons, control plane, Docker."""

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from devcluster import components
from devcluster.components import Component
from devcluster.hosts import Share
from devcluster.identities import Identities
from devcluster.rest import MERGE_PATCH, Rest, RestError
from support.cluster import Cluster
from support.containers import Containers, Watcher
from support.polling import eventually
from support.process import Keeper, Process
from support.tasks import condition
from weir_crds.kinds import HOST, TASK

_READY_SECONDS = 60.0


class WeirSystem:
    """Operator and one daemon per host, on a test's cluster and Docker.

    Components go by ``operator``, ``daemon`` (of the first host) and ``daemon-<n>`` (from 1).
    """

    def __init__(
        self,
        cluster: Cluster,
        docker_host: str,
        shares: list[Share],
        *,
        identities: Identities | None = None,
        docker_of_daemons: str | None = None,
        restart_seconds: float = 1.0,
    ) -> None:
        self.cluster = cluster
        identities = identities or cluster.identities
        run = uuid.uuid4().hex[:6]
        self.hosts = [f"{run}-{number}" for number in range(1, len(shares) + 1)]
        self._containers = Containers(docker_host, self.hosts)
        self._components: dict[str, Component] = {
            "operator": components.operator(identities, cluster.ports, log_level="debug")
        }
        for number, (host, share) in enumerate(zip(self.hosts, shares, strict=True), start=1):
            folder = cluster.state.root / "hosts" / host
            folder.mkdir(parents=True)
            self._components[f"daemon-{number}"] = components.node_daemon(
                host,
                share,
                docker_host=docker_of_daemons or docker_host,
                folder=folder,
                identities=identities,
                ports=cluster.ports,
                log_level="debug",
            )
        self._keeper = Keeper(restart_seconds)
        self._processes = {
            name: Process(component.program, cluster.state.log_of(component.program.name))
            for name, component in self._components.items()
        }

    # --- processes

    def start_all(self) -> None:
        """Start what does not run, and wait until all hosts can be given work."""
        for process in self._processes.values():
            self._keeper.start(process)
        for name in self._components:
            self._wait_ready(name)
        for host in self.hosts:
            eventually(partial(self._host_ready, host), f"{host} is Ready", _READY_SECONDS)

    def begin_anew(self) -> None:
        """Have every part run and no work anywhere, whatever an earlier test has left.

        A container that outlives its Task is an error, and removed, so that it is one only once.
        """
        self.cluster.start_apiserver()
        self.start_all()
        left = self.cluster.admin.json("GET", TASK.path())["items"]
        for namespace in {each["metadata"]["namespace"] for each in left}:
            self.cluster.admin.request("DELETE", TASK.path(namespace))
        try:
            self.wait_no_containers()
        except AssertionError:
            self._containers.remove_all()
            raise

    def start(self, component: str) -> None:
        """Start a component, wait until it answers its probe, and keep it running."""
        self._keeper.start(self.process(component))
        self._wait_ready(self._name(component))

    def rest(self) -> None:
        """Stop what runs, and take the hosts away: until ``start_all`` there is no Weir here."""
        running = [name for name, process in self._processes.items() if process.running()]
        for name in running:
            self.stop(name)
        if running:
            for host in self.hosts:
                self.cluster.admin.request("DELETE", HOST.path(name=host))

    def stop(self, component: str) -> None:
        """End a component by TERM."""
        self._keeper.release(self.process(component))
        self.process(component).stop()

    def kill(self, component: str) -> None:
        """kill -9; it stays dead until it is started."""
        self._keeper.release(self.process(component))
        self.process(component).kill()

    def restart(self, component: str) -> None:
        """kill -9, and start again."""
        self.kill(component)
        self.start(component)

    def process(self, component: str) -> Process:
        """Return the process of a component."""
        return self._processes[self._name(component)]

    def log_tail(self, component: str, lines: int = 15) -> str:
        """Return the end of a component's log."""
        program = self._components[self._name(component)].program
        return self.cluster.runner.log_tail(program.name, lines)

    def close(self) -> None:
        """Stop all, and remove the containers that are left."""
        self._keeper.close()
        for process in self._processes.values():
            process.stop()
        self._containers.remove_all()
        self._containers.close()

    # --- resources

    def create(self, obj: dict[str, Any]) -> dict[str, Any]:
        """Create a Task with strict validation; return what the API server stored."""
        path = _tasks(obj["metadata"]["namespace"])
        return self.cluster.admin.json("POST", f"{path}?fieldValidation=Strict", obj)

    def get(self, namespace: str, name: str) -> dict[str, Any]:
        """Return a Task; without a status yet, ``status`` is an empty dict."""
        return {"status": {}, **self.cluster.admin.json("GET", _tasks(namespace, name))}

    def patch_spec(self, namespace: str, name: str, **changes: Any) -> None:
        """Change fields of a Task's spec."""
        self.cluster.admin.request(
            "PATCH", _tasks(namespace, name), {"spec": changes}, content_type=MERGE_PATCH
        )

    def wait_finished(self, namespace: str, name: str, timeout: float = 60) -> dict[str, Any]:
        """Wait for a Task's end, and return it."""
        seen: dict[str, Any] = {}

        def finished() -> bool:
            seen.update(self.get(namespace, name))
            return "finishedAt" in seen["status"]

        eventually(finished, lambda: f"{name} ends; last seen: {seen}", timeout)
        return seen

    def wait_condition(
        self, namespace: str, name: str, kind: str, status: str, timeout: float = 60
    ) -> dict[str, Any]:
        """Wait until a Task's condition has that status, and return the condition."""

        def reached() -> dict[str, Any]:
            seen = self.get(namespace, name)
            found = condition(seen, kind)
            assert found.get("status") == status, seen["status"]
            return found

        return eventually(reached, f"{name}: {kind}={status}", timeout)

    # --- Docker

    def containers(self, uid: str | None = None) -> list[dict[str, Any]]:
        """Return our containers as Docker lists them, of one Task if its uid is given."""
        return self._containers.list(uid)

    def wait_no_containers(self, uid: str | None = None, timeout: float = 60) -> None:
        """Wait until there are none, of one Task if its uid is given."""

        def none_left() -> bool:
            left = self.containers(uid)
            assert not left, left
            return True

        eventually(none_left, "no container is left", timeout)

    def watch_containers(self) -> Watcher:
        """Return a Watcher of what Docker starts, to be entered."""
        return self._containers.watch()

    # --- command lines

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl as administrator; a failure raises with what it said."""
        return self.cluster.kubectl(*arguments)

    def kubectl_weir(self, *arguments: str, timeout: float = 60) -> bytes:
        """Run ``kubectl weir``; return its output, or fail with what it said."""
        done = subprocess.run(
            (*components.kubectl_plugin(), *arguments),
            env=self._plugin_env(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout

    @contextmanager
    def follow_logs(self, namespace: str, name: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run ``kubectl weir logs -f``, killed at the end if it still runs."""
        process = subprocess.Popen(
            (*components.kubectl_plugin(), "logs", "-f", "-n", namespace, name),
            env=self._plugin_env(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def _plugin_env(self) -> dict[str, str]:
        program_env = self._components["operator"].program.env
        return os.environ | program_env | {"KUBECONFIG": str(self.cluster.admin_kubeconfig)}

    def _name(self, component: str) -> str:
        return "daemon-1" if component == "daemon" else component

    def _wait_ready(self, name: str) -> None:
        rest = Rest(f"http://{self._components[name].health}")
        eventually(
            lambda: rest.answers("/readyz"),
            lambda: f"{name} is ready; {self.log_tail(name)}",
            _READY_SECONDS,
        )

    def _host_ready(self, host: str) -> bool:
        try:
            seen = self.cluster.admin.json("GET", f"/apis/weir.dev/v1alpha1/hosts/{host}")
        except RestError:
            return False
        return condition(seen, "Ready").get("status") == "True"

    # Last: it hides the builtin from annotations below it.
    def list(self, namespace: str) -> list[dict[str, Any]]:
        """Return the Tasks of a namespace."""
        found: list[dict[str, Any]] = self.cluster.admin.json("GET", _tasks(namespace))["items"]
        return found


def _tasks(namespace: str, name: str = "") -> str:
    return f"/apis/weir.dev/v1alpha1/namespaces/{namespace}/tasks/{name}".rstrip("/")
