"""What is decided on an object is written only while it is that."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from support.fake_api import FakeApi
from weir_api.errors import StateConflictError, UnavailableError
from weir_api.state.caches import Caches
from weir_api.state.writer import Writer
from weir_crds.kinds import USER, Kind
from weir_kube.api import Api
from weir_kube.errors import ConflictError, NotFoundError
from weir_kube.store import Key, Object

ADA = Key("", "ada")


class World:
    """A User, which another writer changes just before we write."""

    def __init__(self) -> None:
        self.api = FakeApi()
        self.caches = Caches(cast(Api, self.api))
        self.writer = Writer(cast(Api, self.api), self.caches)
        self.api.put(USER, {"metadata": {"name": "ada"}, "spec": {"role": "user"}, "status": {}})
        self.ada = self._ada()
        self.meddle: list[Callable[[], None]] = []
        self.api.before_write = self._before_write
        self.seen: list[str] = []

    def _ada(self) -> Object:
        found = self.api.peek(USER, ADA)
        assert found is not None
        return found

    def _before_write(self, _: Kind) -> None:
        if self.meddle:
            self.meddle.pop(0)()

    def rename(self, name: str) -> Callable[[], None]:
        return lambda: self.api.change_spec(USER, ADA, displayName=name)

    def decide(self, obj: Object) -> dict[str, Any]:
        self.seen.append(obj["spec"].get("displayName", ""))
        return {"spec": {"role": "viewer"}}


@pytest.fixture
def world() -> World:
    return World()


async def test_it_is_decided_anew_on_what_another_wrote(world: World) -> None:
    world.meddle = [world.rename("a"), world.rename("b")]
    written = await world.writer.update(USER, world.ada, world.decide)
    assert world.seen == ["", "a", "b"]
    assert written["spec"] == {"role": "viewer", "displayName": "b"}
    assert world.caches[USER].get(ADA) == written


async def test_a_status_likewise(world: World) -> None:
    world.meddle = [world.rename("a")]
    written = await world.writer.update(USER, world.ada, lambda _: {"phase": "Seen"}, status=True)
    assert (written["status"], written["spec"]["displayName"]) == ({"phase": "Seen"}, "a")


async def test_what_the_decision_raises_ends_it(world: World) -> None:
    world.meddle = [world.rename("a")]

    def decide(obj: Object) -> dict[str, Any]:
        if obj["spec"].get("displayName"):
            raise StateConflictError("too late")
        return {"spec": {"role": "viewer"}}

    with pytest.raises(StateConflictError):
        await world.writer.update(USER, world.ada, decide)
    found = world.api.peek(USER, ADA)
    assert found is not None
    assert found["spec"]["role"] == "user"


async def test_what_is_gone_or_another_by_that_name_is_not_written(world: World) -> None:
    def replace() -> None:
        world.api.remove(USER, ADA)
        world.api.put(USER, {"metadata": {"name": "ada"}, "spec": {"role": "admin"}})

    world.meddle = [replace]
    with pytest.raises(NotFoundError):
        await world.writer.update(USER, world.ada, world.decide)
    found = world.api.peek(USER, ADA)
    assert found is not None
    assert found["spec"] == {"role": "admin"}
    world.api.remove(USER, ADA)
    with pytest.raises(NotFoundError):
        await world.writer.update(USER, found, world.decide)


async def test_it_is_given_up_when_others_change_it_all_the_time(world: World) -> None:
    world.meddle = [world.rename(str(number)) for number in range(9)]
    with pytest.raises(UnavailableError, match="User ada"):
        await world.writer.update(USER, world.ada, world.decide, tries=3)
    assert world.seen == ["", "0", "1"]


async def test_a_patch_unchanged_is_for_that_version_only(world: World) -> None:
    world.meddle = [world.rename("a")]
    with pytest.raises(ConflictError):
        await world.writer.patch(USER, world.ada, {"spec": {"role": "x"}}, unchanged=True)
    assert await world.writer.patch(USER, world.ada, {"spec": {"role": "viewer"}})
