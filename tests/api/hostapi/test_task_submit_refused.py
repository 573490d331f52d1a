"""Submissions that make nothing: no API server is needed to turn them away."""

from typing import Any, cast

import aiohttp
import pytest

from support.facade import ClientOf, as_
from support.hosts import made_host
from support.rest_index import World
from support.rest_tasks import ended, made_task
from weir_api.errors import AccessDeniedError
from weir_api.hostapi.tasks.request import Draft, TaskDefaults
from weir_api.hostapi.tasks.submit import Batch, PendingQuota, TaskSubmit
from weir_api.state.writer import Writer
from weir_api.web.endpoint import endpoints_of
from weir_kube.api import Api


async def client(world: World, client_of: ClientOf) -> aiohttp.ClientSession:
    writer = Writer(cast(Api, None), world.caches)  # nothing may be written
    return await client_of(
        endpoints_of(TaskSubmit(world.index, world.hosts, writer, TaskDefaults()))
    )


@pytest.fixture
async def http(client_of: ClientOf) -> aiohttp.ClientSession:
    world = World()
    world.put(
        made_host("n1", cores=4, memory="8Gi", gpus=2),
        made_host("n2", cores=2, ready="Unknown"),
        made_host("foreign", cores=64, spec={"external": True}),
    )
    return await client(world, client_of)


async def submit(
    http: aiohttp.ClientSession, body: Any, caller: str = "system", **headers: str
) -> tuple[int, Any]:
    async with http.post("/api/submit", json=body, headers=as_(caller) | headers) as answer:
        return answer.status, await answer.json()


@pytest.mark.parametrize(
    "body",
    [
        {"task_type": "vps"},
        {"task_type": "vps", "container_name": "NULL"},
        {"task_type": "COMMAND"},
        {"task_type": ""},
        {"required_gpus": [[0]]},
        {"required_gpus": [[0]], "targets": []},
        {"required_gpus": [[0]], "targets": ["n1", "n2"]},
        {"required_gpus": [[0], [1]], "targets": ["n1"]},
        {"container_name": "NULL"},
        {"container_name": "No Such Name"},
        {"additional_mounts": ["relative:/x"]},
        {"additional_mounts": ["/a"]},
        {"targets": ["n1", "n2", "n1"]},
        {"targets": ["n1:0", "n1:00"]},
        {"targets": ["n1::0,1", "n1"], "required_gpus": [[], [1, 0]]},
    ],
)
async def test_contradictions(http: aiohttp.ClientSession, body: Any) -> None:
    status, answer = await submit(http, body)
    assert (status, list(answer)) == (400, ["detail"])


@pytest.mark.parametrize(
    "body",
    [
        [],
        "x",
        None,
        {"command": 1},
        {"command": None},
        {"command": "a\0b"},
        {"arguments": "x"},
        {"arguments": [1]},
        {"arguments": ["\0"]},
        {"env_vars": {"A": 1}},
        {"env_vars": {"A\0": "1"}},
        {"env_vars": ["A"]},
        {"required_cores": -1},
        {"required_cores": 1.5},
        {"required_cores": 10**30},
        {"required_memory_bytes": -1},
        {"required_memory_bytes": 10**30},
        {"required_gpus": [0]},
        {"required_gpus": [[10**30]], "targets": ["n1"]},
        {"targets": "n1"},
        {"targets": ["n1"] * 257},
        {"targets": ["n1"] * 10_000},
        {"privileged": "maybe"},
        {"additional_mounts": [1]},
    ],
)
async def test_bodies_of_another_shape(http: aiohttp.ClientSession, body: Any) -> None:
    status, answer = await submit(http, body)
    assert status == 422
    assert all({"type", "loc", "msg"} <= fault.keys() for fault in answer["detail"])


@pytest.mark.parametrize("key", ["", "a b", "é", "x" * 256])
async def test_keys_that_are_none(http: aiohttp.ClientSession, key: str) -> None:
    status, answer = await submit(http, {}, **{"Idempotency-Key": key})
    assert status == 422
    assert answer["detail"][0]["loc"] == ["header", "Idempotency-Key"]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"required_cores": 5}, "too few cores"),
        ({"required_memory_bytes": 2**40}, "too little memory"),
        ({"targets": ["n9"]}, "no host n9"),
        ({"targets": ["foreign"]}, "external"),
        ({"targets": ["n1:1"]}, "lack NUMA node 1"),
        ({"targets": ["n1::2"]}, "lack those gpus"),
        ({"targets": ["n1"], "required_gpus": [[-1]]}, "lack those gpus"),
        ({"targets": ["n2"], "required_gpus": [[0]]}, "no gpu"),
        ({"targets": ["n1"], "required_gpus": [[0, 1, 2]]}, "too few gpus"),
        ({"targets": ["n2"], "required_cores": 3}, "too few cores"),
        ({"targets": [""]}, "name of a host"),
        ({"targets": ["n1:x"]}, "NUMA"),
        ({"targets": ["n1::0"], "required_gpus": [[1]]}, "other GPUs"),
        ({"targets": ["n9", "n1:7"]}, "no host n9"),
    ],
)
async def test_what_can_never_run(http: aiohttp.ClientSession, body: Any, word: str) -> None:
    status, answer = await submit(http, body)
    assert status == 503
    assert word in answer["detail"]


async def test_all_tasks_together_have_a_limit(http: aiohttp.ClientSession) -> None:
    """Else one request of a megabyte could make a quarter of a gigabyte."""
    body = {
        "arguments": ["x" * 60_000],
        "targets": [f"n1:{number}" for number in range(256)],
    }
    status, answer = await submit(http, body)
    assert status == 413
    assert "139 targets at most" in answer["detail"]


PENDING = {"approval": "Pending"}


@pytest.mark.parametrize(
    ("pending", "targets", "status"),
    [
        ([made_task(f"p{n}", owner=12, spec=PENDING) for n in range(3)], ["n1"], 403),
        ([made_task(f"p{n}", owner=12, spec=PENDING) for n in range(2)], ["n1", "n1:0"], 403),
        # The others are another's, decided on, or over: that it fits nowhere is what is told.
        ([made_task(f"p{n}", owner=13, spec=PENDING) for n in range(3)], ["n9"], 503),
        ([made_task(f"p{n}", owner=12) for n in range(3)], ["n9"], 503),
        ([made_task("p", owner=12, spec=PENDING, status=ended("Rejected"))] * 3, ["n9"], 503),
        ([made_task(f"p{n}", owner=12, spec=PENDING) for n in range(2)], ["n9"], 503),
        ([made_task("p", owner=12, spec={**PENDING, "args": ["x" * 4_200_000]})], ["n1"], 403),
    ],
)
async def test_of_one_owner_only_so_much_waits_for_an_approval(
    client_of: ClientOf, pending: list[Any], targets: list[str], status: int
) -> None:
    world = World()
    world.put(made_host("n1"), *pending)
    writer = Writer(cast(Api, None), world.caches)
    submits = TaskSubmit(world.index, world.hosts, writer, TaskDefaults(max_pending=3))
    http = await client_of(endpoints_of(submits))

    answer = await submit(http, {"targets": targets}, "user")
    assert answer[0] == status, answer
    if status == 403:
        assert "approval" in answer[1]["detail"]
        # Who needs no approval is not held up by it.
        assert (await submit(http, {"targets": ["n9"]}, "operator"))[0] == 503


def a_batch(key: str | None = None, size: int = 1) -> Batch:
    spec = {**PENDING, "args": ["x" * size]}
    return Batch(Draft(spec, {}, {}), "weir", "12", key)


def test_what_an_owner_submits_at_once_counts_together() -> None:
    quota = PendingQuota(World().index, 100)

    with quota.reserved(a_batch(size=3 * 2**20), 1):
        with pytest.raises(AccessDeniedError), quota.reserved(a_batch(size=2 * 2**20), 1):
            pass
        with quota.reserved(a_batch(), 99), pytest.raises(AccessDeniedError):
            quota.reserved(a_batch(), 1).__enter__()
    with quota.reserved(a_batch(), 100):
        pass


def test_what_is_there_already_is_not_counted_as_being_made_too() -> None:
    world = World()
    quota, first, second = PendingQuota(world.index, 4), a_batch(), a_batch()

    with quota.reserved(first, 2):
        for place in range(2):
            world.put(made_task(first.name(place), owner=12, spec=PENDING))
        with quota.reserved(second, 2), pytest.raises(AccessDeniedError):
            quota.reserved(a_batch(), 1).__enter__()


def test_the_same_key_twice_at_once_frees_nothing() -> None:
    quota, batch = PendingQuota(World().index, 3), a_batch("key")

    with quota.reserved(batch, 2):
        with quota.reserved(batch, 2):
            pass
        with pytest.raises(AccessDeniedError):
            quota.reserved(a_batch(), 2).__enter__()


def test_replicas_count_what_each_other_made_once_they_have_seen_it() -> None:
    """What both let in before that is too much: no more than the quota of each."""
    worlds = World(), World()
    quotas = [PendingQuota(world.index, 3) for world in worlds]
    made = []
    for quota in quotas:  # at the same moment
        batch = a_batch()
        with quota.reserved(batch, 3):
            made += [made_task(batch.name(place), owner=12, spec=PENDING) for place in range(3)]
    for world in worlds:
        world.put(*made)

    for quota in quotas:
        with pytest.raises(AccessDeniedError):
            quota.reserved(a_batch(), 1).__enter__()


def test_a_key_that_has_come_before_is_no_way_around_the_quota() -> None:
    """Else withdrawing all but the first, and sending it again, would make any number wait."""
    world = World()
    quota, batch = PendingQuota(world.index, 3), a_batch("key")
    others = [made_task(f"p{n}", owner=12, spec=PENDING) for n in range(2)]
    world.put(made_task(batch.name(0), owner=12, spec=PENDING), *others)

    with quota.reserved(batch, 1):
        pass
    with pytest.raises(AccessDeniedError):
        quota.reserved(batch, 2).__enter__()
    world.put(made_task(batch.name(1), owner=12, spec=PENDING))
    with quota.reserved(batch, 2):
        pass


async def test_without_any_host(client_of: ClientOf) -> None:
    status, answer = await submit(await client(World(), client_of), {})
    assert (status, answer) == (503, {"detail": "there is no host yet"})


async def test_with_foreign_hosts_only(client_of: ClientOf) -> None:
    world = World()
    world.put(made_host("foreign", spec={"external": True}))
    status, answer = await submit(await client(world, client_of), {})
    assert status == 503
    assert "1 external (foreign)" in answer["detail"]


@pytest.mark.parametrize(
    ("caller", "status"), [("anonymous", 401), ("newcomer", 403), ("viewer", 403), ("user", 503)]
)
async def test_who_may_submit(http: aiohttp.ClientSession, caller: str, status: int) -> None:
    assert (await submit(http, {"required_cores": 99}, caller))[0] == status
