"""The Tasks of one submission, made side by side."""

import asyncio
import datetime as dt
from collections.abc import Mapping
from typing import Any, cast

import pytest

from support.hosts import made_host
from support.rest_index import World
from support.rest_tasks import made_task
from weir_api.access.identity import SYSTEM
from weir_api.errors import AccessDeniedError
from weir_api.hostapi.tasks.request import TaskDefaults, draft_of, wanted_of
from weir_api.hostapi.tasks.submit import Batch, TaskMaker
from weir_api.hostapi.tasks.wire import SubmitRequest
from weir_api.state.writer import Writer
from weir_crds.kinds import Kind
from weir_kube.api import Api
from weir_kube.errors import ForbiddenError
from weir_kube.store import Object


class Policy(Writer):
    """Lets the first Task in and refuses the second; others take their time."""

    made = 0
    under_way = 0

    async def create(
        self, kind: Kind, body: Mapping[str, Any], namespace: str | None = None
    ) -> Object:
        self.made += 1
        number = self.made
        if number == 2:
            raise ForbiddenError("policy x denied request: not here", status=403)
        self.under_way += 1
        await asyncio.sleep(0.05 if number > 2 else 0)
        self.under_way -= 1
        return made_task(f"t{number}")


async def test_what_one_refusal_ends_leaves_nothing_going_on() -> None:
    """Else Tasks would be made still when the client has its answer, by nobody's request."""
    world = World()
    world.put(*(made_host(f"n{number}") for number in range(5)))
    writer = Policy(cast(Api, None), world.caches)
    request = SubmitRequest(targets=[f"n{number}" for number in range(5)])
    draft = draft_of(request, SYSTEM, TaskDefaults(), dt.datetime.now(dt.UTC))
    maker = TaskMaker(world.index, world.hosts, writer)

    with pytest.raises(AccessDeniedError, match="not here"):
        await maker.make(Batch(draft, "weir", None, None), wanted_of(request))

    assert writer.under_way == 0
