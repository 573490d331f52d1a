"""The whole host API in this process, as ``main`` puts it together, before the real API server."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from support.replica import bearer
from support.serve import going_on, served
from weir_api import settings
from weir_api.composition import compose
from weir_api.state.caches import Caches
from weir_api.state.writer import Writer
from weir_api.web.endpoint import Family
from weir_crds.access_token import token_hash, token_name
from weir_crds.ids import account_id
from weir_crds.kinds import ACCESSTOKEN, USER
from weir_kube.connect import connect


@dataclass
class Composed:
    """The application, and how to make what it shows.

    Attributes:
        family: what it serves.
        caches: what it reads.
        writer: writes as the facade's account; the application sees it at once.
        http: a client that keeps no cookies.
    """

    family: Family
    caches: Caches
    writer: Writer
    http: aiohttp.ClientSession

    async def person(self, name: str, role: str) -> tuple[str, dict[str, str]]:
        """Make a User; return its id and headers with a token of it."""
        user = await self.writer.create(USER, {"metadata": {"name": name}, "spec": {"role": role}})
        uid = user["metadata"]["uid"]
        headers = await self.token("API", userRef={"name": name, "uid": uid})
        return str(account_id(uid)), headers

    async def token(self, token_type: str, **spec: Any) -> dict[str, str]:
        """Make an AccessToken; return headers with it."""
        secret = secrets.token_hex(32)
        hashed = token_hash(secret)
        full = {"type": token_type, "tokenHash": hashed, **spec}
        body = {"metadata": {"name": token_name(token_type, hashed)}, "spec": full}
        await self.writer.create(ACCESSTOKEN, body)
        return bearer(secret)


@asynccontextmanager
async def composed(kubeconfig: Path, namespace: str, *flags: str) -> AsyncIterator[Composed]:
    """Serve the host API on loopback.

    Args:
        kubeconfig: of the account weir-api.
        namespace: where it makes Tasks.
        flags: of the command line.
    """
    chosen = settings.parse(
        [f"--kubeconfig={kubeconfig}", f"--namespace={namespace}", *flags], environ={}
    )
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(await connect(str(kubeconfig)))
        caches = Caches(api)
        parts = compose(chosen, api, caches, stack, ready=lambda: True)
        works = (work() for work in (caches.run, *parts.background))
        await stack.enter_async_context(going_on(*works))
        async with asyncio.timeout(60):
            await caches.synced()
        http = await stack.enter_async_context(served(parts.listeners[0].build()))
        yield Composed(parts.families[0], caches, Writer(api, caches), http)
