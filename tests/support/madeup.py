"""Hosts that are nothing but a status, and what a daemon would write of Tasks on them."""

import asyncio
import datetime as dt
from typing import Any

from weir_crds import conditions
from weir_crds.kinds import HOST, TASK
from weir_crds.phase import phase_of
from weir_crds.times import now_rfc3339
from weir_kube.api import Api
from weir_kube.errors import ConflictError
from weir_kube.kinds import LEASE
from weir_kube.status import patch_status

Object = dict[str, Any]
GIB = 2**30


def numa_capacity(nodes: int, cores: int, memory_gib: int = 64, gpus: int = 0) -> Object:
    """Return a capacity of so many NUMA nodes with so many cores each, GPUs dealt out evenly."""
    return {
        "cpus": nodes * cores,
        "memory": f"{memory_gib}Gi",
        "numa": [
            {
                "id": node,
                "cpus": [*range(node * cores, (node + 1) * cores)],
                "memory": f"{memory_gib // nodes}Gi",
                "distances": [10 if other == node else 21 for other in range(nodes)],
            }
            for node in range(nodes)
        ],
        "gpus": [
            {"index": index, "uuid": f"GPU-{index}", "name": "made up", "numaNode": index % nodes}
            for index in range(gpus)
        ],
    }


async def create_host(api: Api, name: str, capacity: Object, **spec: Any) -> Object:
    """Create a Host that says it is ready, as its daemon would; approval is the operator's."""
    host = await api.create(
        HOST, {"metadata": {"name": name}, "spec": {"approval": "Pending", **spec}}
    )
    return await report(api, host, capacity=capacity)


async def report(api: Api, host: Object, capacity: Object | None = None, **statuses: str) -> Object:
    """Write what a daemon says of its Host: Ready and DockerReady, unless told otherwise."""
    while True:
        status = host.get("status", {})
        found = status.get("conditions", [])
        for kind, value in ({"Ready": "True", "DockerReady": "True"} | statuses).items():
            found = conditions.set_condition(
                found,
                kind,
                value,
                "DaemonReady",
                "made up",
                now=dt.datetime.now(dt.UTC),
                observed_generation=None,
            )
        changes = {"capacity": capacity or status.get("capacity"), "conditions": found}
        try:
            return await patch_status(api, HOST, host, changes)
        except ConflictError:  # the operator was faster
            host = await api.get(HOST, host["metadata"]["name"])


async def renew_lease(api: Api, name: str) -> None:
    """Renew a host's Lease once."""
    spec = {"holderIdentity": name, "leaseDurationSeconds": 40}
    spec |= {"renewTime": now_rfc3339(dt.datetime.now(dt.UTC))}
    if not any(lease["metadata"]["name"] == name for lease in (await leases(api))):
        await api.create(LEASE, {"metadata": {"name": name}, "spec": spec}, "weir-system")
    else:
        await api.patch(LEASE, name, {"spec": spec}, "weir-system")


async def leases(api: Api) -> list[Object]:
    """Return all Leases of the system."""
    return (await api.list(LEASE, "weir-system")).items


async def finish(api: Api, task: Object, exit_code: int = 0) -> Object:
    """Write the end of a bound Task, as its daemon would."""
    now = dt.datetime.now(dt.UTC)
    status = task["status"]
    good = exit_code == 0
    changes: Object = {
        "startedAt": now_rfc3339(now),
        "finishedAt": now_rfc3339(now),
        "exitCode": exit_code,
        "conditions": conditions.set_condition(
            status["conditions"],
            "Succeeded",
            "True" if good else "False",
            "Completed" if good else "NonZeroExit",
            "made up",
            now=now,
            observed_generation=task["metadata"]["generation"],
        ),
    }
    changes["phase"] = phase_of(task["spec"], {**status, **changes})
    return await patch_status(api, TASK, task, changes)


async def create_tasks(api: Api, tasks: list[Object], at_once: int = 16) -> None:
    """Create Tasks, so many at a time."""
    gate = asyncio.Semaphore(at_once)

    async def create(task: Object) -> None:
        async with gate:
            await api.create(TASK, task, task["metadata"]["namespace"])

    async with asyncio.TaskGroup() as group:
        for task in tasks:
            group.create_task(create(task))


async def tasks_in(api: Api, namespace: str) -> dict[str, Object]:
    """Return a namespace's Tasks by name."""
    return {one["metadata"]["name"]: one for one in (await api.list(TASK, namespace)).items}
