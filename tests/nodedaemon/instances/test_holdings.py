"""Who may start: local exclusivity of cores, GPUs and memory, and the shared pool."""

import random

import pytest

from weir_nodedaemon.engines.port import InstanceState, ObservedInstance
from weir_nodedaemon.instances.holdings import (
    EXCLUSIVE,
    LABEL_CPU_POOL,
    SHARED,
    Claim,
    Holdings,
    HostShare,
)

GIB = 2**30


def claim(*cpus: int, memory: int = 0, gpus: tuple[str, ...] = ()) -> Claim:
    return Claim(frozenset(cpus), memory, frozenset(gpus))


def seen(
    name: str,
    *cpus: int,
    state: str = "running",
    memory: int | None = None,
    shared: bool = False,
    gpus: tuple[str, ...] = (),
) -> dict[str, ObservedInstance]:
    container = ObservedInstance(
        name=name,
        labels={LABEL_CPU_POOL: SHARED if shared else EXCLUSIVE},
        state=InstanceState(state),
        cpus=cpus,
        memory_bytes=memory,
        gpu_uuids=gpus,
    )
    return {name: container}


def holdings(*, reserved: tuple[int, ...] = ()) -> Holdings:
    return Holdings(HostShare(frozenset(range(4)), 8 * GIB, frozenset(reserved), GIB))


REFUSALS = [
    ("its core is free", claim(0), seen("a", 1), None),
    ("its core runs another", claim(0, 1), seen("a", 1, 2), "core 1 still in use by a"),
    ("a paused one holds its cores", claim(0, 1), seen("a", 0, 1, state="paused"),
     "cores 0, 1 still in use by a"),
    ("one that is being removed still holds them", claim(0), seen("a", 0, state="removing"),
     "core 0 still in use by a"),
    ("one that has exited holds nothing", claim(0), seen("a", 0, state="exited"), None),
    ("one that is not started holds nothing", claim(0), seen("a", 0, state="created"), None),
    ("its own container holds nothing against it", claim(0), seen("me", 0), None),
    ("shared ones move out of the way", claim(0), seen("a", 0, 1, 2, 3, shared=True), None),
    ("but keep one core", claim(0, 1, 2, 3), seen("a", 0, 1, 2, 3, shared=True),
     "no core would be left for the shared pool"),
    ("nobody shares: all cores may go", claim(0, 1, 2, 3), {}, None),
    ("a shared start beside exclusive ones", claim(), seen("a", 0, 1, 2), None),
    ("a shared start with no core left", claim(), seen("a", 0, 1, 2, 3),
     "no core would be left for the shared pool"),
    ("memory fits", claim(0, memory=3 * GIB), seen("a", 1, memory=4 * GIB), None),
    ("memory does not fit beside another", claim(0, memory=4 * GIB), seen("a", 1, memory=4 * GIB),
     "memory is still in use by other containers"),
    ("alone it may have more than there is", claim(0, memory=9 * GIB), seen("a", 1), None),
    ("its GPU runs another", claim(0, gpus=("g0",)), seen("a", 1, gpus=("g0", "g1")),
     "a GPU is still in use by a"),
    ("its GPU is free", claim(0, gpus=("g2",)), seen("a", 1, gpus=("g0", "g1")), None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "observed", "refusal"), [r[1:] for r in REFUSALS], ids=[r[0] for r in REFUSALS]
)
def test_a_start_waits_for_what_others_hold(
    wanted: Claim, observed: dict[str, ObservedInstance], refusal: str | None
) -> None:
    held = holdings()

    assert held.assume("me", wanted, observed) == refusal
    assert held.is_assumed("me") == (refusal is None)


def test_of_two_starts_one_waits_before_either_has_a_container() -> None:
    held = holdings()

    assert held.assume("a", claim(0, 1), {}) is None
    assert held.assume("b", claim(1, 2), {}) == "core 1 still in use by a"
    assert held.release("a")
    assert held.assume("b", claim(1, 2), {}) is None
    assert not held.release("a")


def test_assuming_again_changes_nothing() -> None:
    held = holdings()

    assert held.assume("a", claim(0), {}) is None
    assert held.assume("a", claim(0), {}) is None


def test_the_pool_is_what_is_neither_reserved_nor_taken() -> None:
    held = holdings(reserved=(0,))
    assert held.pool({}) == (1, 2, 3)

    held.assume("a", claim(2), {})
    assert held.pool(seen("b", 3)) == (1,)
    assert held.pool(seen("b", 1, 2, 3, shared=True)) == (1, 3)


def test_the_pool_is_never_empty() -> None:
    """An administrator may reserve what is in use: then a core is shared with its owner."""
    held = holdings(reserved=(0, 1, 2))

    assert held.pool(seen("a", 3)) == (3,)


def test_random_starts_and_ends_never_share_a_core() -> None:
    chance = random.Random(1)
    held = holdings()
    running: dict[str, ObservedInstance] = {}
    for step in range(5000):
        name = f"c{step % 12}"
        if name in running:
            del running[name]
            continue
        cpus = chance.sample(range(4), chance.randrange(4))
        if held.assume(name, claim(*cpus), running) is None:
            pool = held.pool(running)
            running |= seen(name, *(cpus or pool), shared=not cpus)
            held.release(name)
        exclusive = [c for n in running for c in running[n].cpus if not _shares(running[n])]
        assert len(exclusive) == len(set(exclusive))
        if any(_shares(container) for container in running.values()):
            assert set(held.pool(running)).isdisjoint(exclusive)


def _shares(container: ObservedInstance) -> bool:
    return container.labels[LABEL_CPU_POOL] == SHARED


def test_what_a_host_does_not_have_any_more_is_named() -> None:
    """Of GPUs nothing is known until they were looked at."""
    here = Holdings(HostShare(frozenset({0, 1}), GIB, gpu_uuids=frozenset({"GPU-a"})))
    unknown = Holdings(HostShare(frozenset({0, 1}), GIB))
    gone = Claim(frozenset({0}), 0, frozenset({"GPU-b", "GPU-a"}))

    assert here.lacking(Claim(frozenset({0, 1}), 0, frozenset({"GPU-a"}))) == ""
    assert here.lacking(Claim(frozenset({1, 2, 3}), 0)) == "cores 2, 3 cannot be used any more"
    assert here.lacking(gone) == "GPU GPU-b cannot be used any more"
    assert unknown.lacking(gone) == ""


def test_a_gpu_is_free_that_is_there_and_nobodys() -> None:
    here = Holdings(HostShare(frozenset({0}), GIB, gpu_uuids=frozenset({"GPU-a", "GPU-b"})))
    assert here.assume("weir-u-1", Claim(frozenset(), 0, frozenset({"GPU-a"})), {}) is None

    assert here.free_gpus(("GPU-a", "GPU-b", "GPU-lost"), {}) == ("GPU-b",)
