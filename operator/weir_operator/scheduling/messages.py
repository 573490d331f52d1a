"""What people read about placing: where a Task went, or why it waits. Pure.

No clock and no counts of what is free, so that an unchanged state gives an unchanged message.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from weir_crds.conditions import Reason
from weir_crds.demand import Request
from weir_operator.scheduling.place import HostRefusal, Placement, Refusal

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


def wait_report(request: Request, refusal: Refusal) -> WaitReport:
    """Return why no host takes a request: ``0/3 hosts: 2 lack cpu (n1, n2), 1 cordoned (n3)``."""
    if not refusal.hosts:
        return WaitReport(Reason.NO_HOSTS, "there is no Host yet")
    if request.host_name is not None and request.host_name not in refusal.hosts:
        message = f"0/{len(refusal.hosts)} hosts: there is no Host {request.host_name}"
        return WaitReport(Reason.UNSCHEDULABLE, message)
    refusals = refusal.hosts.values()
    if all(one.never for one in refusals):
        reason = Reason.UNSCHEDULABLE
    elif any(one.available and not one.never for one in refusals):
        reason = Reason.INSUFFICIENT_CAPACITY
    else:
        reason = Reason.NO_HOSTS
    return WaitReport(reason, f"0/{len(refusal.hosts)} hosts: {_counted(refusal.hosts)}")


def _counted(hosts: Mapping[str, HostRefusal]) -> str:
    by_words: defaultdict[str, list[str]] = defaultdict(list)
    for name, refusal in sorted(hosts.items()):
        by_words[refusal.words].append(name)
    parts = []
    for words, names in sorted(by_words.items(), key=lambda item: (-len(item[1]), item[0])):
        more = ", …" if len(names) > _NAMED else ""
        parts.append(f"{len(names)} {words} ({', '.join(names[:_NAMED])}{more})")
    return ", ".join(parts)
