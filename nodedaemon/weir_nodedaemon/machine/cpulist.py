"""The kernel's list format for cores and NUMA nodes: ``0-3,8``."""

from collections.abc import Iterable

from weir_crds.errors import WeirError


class InvalidCpuListError(WeirError):
    """A text is no list of cores such as ``0-3,8``."""

    reason = "InvalidCpuList"


_MAX_CORES = 1 << 16


def parse_cpulist(text: str) -> tuple[int, ...]:
    """Return the numbers of a list such as ``0-3,8``, sorted and each once; ``""`` is ``()``.

    Raises:
        InvalidCpuListError: it is malformed, or a range runs backwards.
    """
    numbers: set[int] = set()
    for part in text.strip().split(","):
        item = part.strip()
        if not item:
            continue
        first, dash, last = item.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InvalidCpuListError(f"{text.strip()!r} is no list of cores such as 0-3,8")
        low, high = int(first), int(last if dash else first)
        if high < low or high >= _MAX_CORES:
            raise InvalidCpuListError(f"{item!r} is no range of cores")
        numbers.update(range(low, high + 1))
    return tuple(sorted(numbers))


def format_cpulist(cpus: Iterable[int]) -> str:
    """Return the shortest list text of these numbers: ``(3, 0, 1, 2, 8)`` is ``0-3,8``."""
    ranges: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if ranges and cpu == ranges[-1][1] + 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)
