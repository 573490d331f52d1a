"""What a bound Task holds, where, and on whose account. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weir_crds.demand import holding_of
from weir_crds.names import LABEL_OWNER


@dataclass(frozen=True, slots=True)
class Allocation:
    """What one bound or assumed Task holds on its host.

    ``shared_millis`` is None for a Task with cores of its own, else its share of the shared pool
    (0 is a share too: it needs the pool to exist).
    """

    host: str
    owner: str
    cpus: tuple[int, ...] = ()
    numa_node: int | None = None
    shared_millis: int | None = None
    memory_bytes: int = 0
    gpus: tuple[int, ...] = ()

    @property
    def cpu_millis(self) -> int:
        """Its cpu, however it is had."""
        return self.shared_millis if self.shared_millis is not None else 1000 * len(self.cpus)


def allocation_of(task: Mapping[str, Any]) -> Allocation:
    """Return what a bound Task holds, by its status.

    Raises:
        InvalidQuantityError: a quantity that the CRD should have refused.
    """
    holding = holding_of(task)
    return Allocation(
        host=task["status"]["nodeName"],
        owner=owner_of(task),
        cpus=holding.cpus,
        numa_node=holding.numa_node,
        shared_millis=holding.shared_millis,
        memory_bytes=holding.memory_bytes,
        gpus=holding.gpus,
    )


def owner_of(task: Mapping[str, Any]) -> str:
    """Return who shares fairly with whom: the owner by label, else the namespace."""
    metadata = task["metadata"]
    owner = (metadata.get("labels") or {}).get(LABEL_OWNER)
    return f"owner:{owner}" if owner else f"namespace:{metadata['namespace']}"
