"""Builders for the scheduler's books."""

from typing import Any

from weir_crds.capacity import Gpu
from weir_crds.demand import Holding, Request
from weir_crds.facts import HostFacts, Obstacle
from weir_crds.fit import lacks
from weir_operator.scheduling.ledger import Allocation, Ledger
from weir_operator.scheduling.place import Placement, place

GIB = 2**30


def facts(
    name: str,
    *,
    nodes: int = 2,
    cores: int = 4,
    memory_gib: int = 64,
    gpus: int = 0,
    unavailable: str | None = None,
    **fields: Any,
) -> HostFacts:
    """Return a host of so many NUMA nodes of so many cores each, GPUs dealt out evenly."""
    return HostFacts(
        name=name,
        numa={node: frozenset(range(node * cores, (node + 1) * cores)) for node in range(nodes)},
        memory_bytes=memory_gib * GIB,
        gpus=tuple(Gpu(index, f"GPU-{index}", index % nodes) for index in range(gpus)),
        obstacles=(Obstacle(unavailable),) if unavailable else (),
        **{"ready_engines": frozenset({"docker"}), **fields},
    )


def ledger_of(*hosts: HostFacts) -> Ledger:
    """Return a ledger of these hosts, all empty."""
    ledger = Ledger()
    for host in hosts:
        ledger.set_host(host.name, host)
    return ledger


def cpu(cores: float, **fields: Any) -> Request:
    """Return a request for so many cores."""
    return Request(cpu_millis=int(cores * 1000), **fields)


def put(ledger: Ledger, uid: str, request: Request, owner: str = "namespace:a") -> Placement:
    """Place a request that must fit, and note it."""
    result = place(request, ledger.known_hosts())
    assert result is not None, refused(ledger, request)
    ledger.hold(uid, Allocation(result.holding(request), owner, "Task"))
    return result


def hold(ledger: Ledger, uid: str, host: str, *cpus: int, **fields: Any) -> None:
    """Note that a Task holds these cores, wherever ``place`` would have put it."""
    ledger.hold(uid, Allocation(Holding(host, cpus, **fields), "namespace:a", "Task"))


def refused(ledger: Ledger, request: Request) -> dict[str, str]:
    """Return what each host lacks most; empty when one takes the request."""
    hosts = ledger.known_hosts()
    if place(request, hosts) is not None:
        return {}
    return {state.name: lacks(request, state)[0].words for state in hosts}
