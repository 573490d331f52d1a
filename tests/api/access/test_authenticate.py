"""Who a caller is, by what they show and what is known of it."""

from typing import Any, cast

import pytest
from aiohttp.test_utils import make_mocked_request

from support.rest_tasks import made_user
from weir_api.access.authenticate import SESSION_COOKIE, Authenticator, session_secret
from weir_api.access.bootstrap import Bootstrap
from weir_api.access.directory import Directory, Lookups
from weir_api.access.identity import ANONYMOUS, Identity, Role
from weir_api.access.throttle import Throttle
from weir_api.access.tokens import LastUsed
from weir_api.peers import Peers
from weir_api.state.caches import Caches
from weir_api.state.writer import Writer
from weir_crds.access_token import password_mark, token_hash, token_name
from weir_crds.ids import account_id
from weir_crds.kinds import ACCESSTOKEN, USER, Kind
from weir_kube.api import Api
from weir_kube.store import Key, Object

SECRET = "0f" * 32
OLD = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQxMjM0$" + "A" * 43
NOW = 1795341600.0  # 2026-11-22T10:00:00Z
NEW = OLD.replace("A" * 43, "B" * 43)


def ada(password_hash: str, version: int) -> Object:
    user = made_user("ada", version=version)
    user["spec"]["passwordHash"] = password_hash
    return user


class Live(Writer):
    """Knows one User as it is now, and no token."""

    def __init__(self, caches: Caches, now: Object | None) -> None:
        super().__init__(cast(Api, None), caches)
        self._followed = caches
        self._now = now
        self.asked = 0

    async def fresh(self, kind: Kind, key: Key) -> Object | None:
        if kind == ACCESSTOKEN:
            return None
        self.asked += 1
        assert (kind, key) == (USER, Key("", "ada"))
        if self._now is not None:
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


def authenticator(caches: Caches, live: Live, now: float = NOW) -> Authenticator:
    directory = Directory(caches)
    bootstrap = Bootstrap(
        directory,
        Peers(),
        throttle=Throttle(free=1),
        admin_secret=None,
        register_secret=None,
        invitations_path="/i",
    )
    return Authenticator(
        directory,
        Lookups(live),
        LastUsed(directory, live),
        bootstrap,
        lambda: 0.0,
        clock=lambda: now,
    )


def token(token_type: str, **spec: Any) -> dict[str, Any]:
    """Return ada's AccessToken of a type, for ``SECRET``."""
    made = session(OLD)
    del made["spec"]["passwordMark"]
    made["spec"].update(type=token_type, **spec)
    made["metadata"]["name"] = token_name(token_type, token_hash(SECRET))
    made["spec"] = {name: value for name, value in made["spec"].items() if value is not None}
    return made


async def caller(user: Object | None, shown: Object, *, bearer: bool = True) -> Identity:
    """Return who a request with ``SECRET`` comes from, in a world of one User and one token."""
    caches = Caches(cast(Api, None))
    if user is not None:
        caches.note(USER, user)
    caches.note(ACCESSTOKEN, shown)
    headers = {"Cookie": f"{SESSION_COOKIE}={SECRET}"}
    if bearer:
        headers = {"Authorization": f"Bearer {SECRET}"}
    authenticate = authenticator(caches, Live(caches, user))
    return await authenticate(make_mocked_request("GET", "/", headers=headers))


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
    caches.note(USER, ada(known, 1))
    caches.note(ACCESSTOKEN, session(opened_with))
    live = Live(caches, ada(now, 2))
    authenticate = authenticator(caches, live)

    found = await authenticate(
        make_mocked_request("GET", "/", headers={"Cookie": f"{SESSION_COOKIE}={SECRET}"})
    )

    assert (found != ANONYMOUS) is valid
    assert live.asked == asked


async def test_who_shows_a_live_token_of_an_active_user_is_that_user() -> None:
    user = ada(OLD, 1)
    found = await caller(user, token("API", expiresAt=None))
    assert (found.user_name, found.role, found.host) == ("ada", Role.USER, None)
    found = await caller(user, session(OLD), bearer=False)
    assert (found.user_name, found.id) == ("ada", account_id(user["metadata"]["uid"]))


@pytest.mark.parametrize("bearer", [True, False], ids=["token", "session"])
@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"active": False}},
        {"metadata": {"deletionTimestamp": "2026-11-22T10:00:00Z"}},
    ],
    ids=["disabled", "being deleted"],
)
async def test_an_inactive_user_is_nobody_though_their_token_lives(
    bearer: bool, change: dict[str, dict[str, Any]]
) -> None:
    user = ada(OLD, 1)
    for part, fields in change.items():
        user[part].update(fields)
    shown = token("API", expiresAt=None) if bearer else session(OLD)
    assert await caller(user, shown, bearer=bearer) == ANONYMOUS


@pytest.mark.parametrize(
    ("ends", "valid"),
    [("2026-11-22T10:00:01Z", True), ("2026-11-22T10:00:00Z", False)],
)
async def test_what_ends_is_void_from_that_moment_on(ends: str, valid: bool) -> None:
    assert (await caller(ada(OLD, 1), token("API", expiresAt=ends)) != ANONYMOUS) is valid
    shown = session(OLD)
    shown["spec"]["expiresAt"] = ends
    assert (await caller(ada(OLD, 1), shown, bearer=False) != ANONYMOUS) is valid


async def test_a_token_that_is_being_deleted_is_void() -> None:
    shown = token("API", expiresAt=None)
    shown["metadata"]["deletionTimestamp"] = "2036-11-22T10:00:00Z"
    assert await caller(ada(OLD, 1), shown) == ANONYMOUS


async def test_a_token_is_known_by_its_whole_hash_not_by_its_name() -> None:
    shown = token("API", expiresAt=None)
    shown["spec"]["tokenHash"] = token_hash(SECRET)[:40] + "0" * 24
    assert await caller(ada(OLD, 1), shown) == ANONYMOUS


@pytest.mark.parametrize(
    ("mark", "valid"),
    [(password_mark(OLD), True), (password_mark(NEW), False), (None, True)],
    ids=["of this password", "of another", "of none"],
)
async def test_a_token_that_was_made_with_a_password_ends_with_it(
    mark: str | None, valid: bool
) -> None:
    shown = token("API", expiresAt=None, passwordMark=mark)
    assert (await caller(ada(OLD, 1), shown) != ANONYMOUS) is valid


async def test_a_token_of_an_earlier_user_of_that_name_is_nobodys() -> None:
    earlier = token("API", expiresAt=None, userRef={"name": "ada", "uid": "an-earlier-one"})
    assert await caller(ada(OLD, 1), earlier) == ANONYMOUS


async def test_a_nodes_credential_speaks_for_its_host_and_is_no_user() -> None:
    shown = token("Node", expiresAt=None, userRef=None, hostName="n1")
    found = await caller(None, shown)
    assert (found.host, found.role, found.is_user, found.owner) == ("n1", Role.ANONY, False, None)


@pytest.mark.parametrize(
    ("token_type", "bearer"), [("Session", True), ("API", False), ("Node", False)]
)
async def test_each_type_counts_only_where_it_belongs(token_type: str, bearer: bool) -> None:
    shown = session(OLD) if token_type == "Session" else token(token_type, expiresAt=None)
    assert await caller(ada(OLD, 1), shown, bearer=bearer) == ANONYMOUS


async def test_an_invitations_secret_is_no_credential() -> None:
    shown = token("Invitation", expiresAt=None, userRef=None, role="admin", maxUses=1)
    assert await caller(ada(OLD, 1), shown) == ANONYMOUS
    assert await caller(ada(OLD, 1), shown, bearer=False) == ANONYMOUS


@pytest.mark.parametrize(
    ("password", "mark", "valid"),
    [
        (OLD, None, False),  # made before there was a password
        (None, None, True),
        (None, password_mark(OLD), False),  # the password was taken away
    ],
)
async def test_a_session_without_a_password_is_of_a_user_without_one(
    password: str | None, mark: str | None, valid: bool
) -> None:
    user, shown = ada(OLD, 1), session(OLD)
    for spec, name, value in (
        (user["spec"], "passwordHash", password),
        (shown["spec"], "passwordMark", mark),
    ):
        spec.pop(name)
        if value is not None:
            spec[name] = value
    assert (await caller(user, shown, bearer=False) != ANONYMOUS) is valid


@pytest.mark.parametrize(
    "header",
    [
        f"{SESSION_COOKIE}={SECRET}",
        f"theme=dark; {SESSION_COOKIE}={SECRET}; a=b",
        f'{SESSION_COOKIE}="{SECRET}"',
        f"a=b;{SESSION_COOKIE}={SECRET} ;",
        f"{SESSION_COOKIE}=; {SESSION_COOKIE}={SECRET}",  # of an earlier path, say
        "a=b;" * 3500 + f"{SESSION_COOKIE}={SECRET}",
        f"caf\u00e9=1; {SESSION_COOKIE}={SECRET}",
    ],
)
def test_the_session_is_found_among_whatever_cookies(header: str) -> None:
    request = make_mocked_request("GET", "/", headers={"Cookie": header})
    assert session_secret(request) == SECRET


@pytest.mark.parametrize(
    "header",
    [
        "",
        "a=b",
        f"x{SESSION_COOKIE}={SECRET}",
        f"{SESSION_COOKIE}x={SECRET}",
        f"{SESSION_COOKIE}={SECRET}0",
        f"{SESSION_COOKIE}={SECRET[1:]}",
        f"{SESSION_COOKIE}={SECRET.upper()}",
        f"a={SESSION_COOKIE}={SECRET}",
        "a;" * 8000,
    ],
)
def test_what_is_no_session_cookie(header: str) -> None:
    assert session_secret(make_mocked_request("GET", "/", headers={"Cookie": header})) is None
