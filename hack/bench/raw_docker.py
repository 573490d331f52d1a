"""The same container by the Docker SDK alone: create, start, wait, remove."""

import time
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import docker

from weir_crds.task import TaskSpec
from weir_nodedaemon.engines.docker.objects import create_body
from weir_nodedaemon.engines.port import ContainerDefaults
from weir_nodedaemon.kinds.task.container import container_spec
from weir_nodedaemon.machine.capacity import capacity


@dataclass(frozen=True)
class RawTimes:
    """How long each call took, in seconds."""

    create: float
    start: float
    wait: float
    remove: float

    @property
    def total(self) -> float:
        """All four."""
        return self.create + self.start + self.wait + self.remove

    @property
    def to_start(self) -> float:
        """Until the process ran."""
        return self.create + self.start


def body_of(task: Mapping[str, Any], host: str, pool: tuple[int, ...]) -> dict[str, Any]:
    """Return what the daemon asks Docker for when it runs a Task: every option the same.

    Args:
        task: the Task, bound.
        host: label of the container's host; another than the daemon's own, which would else
            take the container for an orphan.
        pool: the host's cores, for a Task without cores of its own.
    """
    spec = container_spec(
        task,
        TaskSpec.model_validate(task["spec"]),
        {},
        defaults=ContainerDefaults(host),
        pool=pool,
        memory_nodes=capacity().memory_nodes,
    )
    return create_body(spec, host)


def run_one(client: docker.APIClient, body: Mapping[str, Any]) -> RawTimes:
    """Run one container to its end and remove it."""
    times = [time.perf_counter()]
    made = client.create_container_from_config(  # type: ignore[no-untyped-call]
        body, name=f"raw-{uuid.uuid4().hex}"
    )
    times.append(time.perf_counter())
    client.start(made["Id"])
    times.append(time.perf_counter())
    client.wait(made["Id"])
    times.append(time.perf_counter())
    client.remove_container(made["Id"], v=True)
    times.append(time.perf_counter())
    create, start, wait, remove = (after - before for before, after in pairwise(times))
    return RawTimes(create, start, wait, remove)


def run_many(client: docker.APIClient, body: Mapping[str, Any], count: int, threads: int) -> float:
    """Run containers in that many threads; return how long all of them took, in seconds."""
    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(run_one, client, body) for _ in range(count)]:
            done.result()
    return time.perf_counter() - began
