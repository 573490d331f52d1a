"""Looking at tasks over HTTP: what is shown, to whom."""

from typing import Any

import aiohttp
import pytest

from support.facade import ClientOf, as_
from support.hosts import made_host
from support.rest_index import World
from support.rest_tasks import ended, id_of, made_task, running
from weir_api.hostapi.tasks.reads import TaskReads
from weir_api.hostapi.tasks.wire import TaskOut
from weir_api.web.endpoint import endpoints_of

ENV = {"env": [{"name": "TOKEN", "value": "hunter2"}]}


@pytest.fixture
def world() -> World:
    """Three tasks: of the caller ``user`` (12), of ``other`` (13), and of nobody."""
    made = World()
    made.put(
        made_host("n1"),
        made_task("mine", owner=12, spec=ENV, created="2026-11-22T10:00:03Z"),
        made_task("theirs", owner=13, spec=ENV, status=running(), created="2026-11-22T10:00:02Z"),
        made_task("nobodys", spec=ENV, status=ended(), created="2026-11-22T10:00:01Z"),
        made_task("asked", owner=13, spec={"approval": "Pending"}, created="2026-11-22T10:00:00Z"),
    )
    return made


@pytest.fixture
async def http(world: World, client_of: ClientOf) -> aiohttp.ClientSession:
    return await client_of(endpoints_of(TaskReads(world.index)))


async def get(http: aiohttp.ClientSession, path: str, caller: str = "system") -> tuple[int, Any]:
    async with http.get(path, headers=as_(caller)) as answer:
        return answer.status, await answer.json()


def names_in(rows: Any) -> list[str]:
    ids = {str(id_of(name)): name for name in ("mine", "theirs", "nobodys", "asked")}
    return [ids[row["task_id"]] for row in rows]


async def test_status(http: aiohttp.ClientSession) -> None:
    async with http.get(f"/api/status/{id_of('theirs')}") as answer:
        assert answer.status == 200
        assert answer.content_type == "application/json"
        row = await answer.json()
    assert len(row) == 36
    assert TaskOut.model_validate(row).model_dump(mode="json") == row
    assert (row["task_id"], row["status"]) == (str(id_of("theirs")), "running")
    assert row["env_vars"] == {"TOKEN": "hunter2"}


@pytest.mark.parametrize(
    ("number", "status"),
    [("0", 404), ("1", 404), (str(2**63), 404), (str(10**30), 404), ("x", 422), ("1.5", 422)],
)
async def test_ids_that_are_none(http: aiohttp.ClientSession, number: str, status: int) -> None:
    answered, body = await get(http, f"/api/status/{number}")
    assert answered == status
    assert body["detail"]


@pytest.mark.parametrize(
    ("caller", "name", "status"),
    [
        ("system", "theirs", 200),
        ("admin", "theirs", 200),
        ("operator", "nobodys", 200),
        ("viewer", "mine", 200),
        ("user", "mine", 200),
        ("user", "theirs", 403),
        ("user", "nobodys", 403),
        ("newcomer", "mine", 403),
        ("anonymous", "mine", 403),
        ("anonymous", "unknown", 403),
        ("user", "unknown", 404),
    ],
)
async def test_who_sees_a_task(
    http: aiohttp.ClientSession, caller: str, name: str, status: int
) -> None:
    assert (await get(http, f"/api/status/{id_of(name)}", caller))[0] == status


@pytest.mark.parametrize(
    ("caller", "shown"),
    [("system", "hunter2"), ("operator", "hunter2"), ("user", "hunter2"), ("viewer", "***")],
)
async def test_who_sees_values_of_the_environment(
    http: aiohttp.ClientSession, caller: str, shown: str
) -> None:
    _, row = await get(http, f"/api/status/{id_of('mine')}", caller)
    assert row["env_vars"] == {"TOKEN": shown}
    _, rows = await get(http, "/api/tasks?status=assigning", caller)
    assert [row["env_vars"] for row in rows] == [{"TOKEN": shown}]


@pytest.mark.parametrize(
    ("caller", "path", "status", "found"),
    [
        ("system", "/api/tasks", 200, ["mine", "theirs", "nobodys", "asked"]),
        ("admin", "/api/tasks", 200, ["mine", "theirs", "nobodys", "asked"]),
        ("viewer", "/api/tasks", 200, ["mine", "theirs", "nobodys", "asked"]),
        ("user", "/api/tasks", 200, ["mine"]),
        ("other", "/api/tasks", 200, ["theirs", "asked"]),
        ("newcomer", "/api/tasks", 403, None),
        ("anonymous", "/api/tasks", 401, None),
        ("system", "/api/tasks/my", 200, []),
        ("user", "/api/tasks/my", 200, ["mine"]),
        ("admin", "/api/tasks/my", 200, []),
        ("viewer", "/api/tasks/my", 403, None),
        ("anonymous", "/api/tasks/my", 401, None),
        ("operator", "/api/tasks/pending-approval", 200, ["asked"]),
        ("other", "/api/tasks/pending-approval", 403, None),
        ("anonymous", "/api/tasks/pending-approval", 401, None),
        ("system", "/api/tasks?limit=1", 200, ["mine"]),
        ("system", "/api/tasks?limit=1&offset=1", 200, ["theirs"]),
        ("system", "/api/tasks?limit=0", 200, []),
        ("system", "/api/tasks?offset=4", 200, []),
        ("system", "/api/tasks?status=running", 200, ["theirs"]),
        ("system", "/api/tasks?status=RUNNING", 200, []),
        ("system", "/api/tasks?status=nonsense", 200, []),
        ("system", "/api/tasks?status=&node=&task_type=&limit=1", 200, ["mine"]),
        ("system", "/api/tasks?node=n1", 200, ["theirs", "nobodys"]),
        ("system", "/api/tasks?node=n1&status=completed", 200, ["nobodys"]),
        ("user", "/api/tasks?node=n1", 200, []),
        ("system", "/api/tasks?task_type=command&limit=1", 200, ["mine"]),
        ("system", "/api/tasks?task_type=vps", 200, []),
        ("system", "/api/tasks?unknown=1&limit=1", 200, ["mine"]),
        ("operator", "/api/tasks/pending-approval?offset=1", 200, []),
        ("system", "/api/tasks?limit=-1", 422, None),
        ("system", "/api/tasks?limit=10001", 422, None),
        ("system", "/api/tasks?offset=-1", 422, None),
        ("system", "/api/tasks?offset=99999999999999999999", 422, None),
        ("system", "/api/tasks?limit=x", 422, None),
        ("system", "/api/tasks?status=%00", 422, None),
        ("operator", "/api/tasks/pending-approval?limit=-1", 422, None),
    ],
)
async def test_lists(
    http: aiohttp.ClientSession, caller: str, path: str, status: int, found: list[str] | None
) -> None:
    answered, body = await get(http, path, caller)
    assert answered == status
    if found is not None:
        assert names_in(body) == found
        assert all(len(row) == 36 for row in body)
