"""People who use Weir by plain HTTP: each is known by the cookie or token that they were given."""

import itertools
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from support.cluster import Cluster
from support.facade_process import REGISTER_SECRET, FacadeProcess, Reply
from support.polling import eventually
from weir_crds.kinds import ACCESSTOKEN, USER

PASSWORD = "correct horse battery"
_NUMBER = itertools.count(1)


class Person:
    """Someone at one of the facade's replicas."""

    def __init__(
        self, facade: FacadeProcess, headers: dict[str, str], user: dict[str, Any]
    ) -> None:
        self.facade = facade
        self.headers = headers
        self.user = user

    @property
    def id(self) -> int:
        """Their id as a user."""
        number: int = self.user["id"]
        return number

    def at(self, facade: FacadeProcess) -> "Person":
        """Return the same person, with the same cookie or token, at another replica."""
        return Person(facade, self.headers, self.user)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """Send a request."""
        return self.facade.request(method, f"/api{path}", body, self.headers | headers)

    def call(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        """Send a request that is answered so, and return the JSON."""
        reply = self.ask(method, path, body)
        assert reply.status == status, (method, path, reply.status, reply.body)
        return reply.json()

    def get(self, path: str) -> Any:
        """Return the JSON at a path."""
        return self.call("GET", path)

    def submit(self, command: str, arguments: Iterable[str] = (), **more: Any) -> list[str]:
        """Submit a command and return the ids of its tasks."""
        told = self.call("POST", "/submit", submission(command, arguments, **more), status=202)
        ids: list[str] = told["task_ids"]
        return ids

    def output(self, task_id: str, stream: str = "stdout", query: str = "") -> bytes:
        """Return what a task wrote."""
        reply = self.ask("GET", f"/tasks/{task_id}/{stream}{query}")
        assert reply.status == 200, (task_id, reply.status, reply.body)
        assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
        return reply.body

    def follow(self, task_id: str, *words: str, timeout: float = 60) -> dict[str, Any]:
        """Wait until a task has one of these status words, and return it."""
        seen: dict[str, Any] = {}

        def reached() -> bool:
            seen.update(self.get(f"/status/{task_id}"))
            return seen["status"] in words

        eventually(reached, lambda: f"{task_id} is {words}; last seen {seen}", timeout)
        return seen


def submission(command: str, arguments: Iterable[str] = (), **more: Any) -> dict[str, Any]:
    """Return a submission as the clients' form sends it."""
    return {
        "task_type": "command",
        "command": command,
        "arguments": [*arguments],
        "env_vars": {},
        "required_cores": 0,
        "required_memory_bytes": None,
        "targets": None,
        "container_name": None,
        **more,
    }


def first_admin(facade: FacadeProcess) -> Person:
    """Register the first administrator."""
    return register(facade, REGISTER_SECRET, "root")


def invite(admin: Person, role: str, facade: FacadeProcess | None = None) -> Person:
    """Return a new person of that role, logged in by a cookie."""
    body = {"role": role, "max_usage": 1, "expires_hours": 1}
    invitation = admin.call("POST", "/auth/invitations", body)
    return register(facade or admin.facade, invitation["token"], f"{role}-{next(_NUMBER)}")


def register(facade: FacadeProcess, token: str, username: str) -> Person:
    """Register, and keep the cookie."""
    nobody = Person(facade, {}, {})
    body = {"username": username, "password": PASSWORD}
    reply = nobody.ask("POST", f"/auth/register?token={quote(token)}", body)
    assert reply.status == 200, reply.body
    return Person(facade, cookie(reply), reply.json()["user"])


def log_in(facade: FacadeProcess, username: str) -> Person:
    """Log in, and keep the cookie."""
    reply = Person(facade, {}, {}).ask(
        "POST", "/auth/login", {"username": username, "password": PASSWORD}
    )
    assert reply.status == 200, reply.body
    return Person(facade, cookie(reply), reply.json()["user"])


def cookie(reply: Reply) -> dict[str, str]:
    """Return headers with the session that an answer has set."""
    name, _, rest = reply.headers["Set-Cookie"].partition("=")
    assert name == "kohakuriver_session"
    return {"Cookie": f"{name}={rest.partition(';')[0]}"}


def delete_accounts(cluster: Cluster) -> None:
    """Delete all users and tokens."""
    for kind in (USER, ACCESSTOKEN):
        cluster.admin.request("DELETE", kind.path())
