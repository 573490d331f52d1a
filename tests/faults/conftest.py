"""A Weir of this package's own, where everything may be killed: control plane, Docker, parts.

What these tests do can be turned up by the environment:

- ``WEIR_TEST_SEED``: any text; other moments and other faults than those of every day.
- ``WEIR_TEST_EXAMPLES=0-999``: so many sequences of faults; ``7-7`` plays one again.
- ``WEIR_TEST_FREEZE_SECONDS=60``: how long a leader stands still.
"""

import os
import sys
from collections.abc import Iterator

import pytest

from devcluster import dockerd, image
from devcluster.hosts import Share
from support.cluster import Cluster, OwnCluster
from support.faulty_system import FaultySystem
from support.polling import eventually


@pytest.fixture(scope="package")
def world(own_cluster: OwnCluster) -> Iterator[Cluster]:
    """A real API server with CRDs, roles and policies, and nothing that acts on them."""
    with own_cluster("f", dockerd.clean_up) as started:
        yield started


@pytest.fixture(scope="package")
def own_docker(world: Cluster) -> str:
    """URL of a Docker daemon that may be killed: its containers live on (live-restore)."""
    host = dockerd.find_or_start(world.state, world.runner, own=True).host
    image.ensure_busybox(host)
    return host


@pytest.fixture(scope="package")
def system_processes(world: Cluster, own_docker: str) -> Iterator[FaultySystem]:
    """Weir with one host of two cores, and a proxy before every server."""
    two_cores = Share(tuple(sorted(os.sched_getaffinity(0))[:2]), memory_mib=None)
    system = FaultySystem(world, own_docker, two_cores)
    yield system
    system.close()


@pytest.fixture
def system(
    world: Cluster, own_docker: str, system_processes: FaultySystem
) -> Iterator[FaultySystem]:
    """The whole of Weir without any fault, every part running, no work left."""
    world.runner["dockerd"].start()
    eventually(lambda: dockerd.answers(own_docker), "dockerd answers")
    system_processes.heal()
    system_processes.begin_anew()
    yield system_processes
    system_processes.heal()
    for left in system_processes.containers():
        sys.stderr.write(f"left: {left['Names']} {left['State']} {left['Status']}\n")
    for component in ("operator", "daemon"):
        sys.stderr.write(
            system_processes.log_tail(component, 40)
        )  # pytest shows it after a failure


@pytest.fixture
def faulty_namespace(world: Cluster) -> Iterator[str]:
    """A fresh namespace of that Weir, where host paths may be mounted."""
    name = world.create_namespace({"weir.dev/allow-privileged": "true"})
    yield name
    world.delete_namespace(name)
