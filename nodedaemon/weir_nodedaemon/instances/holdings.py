"""Who holds which cores and how much memory of this host. Pure, but for what it remembers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from weir_crds.names import LABEL_CPU_POOL
from weir_nodedaemon.engines.port import InstanceState, ObservedInstance

SHARED = "shared"
EXCLUSIVE = "exclusive"

_HOLDING = (InstanceState.RUNNING, InstanceState.PAUSED, InstanceState.REMOVING)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a container needs for itself. No cores: it runs on the shared pool."""

    cpus: frozenset[int]
    memory_bytes: int
    gpu_uuids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class HostShare:
    """What the daemon may give to work."""

    cpus: frozenset[int]
    memory_bytes: int
    reserved_cpus: frozenset[int] = frozenset()
    reserved_memory_bytes: int = 0
    gpu_uuids: frozenset[str] | None = None  # None: not known yet


class Holdings:
    """Local exclusivity: what running containers hold, and what starts under way will hold.

    ``assume`` decides and takes note in one synchronous step, so of two starts that want the same
    core one waits, whatever the operator believes.
    """

    def __init__(self, share: HostShare) -> None:
        """Begin with nothing assumed."""
        self.share = share
        self._assumed: dict[str, Claim] = {}

    def lacking(self, claim: Claim) -> str:
        """Return what of a claim this host does not have (any more), in words; empty: nothing.

        No wait helps: whoever bound the claim here did not know yet.
        """
        cores = sorted(claim.cpus - self.share.cpus)
        if cores:
            return f"{_cores(cores)} cannot be used any more"
        known = self.share.gpu_uuids
        gpus = [] if known is None else sorted(claim.gpu_uuids - known)
        return f"GPU {', '.join(gpus)} cannot be used any more" if gpus else ""

    def assume(
        self, name: str, claim: Claim, observed: Mapping[str, ObservedInstance]
    ) -> str | None:
        """Take what a start needs; return None, or why it has to wait and take nothing."""
        others = {n: c for n, c in self._held(observed).items() if n != name}
        refusal = self._refusal(claim, others)
        if refusal is None:
            self._assumed[name] = claim
        return refusal

    def is_assumed(self, name: str) -> bool:
        """Tell whether a start under way holds something."""
        return name in self._assumed

    def release(self, name: str) -> bool:
        """Give back what a start assumed; False when there was nothing."""
        return self._assumed.pop(name, None) is not None

    def free_gpus(
        self, gpus: Iterable[str], observed: Mapping[str, ObservedInstance]
    ) -> tuple[str, ...]:
        """Return those of some GPUs that this host has, and that nobody holds."""
        held = frozenset().union(*(claim.gpu_uuids for claim in self._held(observed).values()))
        known = self.share.gpu_uuids
        return tuple(one for one in gpus if one not in held and (known is None or one in known))

    def pool(self, observed: Mapping[str, ObservedInstance]) -> tuple[int, ...]:
        """Return the cores of the shared pool: all less reserved less exclusive, at least one."""
        taken = frozenset().union(*(claim.cpus for claim in self._held(observed).values()))
        free = self._pool(taken)
        return free or (max(self.share.cpus - self.share.reserved_cpus or self.share.cpus),)

    def _pool(self, taken: Iterable[int]) -> tuple[int, ...]:
        return tuple(sorted(self.share.cpus - self.share.reserved_cpus - frozenset(taken)))

    def _held(self, observed: Mapping[str, ObservedInstance]) -> dict[str, Claim]:
        held = {name: _claim_of(c) for name, c in observed.items() if c.state in _HOLDING}
        return held | self._assumed

    def _refusal(self, claim: Claim, others: Mapping[str, Claim]) -> str | None:
        for name in sorted(others):
            shared = sorted(claim.cpus & others[name].cpus)
            if shared:
                return f"{_cores(shared)} still in use by {name}"
            if claim.gpu_uuids & others[name].gpu_uuids:
                return f"a GPU is still in use by {name}"
        room = self.share.memory_bytes - self.share.reserved_memory_bytes
        used = sum(other.memory_bytes for other in others.values())
        if claim.memory_bytes and used and used + claim.memory_bytes > room:
            return "memory is still in use by other containers"
        taken = claim.cpus.union(*(other.cpus for other in others.values()))
        someone_shares = not claim.cpus or any(not other.cpus for other in others.values())
        if someone_shares and not self._pool(taken):
            return "no core would be left for the shared pool"
        return None


def is_shared(container: ObservedInstance) -> bool:
    """Tell whether a container runs on the shared pool."""
    return container.labels.get(LABEL_CPU_POOL) == SHARED


def _claim_of(container: ObservedInstance) -> Claim:
    return Claim(
        cpus=frozenset() if is_shared(container) else frozenset(container.cpus),
        memory_bytes=container.memory_bytes or 0,
        gpu_uuids=frozenset(container.gpu_uuids),
    )


def _cores(cpus: list[int]) -> str:
    word = "core" if len(cpus) == 1 else "cores"
    return f"{word} {', '.join(map(str, cpus))}"
