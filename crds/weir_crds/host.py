"""The Host: a machine that runs Tasks."""

from typing import Annotated, Literal

from pydantic import Field

from weir_crds.daemon_endpoint import URL_PATTERN
from weir_crds.kinds import HOST
from weir_crds.meta import Conditions, Generation, ObjectMeta
from weir_crds.schema import (
    Column,
    Component,
    CoreID,
    GPUIndex,
    Immutable,
    Integer,
    ListAtomic,
    ListMap,
    ListSet,
    Model,
    NumaNodeID,
    Quantity,
    Resource,
)

LEASE_SECONDS = 40
"""A host whose Lease was not renewed for so long is not known to be alive."""

Cores = Annotated[list[CoreID], ListSet(), Field(max_length=4096)]
Siblings = Annotated[list[CoreID], ListSet(), Field(max_length=16)]
Count = Annotated[Integer, Field(ge=0, le=2**31 - 1)]
Word = Annotated[str, Field(max_length=256)]


class Reserved(Model):
    """What is never given to work."""

    cpus: Cores = Field(default_factory=list)
    """Cores to keep free of work, by id."""
    memory: Quantity = 0
    """Memory to keep free of work."""


class HostSpec(Model):
    """What an administrator wants of the machine."""

    unschedulable: bool = False
    """True: cordoned, no new work is placed here; running work stays. May change."""
    reserved: Reserved = Field(default_factory=Reserved)
    """What is never given to work. May change."""
    approval: Literal["Pending", "Approved", "Rejected"] = "Pending"
    """Whether work may be placed here. A daemon always creates its Host as Pending; the operator
    approves by itself unless it is told not to (--no-approve-hosts). May change."""
    host_id: (
        Annotated[
            str,
            Field(pattern=r"^[0-9a-fA-F][-0-9a-fA-F]*$", max_length=64),
            Immutable(),
        ]
        | None
    ) = None
    """Id of the machine, made by its daemon: two machines cannot share a name unnoticed. Fixed at
    creation."""
    external: Annotated[bool, Immutable()] | None = None
    """True: a runner of another make reports for it over REST, and no daemon of ours is there: no
    work is placed on it. Fixed at creation."""


class NumaNode(Model):
    """A NUMA node: cores and the memory next to them."""

    id: NumaNodeID
    """Number of the node."""
    cpus: Cores
    """Its cores, by id."""
    memory: Quantity = 0
    """Its memory."""
    distances: Annotated[
        list[Annotated[Integer, Field(ge=0, le=65535)]], ListAtomic(), Field(max_length=1024)
    ] = Field(default_factory=list)
    """Distance to each node, in the nodes' order; 10 is itself."""


class GPU(Model):
    """A GPU of the machine."""

    index: GPUIndex
    """Index on this host; it stays until the machine boots again."""
    uuid: Annotated[str, Field(max_length=128)]
    """The device's own id, for good."""
    name: Word = ""
    """Product name."""
    pci_address: Word = ""
    """Address on the PCI bus, such as 0000:3b:00.0."""
    numa_node: NumaNodeID | None = None
    """The NUMA node it is attached to. Absent: not known."""
    memory: Quantity = 0
    """Its memory."""
    driver: Word = ""
    """Version of its driver."""


class Capacity(Model):
    """What the machine has, and its daemon may use."""

    cpus: Count = 0
    """Number of cores."""
    memory: Quantity = 0
    """Memory."""
    numa: Annotated[list[NumaNode], ListMap("id"), Field(max_length=256)] = Field(
        default_factory=list
    )
    """Its NUMA nodes with their cores; a machine without NUMA has one."""
    thread_siblings: Annotated[list[Siblings], ListAtomic(), Field(max_length=2048)] | None = None
    """The cores that are hardware threads of one physical core, a list for each of these; work gets
    whole physical cores first. Absent: each core is one."""
    efficiency_cpus: Cores | None = None
    """Cores that are slower by make than the others, by id. Absent: all are alike."""
    gpus: Annotated[list[GPU], ListMap("index"), Field(max_length=64)] = Field(default_factory=list)
    """Its GPUs that answer; the condition GPUReady names those that are lost."""


class Allocated(Model):
    """What is given to work, summed up for people; no decision reads it."""

    cpus: Count = 0
    """Cores that are some Task's own."""
    memory: Quantity = 0
    """Sum of the memory limits."""
    gpus: Annotated[list[GPUIndex], ListSet(), Field(max_length=64)] = Field(default_factory=list)
    """GPUs in use, by index."""
    tasks: Count = 0
    """Number of Tasks that are bound and not finished."""
    vpses: Count = 0
    """Number of VPSes that are bound."""


class Engine(Model):
    """An engine that runs containers or virtual machines."""

    name: Annotated[str, Field(min_length=1, max_length=63)]
    """docker, qemu, or fake in tests."""
    version: Word = ""
    """Its version."""
    ready: bool
    """Whether it answers and can be used."""
    accel: Word | None = None
    """How guests run, as it was probed: kvm or tcg. Virtual machines only."""
    message: Annotated[str, Field(max_length=1024)] | None = None
    """Why it is not ready, or not as fast as it could be."""


class Endpoint(Model):
    """Where the daemon serves logs and figures."""

    url: Annotated[str, Field(pattern=URL_PATTERN, max_length=512)]
    """HTTPS address: a name or an IP address, and a port; nothing else."""
    fingerprint: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]
    """SHA-256 of its certificate (DER), which callers must compare."""


RunnerURL = Annotated[str, Field(pattern=r"^https?://[!-~]+$", max_length=512)]


class Address(Model):
    """An address of the machine."""

    type: Annotated[str, Field(min_length=1, max_length=63)]
    """InternalIP, ExternalIP or Hostname."""
    address: Word
    """The address itself."""


class HostInfo(Model):
    """What machine and system this is."""

    boot_id: Word = ""
    """Changes with every boot."""
    machine_id: Word = ""
    """/etc/machine-id."""
    os: Word = ""
    """Name of the operating system."""
    kernel: Word = ""
    """Version of the kernel."""
    architecture: Word = ""
    """Such as amd64."""
    daemon_version: Word = ""
    """Version of the node daemon."""


class HostStatus(Model):
    """What the daemon found out, and what the operator makes of it."""

    observed_generation: Generation | None = None
    """The metadata.generation that this status is about."""
    capacity: Capacity | None = None
    """What the machine has, and its daemon may use."""
    allocated: Allocated | None = None
    """What is given to work, summed up for people."""
    engines: Annotated[list[Engine], ListMap("name"), Field(max_length=8)] | None = None
    """The engines of the machine."""
    endpoint: Endpoint | None = None
    """Where the daemon serves logs and figures."""
    runner_url: RunnerURL | None = None
    """Where the runner of an external Host says that it is reached; nothing is sent there."""
    addresses: Annotated[list[Address], ListAtomic(), Field(max_length=32)] | None = None
    """The machine's addresses; a type may stand more than once."""
    info: HostInfo | None = None
    """What machine and system this is."""
    orphans: (
        Annotated[list[Annotated[str, Field(max_length=64)]], ListSet(), Field(max_length=1024)]
        | None
    ) = None
    """Uids of what was left on the machine when it was given up, to be removed if it returns."""
    conditions: Conditions | None = None
    """What was observed: Ready (daemon; operator when the Lease expired), DockerReady, QemuReady,
    GPUReady, DiskPressure, StartsFailing (daemon), Approved, KeptFree (operator)."""


class Host(Model):
    """A machine that runs Tasks; it has the machine's name."""

    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: HostSpec = Field(default_factory=HostSpec)
    """What an administrator wants of the machine."""
    status: HostStatus = Field(default_factory=HostStatus)
    """What the daemon found out, and what the operator makes of it."""


RESOURCE = Resource(
    kind=HOST,
    model=Host,
    singular="host",
    short_names=("wh",),
    columns=(
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status', "Whether it is there."),
        Column("Approval", ".spec.approval", "Whether work may be placed here."),
        Column("Cordoned", ".spec.unschedulable", "Whether new work is kept away.", type="boolean"),
        Column("CPUs", ".status.capacity.cpus", "Number of cores.", type="integer"),
        Column("Used", ".status.allocated.cpus", "Cores that are some Task's own.", type="integer"),
        Column("Memory", ".status.capacity.memory", "Memory of the machine."),
        Column("GPU", ".status.capacity.gpus[0].name", "Product name of the first GPU."),
        Column("Tasks", ".status.allocated.tasks", "Number of Tasks on it.", type="integer"),
        Column("Age", ".metadata.creationTimestamp", "When it was made.", type="date"),
        Column(
            "Reason",
            '.status.conditions[?(@.type=="Ready")].reason',
            "Why it is ready, or not.",
            wide=True,
        ),
        Column(
            "Engine", ".status.engines[?(@.ready==true)].name", "The first ready engine.", wide=True
        ),
        Column("Address", ".status.addresses[0].address", "Its first address.", wide=True),
        Column("Kernel", ".status.info.kernel", "Version of its kernel.", wide=True),
        Column("Version", ".status.info.daemonVersion", "Version of its daemon.", wide=True),
    ),
    watched_by=frozenset(Component),
)
