"""A write that is refused: decided anew if there is news, waited with if there is none."""

from typing import Any

import pytest

from support.operator_rig import NAMESPACE, OperatorApi
from support.tasks import task
from weir_crds.kinds import TASK, Kind
from weir_kube.errors import ConflictError
from weir_kube.store import Key, Object, Store
from weir_operator.writes import write_status

KEY = Key(NAMESPACE, "t")


class Desk:
    """A Task, and a cache of it."""

    def __init__(self) -> None:
        self.api = OperatorApi()
        self.store = Store()
        self.api.put(TASK, task("t", NAMESPACE))
        self.sync()

    def sync(self) -> None:
        self.store.apply("MODIFIED", self.live)

    @property
    def live(self) -> Object:
        found = self.api.peek(TASK, KEY)
        assert found is not None
        return found

    async def write(self, **changes: Any) -> bool:
        obj = self.store.get(KEY)
        assert obj is not None
        return await write_status(self.api, TASK, self.store, obj, changes)  # type: ignore[arg-type]


async def test_what_was_written_is_in_the_cache() -> None:
    desk = Desk()
    assert await desk.write(phase="Queued")
    assert desk.store.get(KEY) == desk.live


async def test_what_changed_meanwhile_is_in_the_cache_to_be_decided_anew() -> None:
    desk = Desk()
    desk.api.change_status(TASK, KEY, runID=7)
    assert not await desk.write(phase="Queued")
    assert desk.store.get(KEY) == desk.live
    assert "phase" not in desk.live["status"]


async def test_what_is_gone_is_gone_from_the_cache() -> None:
    desk = Desk()
    desk.api.remove(TASK, KEY)
    assert not await desk.write(phase="Queued")
    assert desk.store.get(KEY) is None


async def test_a_refusal_that_brings_nothing_newer_is_an_error_to_wait_with() -> None:
    desk = Desk()

    def refuse(_kind: Kind, _key: Key) -> ConflictError:
        return ConflictError("the object has been modified", status=409)

    desk.api.refuse = refuse
    with pytest.raises(ConflictError):
        await desk.write(phase="Queued")


async def test_a_cache_of_a_lost_history_learns_the_one_that_is_true() -> None:
    """etcd was restored from a backup, so that all versions are lower than what was seen."""
    desk = Desk()
    backup = desk.api.backup()
    for run in range(1, 6):
        desk.api.change_status(TASK, KEY, runID=run)
    desk.sync()
    desk.api.restore(backup)
    assert not await desk.write(phase="Queued")
    assert desk.store.get(KEY) == desk.live
    assert await desk.write(phase="Queued")
    assert desk.live["status"] == {"phase": "Queued"}
