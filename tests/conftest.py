"""The real things that tests run against, each started once, when the first test asks for it.

A missing engine fails the test that needs it; nothing is skipped.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcluster import dockerd, image
from devcluster.hosts import Share
from devcluster.state import State, locked
from support import registries
from support.cluster import Cluster
from support.process import ProcessRunner
from support.weir_system import WeirSystem

_STATE_PREFIX = Path("/tmp/weir-test-")
_WEIR = pytest.StashKey[WeirSystem]()


@pytest.fixture(scope="session")
def state(request: pytest.FixtureRequest) -> Iterator[State]:
    """A state directory of this test run: short, because unix sockets are made in it.

    After a failure the logs of all processes are kept in ``.pytest_cache/weir-logs``.
    """
    dockerd.sweep(_STATE_PREFIX)
    folder = State(Path(tempfile.mkdtemp(prefix=str(_STATE_PREFIX))))
    with locked(folder):
        yield folder
        kept = request.config.rootpath / ".pytest_cache" / "weir-logs"
        shutil.rmtree(kept, ignore_errors=True)
        if request.session.testsfailed:
            shutil.copytree(folder.log, kept)
        shutil.rmtree(folder.root)


@pytest.fixture(scope="session")
def runner(state: State) -> Iterator[ProcessRunner]:
    """Runs processes for the whole session; stops what is left of them at its end."""
    processes = ProcessRunner(state)
    yield processes
    processes.stop_all()


@pytest.fixture(scope="session")
def cluster(state: State, runner: ProcessRunner) -> Cluster:
    """A real API server with CRDs, roles and admission policies in force."""
    started = Cluster(state, runner)
    started.start()
    return started


@pytest.fixture(scope="session")
def docker_host(state: State) -> Iterator[str]:
    """URL of a real Docker daemon: the one that answers, else one of this run's own."""
    processes = ProcessRunner(state)
    docker = dockerd.find_or_start(state, processes)
    yield docker.host
    processes.stop_all()
    dockerd.clean_up(state)


@pytest.fixture(scope="session")
def busybox_image(docker_host: str) -> str:
    """Name of an image with busybox, there without any registry."""
    image.ensure_busybox(docker_host)
    return image.BUSYBOX


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A fresh namespace."""
    name = cluster.create_namespace()
    yield name
    cluster.delete_namespace(name)


@pytest.fixture(scope="session")
def weir_processes(
    request: pytest.FixtureRequest, cluster: Cluster, docker_host: str, busybox_image: str
) -> Iterator[WeirSystem]:
    """Weir with one host of two cores."""
    two_cores = Share(tuple(sorted(os.sched_getaffinity(0))[:2]), memory_mib=None)
    system = WeirSystem(cluster, docker_host, [two_cores])
    request.session.stash[_WEIR] = system
    yield system
    system.close()


@pytest.fixture
def weir(weir_processes: WeirSystem) -> WeirSystem:
    """The whole of Weir, every part running and no work left from an earlier test."""
    weir_processes.start_all()
    weir_processes.wait_no_containers()
    return weir_processes


@pytest.fixture
def no_operator(request: pytest.FixtureRequest) -> None:
    """No operator decides about the objects of this test, whichever tests came before it."""
    system = request.session.stash.get(_WEIR, None)
    if system is not None and system.process("operator").running():
        system.stop("operator")


@pytest.fixture(scope="session")
def registry(cluster: Cluster) -> Iterator[str]:
    """``host:port`` of a real image registry."""
    folder = cluster.state.root / "registry"
    with registries.real_registry(folder, cluster.ports.get("registry")) as address:
        yield address


@pytest.fixture
def stuck_registry() -> Iterator[str]:
    """``host:port`` of a registry that takes connections and never answers."""
    with registries.stuck_registry() as address:
        yield address
