"""A person's account at the host API: an administrator, made with kubectl's means."""

import http.client
import json
import secrets
import subprocess
import time
from dataclasses import asdict, dataclass
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from devcluster import components
from devcluster.console import say
from devcluster.errors import DevClusterError
from devcluster.rest import MERGE_PATCH, Rest
from devcluster.state import CHECKOUT, State, read_json, write_file

_USERNAME = "admin"
_USERS = "/apis/weir.dev/v1alpha1/users"
_DEADLINE_SECONDS = 30.0
_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Login:
    """Where the host API is, and how to be its administrator."""

    url: str
    username: str
    password: str
    token: str


def ensure_login(state: State, admin: Rest, url: str) -> Login:
    """Return the account, making it if need be; one that works is kept. The lock is held.

    Raises:
        DevClusterError: the host API does not take it.
    """
    file = state.root / "login.json"
    known = read_json(file)
    if known:
        login = Login(**{**known, "url": url})
        headers = {"Authorization": f"Bearer {login.token}"}
        if Rest(url, headers=headers).answers("/api/auth/me"):
            return login
    password = secrets.token_urlsafe(9)
    _set_password(admin, password)
    login = Login(url, _USERNAME, password, _token(url, password))
    write_file(file, json.dumps(asdict(login), indent=1) + "\n")
    say(f"made the account {_USERNAME} of the host API")
    return login


def _set_password(admin: Rest, password: str) -> None:
    spec = {"role": "admin", "active": True, "passwordHash": _hash(password)}
    if admin.find(f"{_USERS}/{_USERNAME}") is None:
        body: dict[str, Any] = {
            "apiVersion": "weir.dev/v1alpha1",
            "kind": "User",
            "metadata": {"name": _USERNAME},
            "spec": spec,
        }
        admin.json("POST", _USERS, body)
    else:
        path = f"{_USERS}/{_USERNAME}"
        admin.request("PATCH", path, {"spec": spec}, content_type=MERGE_PATCH)


def _hash(password: str) -> str:
    done = subprocess.run(
        components.hash_password(),
        input=f"{password}\n",
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        env=components.environment(),
        timeout=60,
        check=False,
    )
    if done.returncode != 0:
        raise DevClusterError("The password of the host API is not hashed.", done.stderr.strip())
    return done.stdout.strip()


def _token(url: str, password: str) -> str:
    """Log in, and return a new API token; the facade may take a moment to know of the account."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while True:
        status, said, cookies = _post(
            url, "/api/auth/login", {"username": _USERNAME, "password": password}
        )
        if status == 200:
            break
        if time.monotonic() > deadline:
            raise DevClusterError(f"The host API at {url} does not take the account.", said)
        time.sleep(_PAUSE_SECONDS)
    status, said, _ = _post(url, "/api/auth/tokens/create", {"name": "env file"}, cookies)
    if status != 200:
        raise DevClusterError(f"The host API at {url} gives no token.", said)
    token: str = json.loads(said)["token"]
    return token


def _post(url: str, path: str, body: dict[str, Any], cookies: str = "") -> tuple[int, str, str]:
    """Return status and text of an answer, and the cookies that it sets."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    headers = {"Content-Type": "application/json"} | ({"Cookie": cookies} if cookies else {})
    try:
        connection.request("POST", path, json.dumps(body).encode(), headers)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as exc:
        return 0, str(exc), ""
    finally:
        connection.close()
    jar = SimpleCookie(answer.getheader("Set-Cookie", ""))
    return answer.status, text, "; ".join(f"{one.key}={one.value}" for one in jar.values())
