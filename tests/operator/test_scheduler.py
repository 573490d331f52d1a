"""Binds, and all that can come between a decision and its write."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from itertools import chain, repeat

import pytest

from support.aio import until
from support.operator_rig import NAMESPACE, OperatorApi, OperatorRig, running
from support.tasks import task
from weir_crds.kinds import HOST, TASK, Kind
from weir_kube.errors import ApiError, ApiUnavailableError, ForbiddenError
from weir_kube.store import Key
from weir_operator.scheduling.binder import BINDS_AT_ONCE


def once(exc: ApiError, kind: Kind = TASK) -> Iterator[ApiError | None]:
    """Return what fails one write to a kind and then none."""
    return chain([exc], repeat(None))


def cores_of(rig: OperatorRig, *names: str) -> Counter[tuple[str, int]]:
    """Return who has which cores, as written."""
    return Counter(
        (rig.status(name)["nodeName"], core) for name in names for core in rig.status(name)["cpus"]
    )


async def test_a_bind_is_one_write() -> None:
    async with running(OperatorApi()) as rig:
        await rig.add_host(nodes=2)
        rig.add_task("a", resources={"cpu": 2})
        await rig.bound("a")
        await rig.settle()
        status = rig.status("a")
        assert status["cpus"] == [0, 1]
        assert status["numaNode"] == 0
        assert status["runID"] == 1
        assert status["phase"] == "Starting"
        assert status["scheduledAt"]
        assert status["observedGeneration"] == 1
        assert [one["message"] for one in status["conditions"]] == ["n1, cores 0-1 (NUMA 0)"]
        assert rig.writes_to("a") == 1


async def test_nobody_shares_cores_and_all_get_their_turn() -> None:
    async with running(OperatorApi()) as rig:
        await rig.add_host("n1", cores=2)
        await rig.add_host("n2", cores=1)
        names = [f"t{number}" for number in range(9)]
        for name in names:
            rig.add_task(name)
        for _ in range(3):
            await until(lambda: sum("nodeName" in rig.status(name) for name in names) == 3)
            await rig.settle()
            now = [name for name in names if "nodeName" in rig.status(name)]
            assert max(cores_of(rig, *now).values()) == 1
            for name in now:
                rig.end(name)
                names.remove(name)
        assert names == []


async def test_urgent_tasks_go_first() -> None:
    api = OperatorApi()
    async with running(api) as rig:
        await rig.add_host(cores=1)
        rig.add_task("running")
        await rig.bound("running")
        rig.add_task("old")
        rig.add_task("urgent", priority=5)
        await rig.settle()
        rig.end("running")
        await rig.bound("urgent")
        assert "nodeName" not in rig.status("old")


async def test_binds_are_many_at_a_time_but_not_too_many() -> None:
    api = OperatorApi()
    async with running(api) as rig:
        await rig.add_host(cores=200)
        for number in range(150):
            rig.add_task(f"t{number}")
        await rig.bound(*(f"t{number}" for number in range(150)))
        assert 1 < api.most_patches_under_way <= BINDS_AT_ONCE


async def test_a_task_that_changes_meanwhile_is_decided_anew() -> None:
    api = OperatorApi()
    async with running(api) as rig:
        await rig.add_host()
        changes = iter([{"priority": 7}])

        def interfere(kind: Kind) -> None:
            if kind is TASK and (change := next(changes, None)):
                rig.change("a", **change)

        api.before_write = interfere
        rig.add_task("a")
        await rig.bound("a")
        assert rig.status("a")["observedGeneration"] == 2
        assert rig.writes_to("a") == 1


@pytest.mark.parametrize(
    ("wish", "reason"),
    [({"desiredState": "Killed"}, "Killed"), ({"suspend": True}, "")],
    ids=["killed", "suspended"],
)
async def test_a_wish_that_comes_during_the_bind_wins(wish: dict[str, object], reason: str) -> None:
    api = OperatorApi()
    async with running(api) as rig:
        await rig.add_host(cores=1)
        changes = iter([wish])

        def interfere(kind: Kind) -> None:
            if kind is TASK and (change := next(changes, None)):
                rig.change("a", **change)

        api.before_write = interfere
        rig.add_task("a")
        await until(lambda: rig.task("a")["metadata"]["generation"] == 2)
        rig.add_task("b")
        await rig.bound("b")
        assert "nodeName" not in rig.status("a")
        assert rig.reason("a", "Succeeded") == reason


async def test_a_wish_that_the_cache_has_and_the_queue_has_not_wins() -> None:
    """The loop wakes between the event's arrival and its reconcile."""
    api = OperatorApi()
    async with running(api) as rig:
        await rig.add_host(cores=1)
        rig.add_task("running")
        await rig.bound("running")
        rig.add_task("a")
        await rig.settle()
        suspended = rig.task("a")
        suspended["spec"]["suspend"] = True
        suspended["metadata"]["resourceVersion"] = "100000"
        rig.store(TASK).apply("MODIFIED", suspended)
        rig.end("running")
        await rig.settle()
        assert rig.writes_to("a") == 0


async def test_an_answer_that_got_lost_binds_once() -> None:
    api = OperatorApi()
    async with running(api) as rig:
        await rig.add_host(cores=1)
        lost = once(ApiUnavailableError("lost"))
        api.lose_answer = lambda kind, _key: next(lost) if kind is TASK else None
        rig.add_task("a")
        rig.add_task("b")
        await rig.bound("a")
        await asyncio.sleep(0.5)  # the repeat, after its back-off
        assert rig.writes_to("a") == 1
        assert "nodeName" not in rig.status("b")
        rig.end("a")
        await rig.bound("b")


async def test_a_refusal_after_a_lost_answer_gives_nothing_back() -> None:
    api = OperatorApi()
    async with running(api) as rig:
        await rig.add_host(cores=1)
        lost = once(ApiUnavailableError("lost"))
        api.lose_answer = lambda kind, _key: next(lost) if kind is TASK else None
        rig.add_task("a")
        await rig.bound("a")
        rig.add_task("b")
        refused: list[str] = []

        def refuse(kind: Kind, key: Key) -> ApiError | None:
            if kind is not TASK or key.name != "a":
                return None  # the other one may be bound, if a core is thought free
            refused.append(key.name)
            return ForbiddenError("no", status=403)

        api.refuse = refuse
        await until(lambda: bool(refused), "repeated")
        await rig.settle()
        assert "nodeName" not in rig.status("b")
        rig.end("a")
        await rig.bound("b")


async def test_cores_of_an_unanswered_bind_are_given_to_nobody() -> None:
    api = OperatorApi()
    async with running(api) as rig:
        await rig.add_host(cores=1)
        rig.add_task("a")
        api.refuse = lambda kind, key: (
            ApiUnavailableError("away") if kind is TASK and key.name == "a" else None
        )
        await rig.settle()
        rig.add_task("b")
        await asyncio.sleep(0.3)
        assert "nodeName" not in rig.status("b")
        api.refuse = lambda _kind, _key: None
        await rig.bound("a")
        assert "nodeName" not in rig.status("b")


async def test_a_refused_bind_gives_its_cores_back_and_comes_again() -> None:
    api = OperatorApi()
    async with running(api) as rig:
        await rig.add_host(cores=1)
        refusals = iter([ForbiddenError("no", status=403)] * 2)
        api.refuse = lambda kind, key: (
            next(refusals, None) if kind is TASK and key.name == "a" else None
        )
        rig.add_task("a", priority=1)
        await rig.settle()
        rig.add_task("b")
        await rig.bound("b")
        rig.end("b")
        await rig.bound("a")


async def test_a_task_deleted_during_its_bind_leaves_nothing_behind() -> None:
    api = OperatorApi()
    async with running(api) as rig:
        await rig.add_host(cores=1)
        removed = iter(["a"])

        def interfere(kind: Kind) -> None:
            if kind is TASK and (name := next(removed, None)):
                api.remove(TASK, Key(NAMESPACE, name))

        api.before_write = interfere
        rig.add_task("a")
        await rig.settle()
        rig.add_task("b")
        await rig.bound("b")
        assert set(rig.scheduler.ledger.hosts["n1"].holdings) == {rig.task("b")["metadata"]["uid"]}


async def test_another_task_of_the_same_name_is_bound_for_itself() -> None:
    api = OperatorApi()
    async with running(api) as rig:
        await rig.add_host(cores=1)
        replaced = iter(["a"])

        def interfere(kind: Kind) -> None:
            if kind is TASK and (name := next(replaced, None)):
                api.remove(TASK, Key(NAMESPACE, name))
                rig.add_task(name)

        api.before_write = interfere
        rig.add_task("a")
        await rig.bound("a")
        await rig.settle()
        assert set(rig.scheduler.ledger.hosts["n1"].holdings) == {rig.task("a")["metadata"]["uid"]}


async def test_a_deleted_task_gives_its_cores_back() -> None:
    api = OperatorApi()
    async with running(api) as rig:
        await rig.add_host(cores=1)
        rig.add_task("a")
        await rig.bound("a")
        rig.add_task("b")
        await rig.settle()
        api.remove(TASK, Key(NAMESPACE, "a"))
        await rig.bound("b")


async def test_a_lost_host_keeps_its_tasks_and_gets_no_more() -> None:
    api = OperatorApi()
    async with running(api) as rig:
        await rig.add_host("n1", cores=2)
        rig.add_task("a")
        await rig.bound("a")
        api.remove(HOST, Key("", "n1"))
        await rig.settle()
        rig.add_task("b")
        await rig.settle()
        assert rig.status("a")["nodeName"] == "n1"
        assert "nodeName" not in rig.status("b")
        await rig.add_host("n1", cores=2)
        await rig.bound("b")
        assert max(cores_of(rig, "a", "b").values()) == 1


async def test_a_new_operator_begins_where_the_old_one_ended() -> None:
    api = OperatorApi()
    async with running(api) as rig:
        await rig.add_host(cores=2)
        rig.add_task("a")
        await rig.bound("a")
    async with running(api) as rig:
        rig.add_task("b")
        rig.add_task("c")
        await rig.bound("b")
        await rig.settle()
        assert max(cores_of(rig, "a", "b").values()) == 1
        assert "nodeName" not in rig.status("c")
        assert rig.writes_to("a") == 1


async def test_a_task_that_asks_for_nonsense_harms_nobody() -> None:
    api = OperatorApi()
    api.put(TASK, task("bad", NAMESPACE, resources={"cpu": "many"}))
    async with running(api) as rig:
        await rig.add_host()
        rig.add_task("good")
        await rig.bound("good")
        assert "nodeName" not in rig.status("bad")
