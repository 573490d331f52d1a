"""Every route of the host API by every kind of caller, over the real application.

The table is written by hand, from what clients are promised; it must agree with the table of
capabilities, and no route may be missing in it.
"""

import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.api_client import Client
from support.cluster import Cluster
from support.composed import Composed, composed
from support.hosts import made_host
from weir_api.access.capabilities import RULES, Capability, check
from weir_api.access.identity import ANONYMOUS, Identity, Role
from weir_api.errors import status_of
from weir_crds.errors import WeirError
from weir_crds.ids import task_id
from weir_crds.kinds import HOST, TASK
from weir_crds.names import LABEL_OWNER

CALLERS = ("anonymous", "newcomer", "viewer", "user", "other", "operator", "admin", "node")
OK = 0
"""Whatever the route answers to who may."""


@dataclass(frozen=True)
class Route:
    """A route, a request for it, and what each caller gets.

    ``{task}`` and ``{pending}`` in the path are ids of fresh Tasks of the caller ``user``, the
    second not approved yet; ``{victim}`` is the id of a fresh user.
    """

    method: str
    template: str
    path: str
    served: int
    columns: tuple[int, ...]
    body: Any = None


# What it is, with one column per caller:   anon new  view user oth  oper adm  node
ALL = (OK, OK, OK, OK, OK, OK, OK, OK)
SEE_HOSTS = (401, 403, OK, OK, OK, OK, OK, 403)
LIST = (401, 403, OK, OK, OK, OK, OK, 403)
MINE = (401, 403, 403, OK, OK, OK, OK, 403)
STATUS = (403, 403, OK, OK, 403, OK, OK, 403)
OUTPUT = (401, 403, 403, OK, 403, OK, OK, 403)
SUBMIT = (401, 403, 403, OK, OK, OK, OK, 403)
CONTROL = (401, 403, 403, OK, 403, OK, OK, 403)
DECIDE = (401, 403, 403, 403, 403, OK, OK, 403)
ACCOUNT = (401, OK, OK, OK, OK, OK, OK, 403)
INVITE = (403, 403, 403, 403, 403, OK, OK, 403)
INVITE_ANY = (403, 403, 403, 403, 403, 403, OK, 403)
INVITATIONS = (403, 403, 403, 403, 403, 403, OK, 403)
USERS = (401, 403, 403, 403, 403, OK, OK, 403)
MANAGE = (401, 403, 403, 403, 403, 403, OK, 403)
REPORT = (401, 403, 403, 403, 403, 403, OK, OK)
REPORT_ANOTHER = (401, 403, 403, 403, 403, 403, OK, 403)

RUNNER = {"hostname": "ext-1", "url": "http://10.0.0.9:8001", "total_cores": 4}
ANOTHER = {**RUNNER, "hostname": "ext-2"}
NEW = {"username": "nobody", "password": "no password"}
PASSWORDS = {"current_password": "none of that", "new_password": "none of that"}
WORK = {"command": "true", "required_cores": 1}


def get(template: str, served: int, columns: tuple[int, ...], path: str | None = None) -> Route:
    return Route("GET", template, path or template, served, columns)


def post(
    template: str,
    served: int,
    columns: tuple[int, ...],
    path: str | None = None,
    body: Any = None,
) -> Route:
    return Route("POST", template, path or template, served, columns, body)


def delete(template: str, path: str, served: int, columns: tuple[int, ...]) -> Route:
    return Route("DELETE", template, path, served, columns)


ROUTES = (
    get("/nodes", 200, SEE_HOSTS),
    get("/health", 200, SEE_HOSTS),
    get("/tasks", 200, LIST),
    get("/tasks/my", 200, MINE),
    get("/tasks/pending-approval", 200, DECIDE),
    get("/status/{task_id}", 200, STATUS, "/status/{task}"),
    get("/tasks/{task_id}/stdout", 200, OUTPUT, "/tasks/{task}/stdout"),
    get("/tasks/{task_id}/stderr", 200, OUTPUT, "/tasks/{task}/stderr"),
    post("/submit", 202, SUBMIT, body=WORK),
    post("/kill/{task_id}", 202, CONTROL, "/kill/{task}"),
    post("/tasks/{task_id}/kill", 202, CONTROL, "/tasks/{task}/kill"),
    post("/command/{task_id}/{command}", 400, CONTROL, "/command/{task}/pause"),
    post("/command/{task_id}/{command}", 400, CONTROL, "/command/{task}/resume"),
    delete("/tasks/{task_id}", "/tasks/{task}", 409, CONTROL),
    post("/approve/{task_id}", 200, DECIDE, "/approve/{pending}"),
    post("/reject/{task_id}", 200, DECIDE, "/reject/{pending}"),
    post("/register", 200, REPORT, body=RUNNER),
    post("/register", 200, REPORT_ANOTHER, body=ANOTHER),
    Route("PUT", "/heartbeat/{hostname}", "/heartbeat/ext-1", 200, REPORT, {}),
    Route("PUT", "/heartbeat/{hostname}", "/heartbeat/ext-2", 200, REPORT_ANOTHER, {}),
    post("/update", 200, REPORT, body={"task_id": 7, "status": "completed"}),
    get("/auth/status", 200, ALL),
    # Wrong on purpose, so that nobody's tries run out: all get as far as that.
    post("/auth/login", 422, ALL, body={"username": "nobody"}),
    post("/auth/logout", 200, ALL),
    post("/auth/register", 400, ALL, "/auth/register?token=none", NEW),
    get("/auth/me", 200, ACCOUNT),
    post("/auth/password", 403, ACCOUNT, body=PASSWORDS),
    get("/auth/tokens", 200, ACCOUNT),
    post("/auth/tokens/create", 200, ACCOUNT, body={"name": "x"}),
    post("/auth/tokens/create", 200, (401, 403, 403, 403, 403, 403, OK, 403),
         body={"name": "x", "node": "ext-3"}),
    delete("/auth/tokens/{token_id}", "/auth/tokens/7", 404, ACCOUNT),
    get("/auth/sessions", 200, ACCOUNT),
    delete("/auth/sessions/{session_id}", "/auth/sessions/7", 404, ACCOUNT),
    get("/auth/invitations", 200, INVITATIONS),
    post("/auth/invitations", 200, INVITE, body={"role": "viewer"}),
    post("/auth/invitations", 200, INVITE_ANY, body={"role": "user"}),
    post("/auth/invitations", 200, INVITE_ANY, body={"role": "admin"}),
    delete("/auth/invitations/{invitation_id}", "/auth/invitations/7", 404, INVITATIONS),
    get("/auth/users", 200, USERS),
    Route("PATCH", "/auth/users/{user_id}", "/auth/users/{victim}", 200, MANAGE,
          {"role": "viewer"}),
    delete("/auth/users/{user_id}", "/auth/users/{victim}", 200, MANAGE),
)  # fmt: skip


@dataclass
class World:
    """The application, its callers, and things for them to ask for."""

    app: Composed
    namespace: str
    headers: dict[str, dict[str, str]]
    owner: str

    async def task(self, *, approval: str = "Approved", owner: str | None = None) -> str:
        """Make a Task of the caller ``user`` and return its id."""
        name = f"t-{uuid.uuid4().hex[:12]}"
        body = {
            "metadata": {"name": name, "labels": {LABEL_OWNER: owner or self.owner}},
            "spec": {
                "image": "busybox",
                "approval": approval,
                "env": [{"name": "PASSPHRASE", "value": "sesame"}],
            },
        }
        obj = await self.app.writer.create(TASK, body, self.namespace)
        return str(task_id(obj["metadata"]["uid"]))

    async def ask(self, caller: str, route: Route) -> int:
        """Send the request, and return the status of the answer."""
        path = route.path
        if "{task}" in path:
            path = path.replace("{task}", await self.task())
        if "{pending}" in path:
            path = path.replace("{pending}", await self.task(approval="Pending"))
        if "{victim}" in path:
            number, _ = await self.app.person(f"v-{uuid.uuid4().hex[:12]}", "user")
            path = path.replace("{victim}", number)
        headers = self.headers[caller]
        async with self.app.http.request(
            route.method, f"/api{path}", json=route.body, headers=headers
        ) as answer:
            await answer.read()
            return answer.status

    async def json(self, caller: str, path: str) -> Any:
        """Get something that the caller may get."""
        async with self.app.http.get(f"/api{path}", headers=self.headers[caller]) as answer:
            assert answer.status == 200, (caller, path, answer.status)
            return await answer.json()


@pytest.fixture
def host(cluster: Cluster) -> Iterator[str]:
    """A Host that would take work."""
    name = f"h-{uuid.uuid4().hex[:8]}"
    made = made_host(name)
    obj = {**made, "metadata": {"name": name}}
    assert Client(cluster.admin).create(obj) is None
    assert Client(cluster.admin).patch(made, {"status": made["status"]}, "status") is None
    yield name
    for item in cluster.admin.json("GET", HOST.path())["items"]:
        if item["metadata"]["name"] in (name, "ext-1", "ext-2"):
            cluster.admin.request("DELETE", HOST.path(name=item["metadata"]["name"]))


@pytest.fixture
async def world(
    no_accounts: None, api_kubeconfig: Path, namespace: str, host: str
) -> AsyncIterator[World]:
    """The application with one user of each kind, and a host that would take work."""
    async with composed(api_kubeconfig, namespace) as app:
        owner, user = await app.person("user", "user")
        yield World(
            app,
            namespace,
            {
                "anonymous": {},
                "newcomer": (await app.person("newcomer", "anony"))[1],
                "viewer": (await app.person("viewer", "viewer"))[1],
                "user": user,
                "other": (await app.person("other", "user"))[1],
                "operator": (await app.person("operator", "operator"))[1],
                "admin": (await app.person("admin", "admin"))[1],
                "node": await app.token("Node", hostName="ext-1"),
            },
            owner,
        )


def short(path: str) -> str:
    """Return a path as the table has it."""
    return path.removeprefix("/api")


async def test_every_route_by_every_caller(world: World) -> None:
    declared = {(one.method, short(one.path)) for one in world.app.family.endpoints}
    assert declared == {(route.method, route.template) for route in ROUTES}
    await world.task()  # one that waits: then no submission waits for its host
    wrong = []
    for route in ROUTES:
        for caller, column in zip(CALLERS, route.columns, strict=True):
            expected = column or route.served
            status = await world.ask(caller, route)
            if status != expected:
                wrong.append((route.method, route.path, caller, expected, status))
    assert wrong == []


def test_the_table_is_that_of_the_capabilities(world: World) -> None:
    identities = {
        "anonymous": ANONYMOUS,
        "newcomer": Identity(1, "newcomer", Role.ANONY, user_name="newcomer"),
        "viewer": Identity(2, "viewer", Role.VIEWER, user_name="viewer"),
        "user": Identity(3, "user", Role.USER, user_name="user"),
        "other": Identity(4, "other", Role.USER, user_name="other"),
        "operator": Identity(5, "operator", Role.OPERATOR, user_name="operator"),
        "admin": Identity(6, "admin", Role.ADMIN, user_name="admin"),
        "node": Identity(-1, "node:ext-1", Role.ANONY, host="ext-1"),
    }
    capabilities = {
        (one.method, short(one.path)): one.capability for one in world.app.family.endpoints
    }
    for route in ROUTES:
        capability = capabilities[route.method, route.template]
        for caller, column in zip(CALLERS, route.columns, strict=True):
            refused = OK
            try:
                check(identities[caller], Capability(capability))
            except WeirError as exc:
                refused = status_of(exc)
            if refused == column:
                continue
            # What a handler refuses beyond the table: somebody else's, or a part of the whole.
            assert refused == OK, (route, caller)
            assert column == 403, (route, caller)
            assert (
                (caller == "other" and RULES[Capability(capability)].own_only)
                or route.columns in (INVITE_ANY, REPORT_ANOTHER)
                or (capability is Capability.USE_ACCOUNT and "node" in route.body)
            ), (route, caller)


async def test_without_authentication_everyone_may_everything_but_has_no_account(
    no_accounts: None, api_kubeconfig: Path, namespace: str, host: str
) -> None:
    async with composed(api_kubeconfig, namespace, "--no-auth") as app:
        world = World(app, namespace, {"anyone": {}}, "7")
        await world.task()
        accounts = {
            short(one.path)
            for one in app.family.endpoints
            if one.capability is Capability.USE_ACCOUNT or one.path == "/api/auth/register"
        }
        wrong = []
        for route in ROUTES:
            expected = 503 if route.template in accounts else route.served
            status = await world.ask("anyone", route)
            if status != expected:
                wrong.append((route.method, route.path, expected, status))
        assert wrong == []


async def test_lists_and_items_show_the_same_tasks_with_the_same_secrets(world: World) -> None:
    ids = [await world.task(), await world.task(owner="7"), await world.task(approval="Pending")]
    listed = {
        caller: {row["task_id"]: row for row in await world.json(caller, "/tasks?limit=1000")}
        for caller in ("viewer", "user", "other", "operator", "admin")
    }
    seen = {caller: [number in rows for number in ids] for caller, rows in listed.items()}
    assert seen == {
        "viewer": [True, True, True],
        "user": [True, False, True],
        "other": [False, False, False],
        "operator": [True, True, True],
        "admin": [True, True, True],
    }
    for caller, rows in listed.items():
        for number in ids:
            path = f"/api/status/{number}"
            async with world.app.http.get(path, headers=world.headers[caller]) as answer:
                assert answer.status == (200 if number in rows else 403), (caller, number)
                if answer.status == 200:
                    row = await answer.json()
                    assert row == rows[number]
                    hidden = caller == "viewer"
                    assert row["env_vars"] == {"PASSPHRASE": "***" if hidden else "sesame"}


async def test_of_an_owner_that_is_gone_the_id_stays_and_nobody_becomes_them(
    world: World,
) -> None:
    number = await world.task()
    row = await world.json("admin", f"/status/{number}")
    assert (row["owner_id"], row["owner_username"]) == (int(world.owner), "user")
    async with world.app.http.delete(
        f"/api/auth/users/{world.owner}", headers=world.headers["admin"]
    ) as answer:
        assert answer.status == 200
    row = await world.json("admin", f"/status/{number}")
    assert (row["owner_id"], row["owner_username"]) == (int(world.owner), None)
    again, headers = await world.app.person("user", "user")
    assert again != world.owner
    async with world.app.http.get(f"/api/status/{number}", headers=headers) as answer:
        assert answer.status == 403
