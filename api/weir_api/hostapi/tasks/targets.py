"""Where a submission wants its Tasks: ``host[:numa][::gpu,gpu]``. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from weir_api.errors import BadRequestError

MAX_TARGETS = 256

_GPUS = re.compile(r"[0-9]{1,6}(,[0-9]{1,6})*")
_NUMBER = re.compile(r"[0-9]{1,6}")


class BadTargetError(BadRequestError):
    """One target cannot be read; the others may be good."""

    reason = "BadTarget"


@dataclass(frozen=True, slots=True)
class Target:
    """One host of which a Task is wanted; each Task of a submission has one."""

    text: str
    """As it was sent."""
    host: str
    numa_node: int | None = None
    gpus: tuple[int, ...] = ()


def parse_target(text: str, gpus: Sequence[int] = ()) -> Target:
    """Return what a target means.

    Args:
        text: ``n1``, ``n1:0`` (NUMA node 0), ``n1::0,1`` (GPUs 0 and 1), ``n1:0::0,1``.
        gpus: the GPUs that ``required_gpus`` names for it.

    Raises:
        BadTargetError: it cannot be read, or names other GPUs than ``gpus``.
    """
    place, separator, gpu_text = text.partition("::")
    host, _, rest = place.partition(":")
    if not host:
        raise BadTargetError("a target begins with the name of a host")
    numa_text = rest.partition(":")[0]  # what follows a second colon never meant anything
    numa_node = None
    if ":" in place:
        if not _NUMBER.fullmatch(numa_text):
            raise BadTargetError(f"{numa_text[:20]!r} is not the number of a NUMA node")
        numa_node = int(numa_text)
    wanted = tuple(sorted(set(gpus)))
    if separator:
        if not _GPUS.fullmatch(gpu_text):
            raise BadTargetError(f"{gpu_text[:40]!r} is not a list of GPUs such as 0,1")
        named = tuple(sorted({int(number) for number in gpu_text.split(",")}))
        if wanted and wanted != named:
            raise BadTargetError("the target names other GPUs than required_gpus")
        wanted = named
    return Target(text, host, numa_node, wanted)
