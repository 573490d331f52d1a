"""What the daemon has to know of an engine before there is one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from weir_crds.conditions import ConditionType
from weir_nodedaemon.engines.port import ContainerEngine


class EngineSettings(Protocol):
    """What of the daemon's settings engines are made from."""

    @property
    def host_name(self) -> str:
        """The Host whose containers these are."""
        ...

    @property
    def docker_host(self) -> str:
        """Where Docker answers."""
        ...


@dataclass(frozen=True, slots=True)
class EngineType:
    """An engine of containers that ``--engine`` may choose.

    Attributes:
        name: on the command line, and in the Host's status.
        ready_condition: of the Host; True while the engine answers.
        make: returns the engine, which connects at its first call.
        peer: returns the process whose cgroup bounds what containers can have, beside the daemon's
            own; None: it cannot be seen from here, or there is none.
        uses_gpus: whether containers can be given GPUs.
    """

    name: str
    ready_condition: ConditionType
    make: Callable[[EngineSettings], ContainerEngine]
    peer: Callable[[EngineSettings], int | None]
    uses_gpus: bool
