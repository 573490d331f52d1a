"""The cache of containers: a look that began earlier never overwrites a later one."""

import asyncio
from typing import Any, cast

from weir_nodedaemon.engines.port import ContainerEngine, InstanceState, ObservedInstance
from weir_nodedaemon.instances.observations import Observations

CREATED, RUNNING = InstanceState.CREATED, InstanceState.RUNNING


def seen(state: InstanceState) -> ObservedInstance:
    return ObservedInstance("c", {}, state)


class SlowEngine:
    """Takes a look when asked, and shows it when told to."""

    def __init__(self) -> None:
        self.world: dict[str, ObservedInstance] = {}
        self.shown = asyncio.Event()

    async def observe(self) -> dict[str, ObservedInstance]:
        found = dict(self.world)
        await self.shown.wait()
        return found

    async def inspect(self, name: str) -> ObservedInstance | None:
        return self.world.get(name)


def make() -> tuple[SlowEngine, Observations, list[str]]:
    engine, changes = SlowEngine(), list[str]()
    cache = Observations(cast(ContainerEngine, engine), lambda: changes.append("changed"))
    return engine, cache, changes


async def look_around(cache: Observations, engine: SlowEngine, meanwhile: Any) -> None:
    """Begin to look at all, do something, and let the look end."""
    engine.shown.clear()
    looking = asyncio.create_task(cache.observe_all())
    await asyncio.sleep(0)
    await meanwhile()
    engine.shown.set()
    await looking


async def test_a_start_seen_during_a_full_look_stays_seen() -> None:
    engine, cache, _ = make()
    engine.world["c"] = seen(CREATED)

    async def starts() -> None:
        engine.world["c"] = seen(RUNNING)
        await cache.observe("c")

    await look_around(cache, engine, starts)

    assert cache.instances["c"].state is RUNNING
    assert cache.complete


async def test_a_container_made_during_a_full_look_stays_seen() -> None:
    engine, cache, _ = make()

    async def appears() -> None:
        engine.world["c"] = seen(CREATED)
        await cache.observe("c")

    await look_around(cache, engine, appears)

    assert "c" in cache.instances


async def test_a_container_removed_during_a_full_look_stays_gone() -> None:
    engine, cache, _ = make()
    engine.world["c"] = seen(RUNNING)
    engine.shown.set()
    await cache.observe_all()

    async def goes() -> None:
        del engine.world["c"]
        cache.forget("c")

    await look_around(cache, engine, goes)

    assert cache.instances == {}


async def test_what_vanished_unseen_is_gone_after_the_next_full_look() -> None:
    engine, cache, changes = make()
    engine.shown.set()
    engine.world["c"] = seen(RUNNING)
    await cache.observe("c")
    engine.world.clear()

    await cache.observe_all()

    assert cache.instances == {}
    assert changes == ["changed", "changed"]


async def test_looks_that_show_nothing_new_tell_nothing() -> None:
    engine, cache, changes = make()
    engine.shown.set()
    engine.world["c"] = seen(RUNNING)
    for _ in range(3):
        await cache.observe("c")
        await cache.observe_all()
    cache.forget("other")

    assert changes == ["changed"]
