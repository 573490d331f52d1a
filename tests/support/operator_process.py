"""The operator as a process, on a control plane whose hosts are made up."""

import re
import sys
from pathlib import Path

import psutil

from devcluster.components import OPERATOR_PROGRAM, operator
from devcluster.identities import OPERATOR
from devcluster.rest import Rest
from devcluster.supervise import Program
from support.cluster import Cluster
from support.polling import eventually
from support.process import Process


class OperatorProcess:
    """Starts, kills and asks one operator. A second one needs another ``name``."""

    def __init__(
        self,
        cluster: Cluster,
        *flags: str,
        name: str = OPERATOR_PROGRAM,
        kubeconfig: Path | None = None,
    ) -> None:
        self.cluster = cluster
        described = operator(cluster.identities, cluster.ports).program
        port = cluster.ports.get(name)
        argv = (
            sys.executable,
            "-m",
            "weir_operator",
            f"--kubeconfig={kubeconfig or cluster.kubeconfig_for(OPERATOR)}",
            f"--listen=127.0.0.1:{port}",
            *flags,
        )
        self.name = name
        self._program = Program(name, argv, described.env)
        self._http = Rest(f"http://127.0.0.1:{port}")

    def start(self) -> None:
        """Start it, if it does not run."""
        self.cluster.runner.ensure(self._program)

    def wait_ready(self, timeout: float = 60) -> None:
        """Wait until it leads and its caches are full."""
        eventually(lambda: self.leads() and self.ready(), self.log_tail, timeout)

    def ready(self) -> bool:
        """Tell whether it says that it is ready."""
        return self._http.answers("/readyz")

    def alive(self) -> bool:
        """Tell whether it says that it lives."""
        return self._http.answers("/healthz")

    def leads(self) -> bool:
        """Tell whether it says that it leads."""
        return self.alive() and self.metric("weir_operator_leader") == 1

    def metric(self, name: str) -> float:
        """Return the value of a metric, labels and all; 0 when it is not there."""
        text = self._http.request("GET", "/metrics").decode()
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def running(self) -> bool:
        """Tell whether the process runs."""
        return self._process.running()

    def stop(self) -> int:
        """Stop it as a supervisor would; returns its exit status."""
        return self._process.stop()

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()

    def cpu_seconds(self) -> float:
        """Return the processor time it has used."""
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    def rss_mib(self) -> float:
        """Return its resident memory."""
        return float(psutil.Process(self._process.pid).memory_info().rss / 2**20)

    def log_tail(self) -> str:
        """Return the end of its log."""
        return self.cluster.runner.log_tail(self.name, 30)

    @property
    def _process(self) -> Process:
        return self.cluster.runner[self.name]
