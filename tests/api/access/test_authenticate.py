"""Who a session is of, while this replica's caches are behind."""

from typing import Any, cast

import pytest
from aiohttp.test_utils import make_mocked_request

from support.rest_tasks import made_user
from weir_api.access.authenticate import SESSION_COOKIE, Authenticator
from weir_api.access.bootstrap import Bootstrap
from weir_api.access.directory import Directory, Lookups
from weir_api.access.identity import ANONYMOUS
from weir_api.access.throttle import Throttle
from weir_api.access.tokens import LastUsed
from weir_api.peers import Peers
from weir_api.state.caches import Caches
from weir_api.state.writer import Writer
from weir_crds.access_token import password_mark, token_hash, token_name
from weir_crds.kinds import ACCESSTOKEN, USER, Kind
from weir_kube.api import Api
from weir_kube.store import Key, Object

SECRET = "0f" * 32
OLD = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQxMjM0$" + "A" * 43
NEW = OLD.replace("A" * 43, "B" * 43)


def ada(password_hash: str, version: int) -> Object:
    user = made_user("ada", version=version)
    user["spec"]["passwordHash"] = password_hash
    return user


class Live(Writer):
    """Knows one User as it is now."""

    def __init__(self, caches: Caches, now: Object) -> None:
        super().__init__(cast(Api, None), caches)
        self._followed = caches
        self._now = now
        self.asked = 0

    async def fresh(self, kind: Kind, key: Key) -> Object | None:
        self.asked += 1
        assert (kind, key) == (USER, Key("", "ada"))
        self._followed.note(USER, self._now)
        return self._now


def session(password_hash: str) -> dict[str, Any]:
    hashed = token_hash(SECRET)
    return {
        "metadata": {
            "name": token_name("Session", hashed),
            "uid": "t1",
            "resourceVersion": "1",
            "creationTimestamp": "2026-11-22T10:00:00Z",
        },
        "spec": {
            "type": "Session",
            "tokenHash": hashed,
            "userRef": {"name": "ada", "uid": made_user("ada")["metadata"]["uid"]},
            "passwordMark": password_mark(password_hash),
            "expiresAt": "2036-11-22T10:00:00Z",
        },
    }


@pytest.mark.parametrize(
    ("opened_with", "known", "now", "valid", "asked"),
    [
        (OLD, OLD, OLD, True, 0),
        (NEW, OLD, NEW, True, 1),  # another replica has just changed it, and opened this session
        (OLD, NEW, NEW, False, 1),
    ],
    ids=["as it was", "the password of a moment ago", "an earlier password"],
)
async def test_a_session_is_of_one_password(
    opened_with: str, known: str, now: str, valid: bool, asked: int
) -> None:
    caches = Caches(cast(Api, None))
    directory = Directory(caches)
    caches.note(USER, ada(known, 1))
    caches.note(ACCESSTOKEN, session(opened_with))
    live = Live(caches, ada(now, 2))
    bootstrap = Bootstrap(
        directory,
        Peers(),
        throttle=Throttle(free=1),
        admin_secret=None,
        register_secret=None,
        invitations_path="/i",
    )
    authenticate = Authenticator(
        directory, Lookups(live), LastUsed(directory, live), bootstrap, lambda: 0.0
    )

    found = await authenticate(
        make_mocked_request("GET", "/", headers={"Cookie": f"{SESSION_COOKIE}={SECRET}"})
    )

    assert (found != ANONYMOUS) is valid
    assert live.asked == asked
