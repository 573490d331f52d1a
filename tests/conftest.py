"""The real things that tests run against, each started once, when the first test asks for it.

Several workers may run tests side by side (``pytest -n 4``), each with things of its own. A missing
engine fails the test that needs it; nothing is skipped. What a run leaves on the machine is an
error of the run.
"""

import os
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from devcluster import dockerd, image
from devcluster.hosts import Share
from devcluster.state import State
from support import registries, run, side_by_side
from support.cluster import Cluster, OwnCluster
from support.cluster import own_cluster as start_own_cluster
from support.process import ProcessRunner
from support.weir_system import WeirSystem

# Whoever starts a run in the background may have it ignore these, and every child inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# How long an example takes is a matter of what else the machine does.
settings.register_profile(
    "weir", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("weir")

_WEIR = pytest.StashKey[WeirSystem]()
_END_RUN = pytest.StashKey[Callable[[], list[str]]]()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> side_by_side.Scheduling:
    """Share the tests out among workers."""
    return side_by_side.make_scheduler(config, log)


@pytest.hookimpl(tryfirst=True)  # before -m looks at the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is quick; begin with what takes longest, if there are several workers."""
    for item in items:
        starts_servers = "new_state" in getattr(item, "fixturenames", ())
        if not (starts_servers or item.get_closest_marker("docker")):
            item.add_marker(pytest.mark.quick)
    if _is_worker(config):
        items[:] = side_by_side.begin_order(items)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Give the run its folder; workers find it there.

    The logs of all processes are kept in ``.pytest_cache/weir-logs`` after a failure, and always in
    ``$WEIR_TEST_LOGS`` if that is set.
    """
    config = session.config
    if run.RUN_ENV in os.environ or config.option.collectonly:  # a worker, or one of many runs
        return

    def keep_logs() -> Path | None:
        if wanted := os.environ.get("WEIR_TEST_LOGS"):
            return Path(wanted)
        return config.rootpath / ".pytest_cache" / "weir-logs" if session.testsfailed else None

    config.stash[_END_RUN] = run.begin_run(keep_logs)


@pytest.hookimpl(wrapper=True, trylast=True)  # after the workers and the fixtures have ended
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    """End the run; what it has left on the machine is an error."""
    yield
    end = session.config.stash.get(_END_RUN, None)
    if end is not None and (left := end()):
        text = "\n".join(["This run of the tests has left on the machine:", *left])
        place = ("tests/conftest.py", None, "what the run leaves")
        report = pytest.TestReport("what the run leaves", place, {}, "failed", text, "teardown")
        session.config.hook.pytest_runtest_logreport(report=report)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


@pytest.fixture(scope="session")
def new_state() -> run.NewState:
    """Makes state directories; see ``support.run.new_state``. Without one no server is started."""
    return run.new_state


@pytest.fixture(scope="session")
def own_cluster(new_state: run.NewState) -> OwnCluster:
    """Starts control planes; see ``support.cluster.own_cluster``."""
    return start_own_cluster


@pytest.fixture(scope="session")
def state(new_state: run.NewState) -> Iterator[State]:
    """A state directory of this worker."""
    with new_state("all") as made:
        yield made


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
    weir_processes.begin_anew()
    return weir_processes


@pytest.fixture(autouse=True)
def alone(request: pytest.FixtureRequest) -> None:
    """Nothing acts on the objects of a test that did not ask for Weir, whatever ran before it."""
    system = request.session.stash.get(_WEIR, None)
    if system is not None and "weir_processes" not in request.fixturenames:
        system.rest()


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
