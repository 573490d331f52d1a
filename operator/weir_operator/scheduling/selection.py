"""Which hosts are open to one that waits, and who is next on a host that got room. No I/O."""

from collections.abc import Iterable, Set

from weir_crds.demand import Request
from weir_crds.host_state import HostState
from weir_operator.scheduling.drain import Drain
from weir_operator.scheduling.ledger import Ledger
from weir_operator.scheduling.place import offer_of
from weir_operator.scheduling.queue import Pending, PendingQueue, Share, Spare


def open_hosts(ledger: Ledger, pending: Pending, drain: Drain | None) -> Iterable[HostState]:
    """Go through the hosts that may have room and are kept free for nobody else."""
    hosts = ledger.candidates(pending.request)
    if drain is None or drain.pending.uid == pending.uid:
        return hosts
    return (state for state in hosts if state.name != drain.host)


def next_on_host(
    state: HostState, queue: PendingQueue, share: Share, drain: Drain | None, barred: Set[str]
) -> Pending | None:
    """Return the first that waits and fits on a host that got room; it stays in the queue.

    Args:
        state: the host.
        queue: what waits.
        share: tells how much an owner has already.
        drain: a host that is kept free is for that one alone.
        barred: owners that are passed over.
    """
    facts = state.facts
    if facts is None or facts.obstacles or not state.cores_free:
        return None  # even one without cores of its own needs a shared one
    if drain is not None and drain.host == state.name:
        current = queue.get(drain.pending.uid)
        if current is None or current.owner in barred:
            return None
        return current if offer_of(current.request, state) else None
    gpus = sum(not state.holders_of_gpu(gpu.index) for gpu in facts.gpus)
    spare = Spare(state.cores_free, state.memory_free, gpus)
    unfit: set[Request] = set()

    def fits(request: Request) -> bool:
        if request in unfit:
            return False
        if offer_of(request, state) is None:
            unfit.add(request)
            return False
        return True

    return queue.next_for_host(state.name, share, spare, fits, barred)
