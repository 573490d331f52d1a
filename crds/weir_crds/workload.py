"""What a Task runs with, and later a VPS too: resources, placement, environment, mounts."""

from typing import Annotated, Literal

from pydantic import Field

from weir_crds.quantities import cpu_millis, memory_bytes
from weir_crds.schema import (
    AbsolutePath,
    GPUIndex,
    Integer,
    LabelSelector,
    ListSet,
    Model,
    NumaNodeID,
    ObjectName,
    PositiveQuantity,
    Quantity,
    Rule,
    Text,
)


class KeySelector(Model):
    """A key of a Secret or ConfigMap in the Task's own namespace."""

    name: ObjectName
    """Name of the Secret or ConfigMap."""
    key: Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$", min_length=1, max_length=253)]
    """Key within its data."""


class EnvVarSource(Model):
    """Where a value comes from."""

    rules = (
        Rule(
            "has(self.secretKeyRef) != has(self.configMapKeyRef)",
            "exactly one of secretKeyRef and configMapKeyRef must be set",
            holds=lambda s: (s.secret_key_ref is None) != (s.config_map_key_ref is None),
        ),
    )

    secret_key_ref: KeySelector | None = None
    """A key of a Secret. The daemon may read it where the ClusterRole weir-secrets is bound."""
    config_map_key_ref: KeySelector | None = None
    """A key of a ConfigMap. The daemon may read it where the ClusterRole weir-secrets is bound."""


class EnvVar(Model):
    """An environment variable: a value, or where it comes from."""

    rules = (
        Rule(
            "!(has(self.value) && has(self.valueFrom))",
            "value and valueFrom exclude each other",
            holds=lambda e: e.value is None or e.value_from is None,
        ),
    )

    name: Annotated[str, Field(pattern=r"^[^=\x00]+$", min_length=1, max_length=256)]
    """Name of the variable."""
    value: Annotated[Text, Field(max_length=32768)] | None = None
    """The value itself, as it is: nothing is expanded. Without value and valueFrom: empty."""
    value_from: EnvVarSource | None = None
    """Where the value comes from, read when the container is made."""


class GPURequest(Model):
    """Whole GPUs for this Task alone: any number of them, or these."""

    rules = (
        Rule(
            "has(self.count) != has(self.indices)",
            "exactly one of count and indices must be set",
            holds=lambda g: (g.count is None) != (g.indices is None),
        ),
    )

    count: Annotated[Integer, Field(ge=0, le=64)] | None = None
    """How many, whichever are free."""
    indices: Annotated[list[GPUIndex], ListSet(), Field(min_length=1, max_length=64)] | None = None
    """Which ones, by their index on the host. Needs placement.hostName."""


class Resources(Model):
    """What the container may use, and what its host must have free."""

    cpu: Quantity = 1
    """A whole number: that many cores, its own and pinned. A fraction such as 500m: that share of
    the cores that nobody owns. 0: those same cores, without a limit. Write 500m, not 0.5: YAML
    makes 0.5 a float, which is refused (a quoted "0.5" works)."""
    memory: PositiveQuantity | None = None
    """Hard limit, such as 8Gi; hosts are packed by it. Absent: no limit."""
    gpus: GPURequest | None = None
    """Whole GPUs, for this Task alone. Absent: none."""
    shm_size: PositiveQuantity | None = None
    """Size of /dev/shm, such as 1Gi. Absent: the engine's default (64Mi)."""
    ephemeral_storage: PositiveQuantity | None = None
    """Most that the container may write to its own file system, mounts aside, such as 20Gi. Held to
    where the host's storage can do that; elsewhere the host measures it and says when it is more.
    Absent: no limit."""
    pids: Annotated[Integer, Field(ge=16, le=32768)] | None = None
    """Most processes and threads at a time, hard. Absent: the host's default (4096)."""

    @property
    def exclusive_cores(self) -> int:
        """Number of cores to pin: the cpu count where it is whole, else 0."""
        millis = cpu_millis(self.cpu)
        return millis // 1000 if millis % 1000 == 0 else 0

    @property
    def shared_millis(self) -> int:
        """Quota on the shared cores in millicores: the cpu count where it is a fraction, else 0."""
        millis = cpu_millis(self.cpu)
        return millis if millis % 1000 else 0

    @property
    def memory_bytes(self) -> int | None:
        """The memory limit in bytes; None: no limit."""
        return None if self.memory is None else memory_bytes(self.memory)

    @property
    def layer_bytes(self) -> int | None:
        """The limit of what the container writes in bytes; None: no limit."""
        return None if self.ephemeral_storage is None else memory_bytes(self.ephemeral_storage)

    @property
    def shm_bytes(self) -> int | None:
        """The size of /dev/shm in bytes; None: the engine's default."""
        return None if self.shm_size is None else memory_bytes(self.shm_size)

    @property
    def gpu_count(self) -> int:
        """How many GPUs are asked for, by count or by index."""
        if self.gpus is None:
            return 0
        return len(self.gpus.indices) if self.gpus.indices else self.gpus.count or 0


class Placement(Model):
    """Which hosts may run it. Everything that is given must hold."""

    host_name: ObjectName | None = None
    """The one Host to run on. Absent: any."""
    host_selector: LabelSelector = Field(default_factory=dict)
    """Labels that the Host must have. Absent: none."""
    numa_node: NumaNodeID | None = None
    """The one NUMA node whose cores to use. Absent: one node if it fits in one, else spread."""


class Mount(Model):
    """A folder or file of the host inside the container."""

    host_path: AbsolutePath
    """Absolute path on the host."""
    mount_path: AbsolutePath
    """Absolute path in the container."""
    read_only: bool = False
    """Whether the container may not write to it."""


class Network(Model):
    """How the container is connected."""

    mode: Literal["Bridge", "Host", "None"] = "Bridge"
    """Bridge: an address of its own behind the host. Host: the host's own network (needs the label
    weir.dev/allow-privileged=true on the namespace). None: loopback only."""


class AssignedGPU(Model):
    """A GPU that the Task has for itself."""

    index: GPUIndex
    """Index on the host."""
    uuid: Annotated[str, Field(max_length=128)]
    """The device's own id, such as GPU-8f5b…; it stays when indices change."""
