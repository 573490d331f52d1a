"""What the facade reads: one watch cache per kind, shared by all requests."""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from sys import intern
from typing import Any

from weir_crds.kinds import ACCESSTOKEN, HOST, TASK, USER, Kind
from weir_crds.names import SYSTEM_NAMESPACE
from weir_kube.api import Api
from weir_kube.errors import ApiError, NotFoundError
from weir_kube.kinds import LEASE
from weir_kube.reflector import Reflector
from weir_kube.store import Key, Object, Store

logger = logging.getLogger(__name__)

_NAMESPACE: Mapping[Kind, str] = {LEASE: SYSTEM_NAMESPACE}
_KINDS = (TASK, HOST, USER, ACCESSTOKEN, LEASE)

_CONTACT_SECONDS = 5.0
_CONTACT_DEADLINE_SECONDS = 4.0

# Words of the API, as opposed to names, times and ids, which are each there once.
_is_word = re.compile(r"[^0-9]{1,64}").fullmatch

OnChange = Callable[[Key], None]


class Caches:
    """Reflectors of all kinds that the facade reads; their Stores are open to everyone."""

    def __init__(self, api: Api, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Watch nothing yet."""
        self._api = api
        self._clock = clock
        self._answered_at = clock()
        self._listeners: dict[Kind, list[OnChange]] = {kind: [] for kind in _KINDS}
        self._reflectors = {kind: self._reflector(api, kind) for kind in _KINDS}
        self._away_since: float | None = None

    def __getitem__(self, kind: Kind) -> Store:
        """Return the Store of a kind."""
        return self._reflectors[kind].store

    def listen(self, kind: Kind, on_change: OnChange) -> None:
        """Have ``on_change`` called for each key that changes, our own writes included."""
        self._listeners[kind].append(on_change)

    def note(self, kind: Kind, obj: Object, *, deleted: bool = False) -> None:
        """Take the reply to our own write, so that the next read shows it."""
        key = self[kind].apply("DELETED" if deleted else "MODIFIED", compact(obj))
        if key is not None:
            self._changed(kind, key)

    @property
    def has_synced(self) -> bool:
        """Tell whether every cache has had a full list."""
        return all(reflector.store.has_synced for reflector in self._reflectors.values())

    @property
    def stale_seconds(self) -> float:
        """For how long some cache has not followed the API server; 0: all do."""
        if all(reflector.is_watching for reflector in self._reflectors.values()):
            self._away_since = None
            return 0.0
        now = self._clock()
        if self._away_since is None:
            self._away_since = now
        return now - self._away_since

    @property
    def cut_off_seconds(self) -> float:
        """For how long nothing that was revoked meanwhile can be known of here.

        It grows also while watches only seem to be open: an API server that is behind a broken
        network says nothing, not even that.
        """
        return max(self.stale_seconds, self._clock() - self._answered_at - _CONTACT_SECONDS)

    async def run(self) -> None:
        """List and watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_contact())
            for reflector in self._reflectors.values():
                group.create_task(reflector.run())

    async def synced(self) -> None:
        """Wait until every cache has had a full list."""
        for reflector in self._reflectors.values():
            await reflector.synced()

    async def _keep_contact(self) -> None:
        """Ask the API server something small again and again, to know how long it is away."""
        while True:
            asked_at = self._clock()
            try:
                with suppress(NotFoundError):  # an answer, too
                    await self._api.get(
                        ACCESSTOKEN, "contact", deadline_seconds=_CONTACT_DEADLINE_SECONDS
                    )
                self._answered_at = asked_at
            except ApiError as exc:
                logger.debug("no contact: %s", exc)
            await asyncio.sleep(_CONTACT_SECONDS)

    def _reflector(self, api: Api, kind: Kind) -> Reflector:
        return Reflector(
            api,
            kind,
            namespace=_NAMESPACE.get(kind),
            transform=compact,
            on_change=lambda key: self._changed(kind, key),
        )

    def _changed(self, kind: Kind, key: Key) -> None:
        for on_change in self._listeners[kind]:
            try:
                on_change(key)
            except Exception:
                # The others have to know, and who wrote it has done so.
                logger.exception("kind=%s key=%s: not taken in", kind.kind, key)


def compact(obj: Object) -> Object:
    """Return an equal object without ``managedFields`` that shares its words with all others.

    What a watch tells is parsed event by event, each with its own copies of all field names:
    without this, ten thousand Tasks would take twice the memory after an hour of changes.
    """
    metadata = {name: obj["metadata"][name] for name in obj["metadata"] if name != "managedFields"}
    kept: Object = _shared({**obj, "metadata": metadata})
    return kept


def _shared(value: Any) -> Any:
    if isinstance(value, str):
        return intern(value) if _is_word(value) else value
    if isinstance(value, dict):
        return {intern(key): _shared(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shared(item) for item in value]
    return value
