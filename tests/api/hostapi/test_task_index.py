"""The index of Tasks: by id and in lists, always as the caches are."""

import asyncio
import itertools
import json
import random
from dataclasses import replace
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.hosts import made_host
from support.rest_index import World
from support.rest_tasks import condition, ended, id_of, made_task, made_user, running, uid_of
from weir_api.access.capabilities import Capability
from weir_api.access.identity import SYSTEM
from weir_api.errors import UnknownObjectError
from weir_api.hostapi.entries import Reading, UsernameOf
from weir_api.hostapi.tasks.view import TaskWorkload, task_out
from weir_api.hostapi.workloads import Selection
from weir_api.state import caches as state_caches
from weir_crds import names
from weir_crds.ids import account_id
from weir_crds.kinds import TASK, Kind
from weir_kube.store import Key

ALL = Selection()


@pytest.fixture
def world() -> World:
    made = World()
    made.put(made_host("n1"), made_host("n2"))
    return made


def rows(world: World, selection: Selection = ALL, limit: int = 100, offset: int = 0) -> Any:
    return json.loads(world.index.rows(selection, limit, offset, secrets=True))


def listed(world: World, selection: Selection = ALL, limit: int = 100, offset: int = 0) -> Any:
    return [row["task_id"] for row in rows(world, selection, limit, offset)]


def id_text(name: str) -> str:
    return str(id_of(name))


def test_a_task_by_its_id(world: World) -> None:
    world.put(made_task("t1"))
    entry = world.index.get(id_of("t1"))
    assert entry is not None
    assert entry.key == Key("weir", "t1")
    assert json.loads(world.index.row(entry, secrets=True))["task_id"] == id_text("t1")
    assert world.index.get(7) is None
    world.take(made_task("t1", version=2))
    assert world.index.get(id_of("t1")) is None
    assert len(world.index) == 0


def test_what_is_there_before() -> None:
    first = World()
    first.put(made_host("n1"), made_user("ann"))
    first.put(made_task("t1", status=running(), owner=account_id(uid_of("ann"))))
    again = World(first.caches)
    assert [(row["status"], row["owner_username"]) for row in rows(again)] == [("running", "ann")]


def test_newest_first(world: World) -> None:
    for number in (3, 1, 2, 0, 4):
        world.put(made_task(f"t{number}", created=f"2026-11-22T10:00:0{number}Z"))
    assert listed(world) == [id_text(f"t{number}") for number in (4, 3, 2, 1, 0)]
    assert listed(world, limit=2) == [id_text("t4"), id_text("t3")]
    assert listed(world, limit=2, offset=3) == [id_text("t1"), id_text("t0")]
    assert listed(world, limit=0) == []
    assert listed(world, offset=5) == []
    assert listed(world, offset=2**53) == []
    assert listed(world, Selection(status="assigning", host=None), offset=2**53) == []


def test_of_one_second_the_later_one_is_newer(world: World) -> None:
    for number in (1, 0, 2):
        noted = {names.ANNOTATION_SUBMITTED_AT: f"2026-11-22T10:00:00.00000{number}Z"}
        world.put(made_task(f"t{number}", annotations=noted))
    assert listed(world) == [id_text("t2"), id_text("t1"), id_text("t0")]


def test_selections(world: World) -> None:
    world.put(
        made_task("a", owner=1, status=running("n1")),
        made_task("b", owner=2, status=running("n2")),
        made_task("c", owner=1),
        made_task("d", owner=1, status=ended()),
        made_task("e", owner=1, spec={"placement": {"hostName": "n2"}}),
    )

    def names_of(**given: str) -> set[str]:
        found = listed(world, Selection(**given))
        return {name for name in "abcde" if id_text(name) in found}

    assert names_of(status="running") == {"a", "b"}
    assert names_of(status="assigning") == {"c", "e"}
    assert names_of(status="running", owner="1") == {"a"}
    assert names_of(owner="1") == {"a", "c", "d", "e"}
    assert names_of(host="n1") == {"a", "d"}
    assert names_of(host="n2") == {"b", "e"}
    assert names_of(host="n2", owner="1", status="assigning") == {"e"}
    assert names_of(status="nonsense") == names_of(host="n9") == names_of(owner="9") == set()


def test_a_change_of_a_task_moves_it(world: World) -> None:
    world.put(made_task("t1"))
    assert listed(world, Selection(status="assigning")) == [id_text("t1")]
    world.put(made_task("t1", status=running(), version=2))
    assert listed(world, Selection(status="assigning")) == []
    assert rows(world, Selection(status="running"))[0]["assigned_node"] == "n1"
    world.put(made_task("t1", status=ended("NonZeroExit", exitCode=3), version=3))
    assert rows(world, Selection(status="failed", host="n1"))[0]["exit_code"] == 3


def test_what_cannot_be_read_changes_nothing(world: World) -> None:
    world.put(made_task("t1", status=running("n1")))
    used = world.index.cores_in_use("n1")
    broken = made_task("t1", status=running("n1"), version=2)
    broken["spec"]["resources"] = {"cpu": "one and a half"}
    world.put(broken)
    assert listed(world, Selection(status="running")) == [id_text("t1")]
    assert world.index.cores_in_use("n1") == used > 0
    world.put(made_task("t1", status=ended(), version=3))
    assert listed(world, Selection(status="completed")) == [id_text("t1")]
    assert world.index.cores_in_use("n1") == 0


def test_another_task_of_that_name(world: World) -> None:
    world.put(made_task("t1", owner=1))
    other = made_task("t1", owner=2, version=2)
    other["metadata"]["uid"] = uid_of("another")
    world.put(other)
    assert world.index.get(id_of("t1")) is None
    assert listed(world) == [str(id_of("another"))]
    assert listed(world, Selection(owner="1")) == []


def test_a_silent_host_makes_its_tasks_lost_and_comes_back(world: World) -> None:
    world.put(
        made_task("a", status=running("n1")),
        made_task("b", status=running("n2")),
        made_task("c", status=ended()),
    )
    assert len(rows(world)) == 3  # rows are made
    world.put(made_host("n1", ready="Unknown", version=2))
    assert listed(world, Selection(status="lost")) == [id_text("a")]
    assert rows(world, Selection(status="lost"))[0]["status"] == "lost"
    world.put(made_host("n1", version=3))
    assert listed(world, Selection(status="lost")) == []
    world.take(made_host("n1", version=4))
    assert listed(world, Selection(status="lost")) == [id_text("a")]
    assert rows(world, Selection(status="completed"))[0]["task_id"] == id_text("c")


def test_usernames_follow_the_users(world: World) -> None:
    ann, bob = account_id(uid_of("ann")), account_id(uid_of("bob"))
    decided = {
        names.ANNOTATION_DECIDED_BY: str(bob),
        names.ANNOTATION_DECIDED_AT: "2026-11-22T10:00:00Z",
    }
    world.put(made_task("t1", owner=ann, annotations=decided))

    def users() -> tuple[str | None, str | None]:
        (row,) = rows(world)
        return row["owner_username"], row["approved_by_username"]

    assert users() == (None, None)
    world.put(made_user("ann"), made_user("bob", username="Bob B"))
    assert users() == ("ann", "Bob B")
    world.take(made_user("ann", version=2))
    assert users() == (None, "Bob B")
    world.put(made_user("bob", username="Robert", version=3))  # nothing else has changed
    assert users() == (None, "Robert")


def test_rows_are_made_once_until_something_changes(world: World) -> None:
    world.put(made_task("t1", spec={"env": [{"name": "A", "value": "1"}]}))
    entry = world.index.get(id_of("t1"))
    assert entry is not None
    shown, hidden = (world.index.row(entry, secrets=secrets) for secrets in (True, False))
    assert (json.loads(shown)["env_vars"], json.loads(hidden)["env_vars"]) == (
        {"A": "1"},
        {"A": "***"},
    )
    world.put(made_host("n1", version=2), made_user("ann"))
    assert world.index.row(entry, secrets=True) is shown
    assert world.index.row(entry, secrets=False) is hidden
    world.put(made_task("t1", version=2))
    entry = world.index.get(id_of("t1"))
    assert entry is not None
    row = world.index.row(entry, secrets=True)
    assert row is world.index.row(entry, secrets=False)  # there is nothing to hide
    assert json.loads(row)["env_vars"] == {}


def test_what_a_host_has_given_away(world: World) -> None:
    gpus = [{"index": 1, "uuid": "GPU-1"}]
    world.put(
        made_task("a", spec={"resources": {"cpu": 2}}, status=running("n1", cpus=[0, 1])),
        made_task("b", spec={"resources": {"cpu": "500m"}}, status=running("n1", cpus=[])),
        made_task("c", spec={"resources": {"cpu": 1}}, status=running("n2", gpus=gpus)),
        made_task("d", status=ended()),
        made_task("e"),
    )
    index = world.index
    assert (index.cores_in_use("n1"), index.cores_in_use("n2")) == (2.5, 1.0)
    assert (index.gpus_in_use("n1"), index.gpus_in_use("n2")) == (frozenset(), frozenset({1}))
    assert [entry.key.name for entry in index.on_host("n2")] == ["c"]
    world.put(made_task("c", status=ended(nodeName="n2", gpus=gpus), version=2))
    world.take(made_task("a", version=2))
    assert (index.cores_in_use("n1"), index.cores_in_use("n2")) == (0.5, 0.0)
    assert index.gpus_in_use("n2") == frozenset()
    assert index.cores_in_use("n9") == 0.0


def test_how_many_wait_for_a_host(world: World) -> None:
    world.put(
        made_task("a"),
        made_task("b", status=running()),
        made_task("c", spec={"approval": "Pending"}),
        made_task("d", spec={"suspend": True}),
        made_task("e", spec={"desiredState": "Killed"}),
    )
    assert world.index.queued == 1
    world.put(made_task("a", status=running(), version=2))
    assert world.index.queued == 0


async def test_waiting_for_a_change(world: World) -> None:
    world.put(made_task("t1"))
    key = Key("weir", "t1")

    def bound(obj: dict[str, Any]) -> bool:
        return bool(obj["status"].get("nodeName"))

    waiting = asyncio.create_task(world.index.until(TASK, key, bound, 10))
    await asyncio.sleep(0)
    suspended = made_task("t1", status={"conditions": [condition("Scheduled", "False", "Queued")]})
    suspended["metadata"]["resourceVersion"] = "2"
    world.put(suspended)
    await asyncio.sleep(0)
    assert not waiting.done()
    world.put(made_task("t1", status=running(), version=3))
    found = await waiting
    assert found is not None
    assert found["status"]["nodeName"] == "n1"
    assert world.index.waited_for == 0


async def test_waiting_has_an_end(world: World) -> None:
    world.put(made_task("t1"))
    key = Key("weir", "t1")
    found = await world.index.until(TASK, key, lambda _: False, 0.01)
    assert found is not None
    waiting = asyncio.create_task(world.index.until(TASK, key, lambda _: False, 10))
    await asyncio.sleep(0)
    world.take(made_task("t1", version=2))
    assert await waiting is None
    assert await world.index.until(TASK, key, lambda _: False, 10) is None
    assert world.index.waited_for == 0  # else each Task that was ever waited for stays known


async def test_an_id_that_another_replica_has_just_made_is_waited_for(world: World) -> None:
    finding = asyncio.create_task(world.index.find(id_of("t1"), TASK, SYSTEM, Capability.READ_TASK))
    await asyncio.sleep(0)
    world.put(made_task("t1"))
    assert (await finding).key.name == "t1"
    assert world.index.waited_for == 0


async def test_an_id_of_nothing_is_waited_for_once() -> None:
    now = [100.0]
    world = World(clock=lambda: now[0])

    async def find() -> None:
        with pytest.raises(UnknownObjectError, match="there is no task 7"):
            await world.index.find(7, TASK, SYSTEM, Capability.READ_TASK)

    first = asyncio.create_task(find())
    await asyncio.sleep(0)
    assert world.index.waited_for == 1
    await first
    second = asyncio.create_task(find())
    await asyncio.sleep(0)
    assert second.done()
    await second
    now[0] += 60
    third = asyncio.create_task(find())
    await asyncio.sleep(0)
    assert world.index.waited_for == 1
    await third


async def test_many_unknown_ids_at_once_are_not_all_waited_for(world: World) -> None:
    finding = [
        asyncio.create_task(world.index.find(number, TASK, SYSTEM, Capability.READ_TASK))
        for number in range(1000)
    ]
    await asyncio.sleep(0)
    assert world.index.waited_for <= 64
    assert all(
        isinstance(one, UnknownObjectError)
        for one in await asyncio.gather(*finding, return_exceptions=True)
    )
    assert world.index.waited_for == 0


async def test_who_asks_for_many_unknown_ids_keeps_no_other_from_waiting_for_one(
    world: World,
) -> None:
    loud = replace(SYSTEM, id=1, username="loud", user_name="loud")
    flood = [
        asyncio.create_task(world.index.find(number, TASK, loud, Capability.READ_TASK))
        for number in range(1000)
    ]
    world.put(made_task("t0"))
    pausing = [  # nor does who waits for what they have asked of a host
        asyncio.create_task(world.index.until(TASK, Key("weir", "t0"), lambda _: False, 0.1))
        for _ in range(100)
    ]
    await asyncio.sleep(0)
    finding = asyncio.create_task(world.index.find(id_of("t1"), TASK, SYSTEM, Capability.READ_TASK))
    await asyncio.sleep(0)
    world.put(made_task("t1"))
    assert (await finding).key.name == "t1"
    await asyncio.gather(*flood, *pausing, return_exceptions=True)
    assert world.index.waited_for == 0
    assert not world.index._awaited_by


class Boat(StrEnum):
    AFLOAT = "afloat"
    SUNK = "sunk"


BOAT = Kind("made.up", "v1", "boats", "Boat", True)


class Boats:
    """A kind of workload that was made up here: nothing in the index is of Tasks alone."""

    kind = BOAT

    def read(self, obj: dict[str, Any]) -> Reading:
        spec = obj["spec"]
        return Reading(
            obj["metadata"]["creationTimestamp"],
            owner=spec["captain"],
            host=spec["harbour"],
            bound_to=spec["harbour"],
            cpu_millis=1500,
        )

    def status(self, obj: dict[str, Any], *, host_ready: bool) -> StrEnum:
        return Boat.AFLOAT if host_ready else Boat.SUNK

    def is_queued(self, obj: dict[str, Any], status: StrEnum) -> bool:
        return False

    def out(
        self, obj: dict[str, Any], status: StrEnum, username_of: UsernameOf, *, secrets: bool
    ) -> dict[str, Any]:
        return {"boat": obj["metadata"]["name"], "status": status.value}

    def has_secrets(self, obj: dict[str, Any]) -> bool:
        return False


async def test_workloads_of_several_kinds_are_in_one_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_caches, "_KINDS", (*state_caches._KINDS, BOAT))
    world = World(workloads=(TaskWorkload(), Boats()))
    boat = {
        "metadata": {
            "name": "t1",  # as the Task: keys are of a kind
            "namespace": "weir",
            "uid": uid_of("boat"),
            "resourceVersion": "5",
            "creationTimestamp": "2026-11-22T11:00:00Z",
        },
        "spec": {"captain": "1", "harbour": "n1"},
    }
    world.put(made_host("n1"), made_task("t1", owner=1, status=running("n1", cpus=[0])))
    world.caches.note(BOAT, boat)

    assert world.index.cores_in_use("n1") == 2.5
    assert [row.get("boat") for row in rows(world, Selection(owner="1"))] == ["t1", None]
    assert rows(world, Selection(kind=BOAT)) == [{"boat": "t1", "status": "afloat"}]
    assert listed(world, Selection(owner="1", kind=TASK)) == [id_text("t1")]
    found = await world.index.find(id_of("boat"), BOAT, SYSTEM, Capability.READ_TASK)
    assert found.kind is BOAT
    with pytest.raises(UnknownObjectError):
        await world.index.find(id_of("boat"), TASK, SYSTEM, Capability.READ_TASK)
    world.put(made_host("n1", ready="False", version=9))
    assert rows(world, Selection(status="sunk")) == [{"boat": "t1", "status": "sunk"}]
    assert listed(world, Selection(status="lost")) == [id_text("t1")]
    world.caches.note(BOAT, boat, deleted=True)
    assert world.index.cores_in_use("n1") == 1


STATUSES = [{}, running("n1"), running("n2"), ended(), ended("Killed", nodeName="n2")]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["task", "task", "task", "untask", "host", "unhost", "user", "unuser"]),
        st.integers(0, 4),
        st.integers(0, 9),
    ),
    max_size=40,
)


@settings(max_examples=150)
@given(STEPS)
def test_after_any_changes_it_is_as_if_made_anew(steps: list[tuple[str, int, int]]) -> None:
    world = World()
    clock = itertools.count(1)
    owners = [account_id(uid_of(f"u{number}")) for number in range(5)]
    for what, which, how in steps:
        version = next(clock)
        if what in ("host", "unhost"):
            host = made_host(f"n{which % 3}", ready=("True", "Unknown")[how % 2], version=version)
            (world.put if what == "host" else world.take)(host)
        elif what in ("user", "unuser"):
            user = made_user(f"u{which}", version=version)
            (world.put if what == "user" else world.take)(user)
        else:
            task = made_task(
                f"t{which}",
                status=STATUSES[how % 5],
                owner=owners[which],
                annotations={names.ANNOTATION_DECIDED_BY: str(owners[how % 5])},
                version=version,
            )
            (world.put if what == "task" else world.take)(task)
        if how == 0:
            rows(world)
    fresh = World(world.caches)
    for selection in (
        ALL,
        *(Selection(status=word) for word in ("assigning", "running", "lost", "completed")),
        *(Selection(host=f"n{number}") for number in range(3)),
        *(Selection(owner=str(owner)) for owner in owners),
        Selection(status="lost", host="n1"),
    ):
        assert rows(world, selection) == rows(fresh, selection)
    for entry in fresh.index.page(ALL, 100):
        mine = world.index.get(entry.id)
        assert mine is not None
        assert json.loads(world.index.row(mine, secrets=True)) == task_out(
            entry.obj, entry.status, world.usernames.of, secrets=True
        )
    for host in ("n0", "n1", "n2"):
        assert world.index.cores_in_use(host) == fresh.index.cores_in_use(host)
    assert world.index.queued == fresh.index.queued


def test_many(world: World) -> None:
    """Order holds when thousands come in any order and leave in another."""
    order = list(range(2000))
    random.Random(7).shuffle(order)
    for number in order:
        created = f"2026-11-22T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}Z"
        world.put(made_task(f"t{number}", created=created, owner=number % 3))
    for number in order[:1000]:
        world.take(made_task(f"t{number}", version=2))
    left = sorted(order[1000:], reverse=True)
    assert listed(world, limit=10_000) == [id_text(f"t{number}") for number in left]
    mine = [id_text(f"t{number}") for number in left if number % 3 == 1]
    assert listed(world, Selection(owner="1"), limit=10_000) == mine
