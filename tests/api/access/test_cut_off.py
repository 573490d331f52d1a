"""A replica that is cut off from the API server does not honour for ever what was revoked there."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import cast

import pytest

from support.accounts import call
from support.aio import until
from support.fake_api import FakeApi
from support.replica import PASSWORD, Replica
from support.serve import going_on
from weir_api.access.service import AuthSettings
from weir_api.state.caches import Caches
from weir_crds.kinds import USER
from weir_kube.api import Api
from weir_kube.errors import ApiUnavailableError
from weir_kube.store import Key

ReplicaOf = Callable[..., Awaitable[Replica]]


@pytest.fixture
def cut_off(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Makes caches say that they have been cut off for so long."""

    def make(seconds: float) -> None:
        monkeypatch.setattr(Caches, "cut_off_seconds", property(lambda _: seconds))

    return make


async def test_what_was_revoked_while_it_is_away_counts_for_a_while_and_then_nothing_does(
    replica_of: ReplicaOf, fake_api: FakeApi, cut_off: Callable[[float], None]
) -> None:
    facade = await replica_of(AuthSettings(max_stale_seconds=60))
    token = await facade.token(await facade.person("ada"))
    session = await facade.log_in("ada")
    fake_api.available = False
    cut_off(60)
    for credential in (token, session):
        await call(facade.http, "GET", "/me", headers=credential)
    cut_off(60.1)
    for credential in (token, session):
        told = await call(facade.http, "GET", "/me", headers=credential, status=503)
        assert "fake" not in told["detail"]
        # What is open to everyone stays so, and who shows nothing is told to log in.
        await call(facade.http, "GET", "/status", headers=credential)
    await call(facade.http, "GET", "/me", status=401)
    fake_api.remove(USER, Key("", "ada"))
    fake_api.available = True
    cut_off(0)
    await until(lambda: facade.service.directory.account("ada") is None)
    for credential in (token, session):
        await call(facade.http, "GET", "/me", headers=credential, status=401)
    body = {"username": "ada", "password": PASSWORD}
    await call(facade.http, "POST", "/login", body, status=401)


class Silent(FakeApi):
    """Answers nothing any more while its watches seem to be open, as behind a broken network."""

    is_silent = False

    async def _reach(self) -> None:
        await super()._reach()
        if self.is_silent:
            raise ApiUnavailableError("no answer")


async def test_it_is_known_for_how_long_it_is_cut_off_while_watches_seem_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("weir_api.state.caches._CONTACT_SECONDS", 0.01)
    now, api = [1000.0], Silent()
    caches = Caches(cast(Api, api), clock=lambda: now[0])
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(going_on(caches.run()))
        await caches.synced()
        await until(lambda: caches.cut_off_seconds <= 0)
        now[0] += 100
        await until(lambda: caches.cut_off_seconds <= 0)
        api.is_silent = True
        now[0] += 61
        assert caches.stale_seconds == 0
        await until(lambda: caches.cut_off_seconds > 60)
        api.is_silent = False
        await until(lambda: caches.cut_off_seconds <= 0)
        api.available = False
        now[0] += 61
        await until(lambda: caches.cut_off_seconds > 60)
