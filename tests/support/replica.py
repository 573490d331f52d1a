"""Replicas of the facade's accounts, in this process, before an API server real or in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import aiohttp

from support.fake_api import FakeApi
from support.serve import going_on, served
from weir_api.access.accounts import Account
from weir_api.access.identity import Role
from weir_api.access.service import AuthService, AuthSettings
from weir_api.hostapi.access import HostAccess
from weir_api.hostapi.accounts.routes import account_routes
from weir_api.hostapi.app import host_api
from weir_api.state.caches import Caches
from weir_api.state.writer import Writer
from weir_api.web.app import make_app
from weir_api.web.server import HttpServer
from weir_crds.kinds import USER
from weir_crds.user import user_name
from weir_kube.api import Api
from weir_kube.connect import connect

PASSWORD = "difference engine"
# argon2id of it, made once: hashing is not what most tests are about.
_PASSWORD_HASH: list[str] = []

MoreRoutes = Callable[[Caches, Writer], Sequence[object]]


@dataclass
class Replica:
    """One of them."""

    api: Api
    caches: Caches
    writer: Writer
    service: AuthService
    http: aiohttp.ClientSession
    """A client that keeps no cookies by itself."""

    async def person(self, username: str, role: str = "user", **spec: Any) -> Account:
        """Make a User as kubectl would, and return the account; its password is ``PASSWORD``."""
        if not _PASSWORD_HASH:
            _PASSWORD_HASH.append(await self.service.passwords.hash(PASSWORD))
        name = user_name(username)
        full: dict[str, Any] = {"role": role, "passwordHash": _PASSWORD_HASH[0], **spec}
        if name != username:
            full["username"] = username
        await self.writer.create(USER, {"metadata": {"name": name}, "spec": full})
        account = self.service.directory.account(name)
        assert account is not None
        return account

    async def token(self, account: Account) -> dict[str, str]:
        """Return headers with an API token of a user."""
        _, secret = await self.service.tokens.make_api_token(account, "test")
        return bearer(secret)

    async def log_in(self, username: str, password: str = PASSWORD) -> dict[str, str]:
        """Log in over HTTP and return headers with the cookie."""
        body = {"username": username, "password": password}
        async with self.http.post("/api/auth/login", json=body) as answer:
            assert answer.status == 200, await answer.text()
            return cookie_of(answer)

    async def admin(self, username: str = "root") -> dict[str, str]:
        """Return headers of an administrator."""
        return await self.token(await self.person(username, Role.ADMIN.value))


def bearer(secret: str) -> dict[str, str]:
    """Return headers with a bearer token."""
    return {"Authorization": f"Bearer {secret}"}


def cookie_of(answer: aiohttp.ClientResponse) -> dict[str, str]:
    """Return headers with the session that an answer has set."""
    return {"Cookie": f"kohakuriver_session={answer.cookies['kohakuriver_session'].value}"}


@asynccontextmanager
async def replica(
    kubeconfig: Path | FakeApi,
    settings: AuthSettings | None = None,
    more: MoreRoutes = lambda caches, writer: (),
) -> AsyncIterator[Replica]:
    """Serve the accounts, and what ``more`` returns, on loopback.

    Args:
        kubeconfig: of the account weir-api; or an API server in memory, for which no rule of the
            CRDs is in force.
        settings: what an administrator decides.
        more: further routes.
    """
    async with AsyncExitStack() as stack:
        if isinstance(kubeconfig, FakeApi):
            api = cast(Api, kubeconfig)
        else:
            api = await stack.enter_async_context(await connect(str(kubeconfig)))
        caches = Caches(api)
        writer = Writer(api, caches)
        service = AuthService(settings or AuthSettings(), caches, writer)
        stack.callback(service.close)
        await stack.enter_async_context(going_on(caches.run(), service.run()))
        async with asyncio.timeout(60):
            await caches.synced()
        app = make_app(
            host_api(
                HostAccess(service.authenticate),
                [*account_routes(service), *more(caches, writer)],
            ),
            stale_seconds=lambda: caches.stale_seconds,
            ready=lambda: True,
        )
        http = await stack.enter_async_context(served(HttpServer(app)))
        yield Replica(api, caches, writer, service, http)
