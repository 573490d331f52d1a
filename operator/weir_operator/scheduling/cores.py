"""Which of a NUMA node's free cores a request gets: whole physical cores first. Pure."""

from collections.abc import Collection, Iterable
from heapq import nsmallest
from itertools import chain


def choose_cores(
    free: Collection[int],
    count: int,
    siblings: Collection[tuple[int, ...]] = (),
    slower: Collection[int] = (),
) -> list[int]:
    """Return so many of the free cores, fewer if there are not as many.

    Cores of one make go together, the faster ones first. Of each make physical cores go whole, so
    that nobody else runs on a thread of them; what is left over begins another free one, and only
    where none is left shares one with somebody.

    Args:
        free: the cores that may be chosen.
        count: how many are wanted.
        siblings: the cores of each physical core that has several; one that is in none is whole.
        slower: the cores that are slower by make.
    """
    if not siblings and not slower:
        return nsmallest(count, free)
    fast = [core for core in free if core not in slower]
    slow = [core for core in free if core in slower]
    for alike in (fast, slow):
        if count <= len(alike):
            return _of_one_make(alike, count, siblings)
    return _of_one_make(fast, count, siblings) + _of_one_make(slow, count - len(fast), siblings)


def _of_one_make(free: Collection[int], count: int, groups: Iterable[tuple[int, ...]]) -> list[int]:
    whole: list[tuple[int, ...]] = []
    broken: list[int] = []
    alone = set(free)
    for group in groups:
        left = tuple(sorted(alone.intersection(group)))
        alone.difference_update(left)
        if len(left) == len(group):
            whole.append(left)
        else:
            broken += left
    whole = sorted(whole + [(core,) for core in alone])
    chosen: list[int] = []
    rest: list[tuple[int, ...]] = []
    for physical in whole:
        if len(physical) <= count - len(chosen):
            chosen += physical
        else:
            rest.append(physical)
    further = chain(*sorted(rest, key=lambda physical: (len(physical), physical)), sorted(broken))
    chosen += [core for core, _ in zip(further, range(max(0, count - len(chosen))), strict=False)]
    return sorted(chosen)
