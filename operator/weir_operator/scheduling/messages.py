"""What people read about placing: where a Task went, or why it waits. Pure.

No clock and no counts of what is free, so that an unchanged state gives an unchanged message.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from weir_crds.conditions import Reason
from weir_crds.demand import Request
from weir_crds.fit import Lack
from weir_operator.scheduling.place import Placement

_NAMED = 5


@dataclass(frozen=True, slots=True)
class WaitReport:
    """Why a workload is not bound: reason and message of ``Scheduled=False``."""

    reason: Reason
    message: str


def ranges(numbers: Iterable[int]) -> str:
    """Return numbers in the kernel's list format: ``2-5,8``."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][-1] + 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)


def bound_message(placement: Placement) -> str:
    """Return the message of ``Scheduled=True``: ``n1, cores 2-5 (NUMA 0), gpu 0``."""
    parts = [placement.host]
    if placement.cpus:
        word = "core" if len(placement.cpus) == 1 else "cores"
        parts.append(f"{word} {ranges(placement.cpus)} (NUMA {ranges(placement.nodes)})")
    else:
        parts.append("shared cores")
    if placement.gpus:
        parts.append(f"gpu {ranges(gpu.index for gpu in placement.gpus)}")
    return ", ".join(parts)


def wait_report(
    request: Request, lacks: Mapping[str, Lack], drained_host: str | None = None
) -> WaitReport:
    """Return why no host takes a request: ``0/3 hosts: 2 lack cpu (n1, n2), 1 cordoned (n3)``.

    Args:
        request: what is asked for.
        lacks: what each host lacks most; those of no concern (of foreign programs, or not the one
            that is asked for by name) are not in it.
        drained_host: the host that is kept free for this one until it has room.
    """
    if not lacks and request.host_name is not None:
        return WaitReport(Reason.UNSCHEDULABLE, f"there is no Host {request.host_name}")
    if not lacks:
        return WaitReport(Reason.NO_HOSTS, "there is no Host yet")
    if drained_host is not None:
        reason = Reason.DRAINING_HOST
    elif all(one.never for one in lacks.values()):
        reason = Reason.UNSCHEDULABLE
    elif any(one.available and not one.never for one in lacks.values()):
        reason = Reason.INSUFFICIENT_CAPACITY
    else:
        reason = Reason.NO_HOSTS
    drained = f"; {drained_host} takes nothing else until it has room" if drained_host else ""
    return WaitReport(reason, f"0/{len(lacks)} hosts: {_counted(lacks)}{drained}")


def _counted(lacks: Mapping[str, Lack]) -> str:
    by_words: defaultdict[str, list[str]] = defaultdict(list)
    for name, lack in sorted(lacks.items()):
        by_words[lack.words].append(name)
    parts = []
    for words, names in sorted(by_words.items(), key=lambda item: (-len(item[1]), item[0])):
        more = ", …" if len(names) > _NAMED else ""
        parts.append(f"{len(names)} {words} ({', '.join(names[:_NAMED])}{more})")
    return ", ".join(parts)
