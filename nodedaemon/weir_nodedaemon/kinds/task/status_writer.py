"""The one way in which the daemon writes a Task's status."""

import contextlib
import logging
from collections.abc import Mapping
from typing import Any

from weir_crds import conditions, retry
from weir_crds.conditions import ConditionType, Reason
from weir_crds.kinds import TASK
from weir_kube.api import Api
from weir_kube.errors import ApiError, NotFoundError
from weir_kube.status import patch_status
from weir_kube.store import Object, Store, key_of
from weir_nodedaemon.instances.identity import Clock
from weir_nodedaemon.kinds.task.status import not_started_changes

logger = logging.getLogger(__name__)


class StatusWriter:
    """Writes status; every reply is in the cache before anything else is decided."""

    def __init__(self, api: Api, store: Store, clock: Clock) -> None:
        """Write to ``api``, and note the replies in ``store``."""
        self._api = api
        self._store = store
        self._clock = clock

    def is_current(self, task: Object) -> bool:
        """Tell whether the cache has nothing newer."""
        return self._store.get(key_of(task)) is task

    async def write(self, task: Object, changes: Mapping[str, Any]) -> None:
        """Write changes that were decided on ``task``; nothing is sent where none would change.

        Raises:
            ConflictError: the Task has changed since; look again and decide anew.
            ApiError: the API server did not answer, or refused.
        """
        written = await patch_status(self._api, TASK, task, changes)
        self._store.apply("MODIFIED", written)

    async def not_started(self, task: Object, reason: Reason, message: str) -> None:
        """Say why a run does not start yet; raises as ``write`` does."""
        await self.write(task, not_started_changes(task, reason, message, self._clock().at))

    async def engine_away(self, task: Object) -> None:
        """Say that the engine holds a start up; takes back nothing, never raises ApiError."""
        status = task["status"]
        if status.get("finishedAt") or retry.is_stopped(status):
            return
        if conditions.is_true(task, ConditionType.STARTED):
            return
        message = "the container engine does not answer"
        try:
            await self.not_started(task, Reason.ENGINE_UNAVAILABLE, message)
        except ApiError as exc:
            logger.warning("not reported task=%s: %s", key_of(task), exc)

    async def refresh(self, task: Object) -> None:
        """After a conflict, put the object as it is now into the cache; raises ApiError."""
        key = key_of(task)
        with contextlib.suppress(NotFoundError):  # the watch will say so
            self._store.apply("MODIFIED", await self._api.get(TASK, key.name, key.namespace))
