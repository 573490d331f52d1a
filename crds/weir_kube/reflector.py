"""Keep a Store like the API server: list, then watch, and never forget because of an error."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, NoReturn

from weir_crds.kinds import Kind
from weir_kube.api import Api
from weir_kube.backoff import exponential
from weir_kube.errors import ApiError, GoneError
from weir_kube.metrics import REFLECTOR_FAILURES, REFLECTOR_LISTS, REFLECTOR_OBJECTS
from weir_kube.store import Key, Object, Store, version_number

logger = logging.getLogger(__name__)

_BASE_BACKOFF = 0.1
# To open a watch costs the API server little: so the cache is right again soon after its return.
_MAX_WATCH_BACKOFF = 2.0
# A list costs it much, and all daemons of a fleet want theirs when it is back: each waits for a
# random part of the tenth of the time that it was away, and longer where lists fail.
_MAX_LIST_BACKOFF = 30.0
_SPREAD_OF_ABSENCE = 0.1
_SHORT_WATCH_SECONDS = 1.0
# Bookmarks come about once a minute. A watch from a version that is yet to come (etcd was restored
# from a backup) is accepted and shows nothing, without an error.
_SILENT_WATCH_SECONDS = 120.0
_LOG_EVERY_SECONDS = 30.0
_RELIST_SECONDS = 900.0


class Reflector:
    """Lists a kind, then watches it, for ever; what it has seen is in ``store``."""

    def __init__(
        self,
        api: Api,
        kind: Kind,
        *,
        store: Store | None = None,
        namespace: str | None = None,
        field_selector: str | None = None,
        label_selector: str | None = None,
        on_change: Callable[[Key], None] | None = None,
        on_sync: Callable[[], None] | None = None,
        on_recovery: Callable[[], None] = lambda: None,
        relist_seconds: float = _RELIST_SECONDS,
        transform: Callable[[Object], Object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; ``run`` does it.

        Args:
            api: where from.
            kind: what.
            store: where to; by default a new one that holds only what ``field_selector`` selects.
            namespace: None: all of them.
            field_selector: such as ``status.nodeName=n1``.
            label_selector: such as ``weir.dev/host=n1``.
            on_change: called with the key of what was added, changed or is gone, after the store
                has it. It only enqueues.
            on_sync: called after each full list, after its ``on_change`` calls.
            on_recovery: called when a watch is open again after lists or watches that failed.
            relist_seconds: how old the last full list may be, give or take a fifth, when a watch
                comes to its end: a new one shows whatever got lost on the way.
            transform: what to keep of each object; it must keep the metadata. The replies to our
                own writes do not come this way.
            clock: monotonic seconds.
        """
        self.kind = kind
        self.store = store if store is not None else Store(accepts=selection(field_selector))
        self._api = api
        self._namespace = namespace
        self._field_selector = field_selector
        self._label_selector = label_selector
        self._transform = transform
        self._on_change = on_change
        self._on_sync = on_sync
        self._on_recovery = on_recovery
        self._resume: str | None = None  # the version that the watch has reached
        self._synced = asyncio.Event()
        self._opened_at: float | None = None
        self._opened_for_seconds = 0.0
        self._relist_seconds = relist_seconds
        self._clock = clock
        self._contact = self._logged = clock()
        self._relist_at = self._contact
        self._failures = 0  # of watches and lists alike, in a row
        self._list_failures = 0
        REFLECTOR_OBJECTS.labels(kind.kind).set_function(self.store.__len__)

    @property
    def contact_age_seconds(self) -> float:
        """Seconds since the API server last told us anything; up to 160 where nothing happens."""
        return self._clock() - self._contact

    @property
    def is_watching(self) -> bool:
        """Tell whether a watch is open, so that the store follows the API server."""
        return self._opened_at is not None

    async def synced(self) -> None:
        """Wait until the first full list is in the store."""
        await self._synced.wait()

    async def run(self) -> NoReturn:
        """List and watch until cancelled."""
        cause = "start"
        while True:
            wait = 0.0
            try:
                if self._resume is None:
                    self._resume = await self._list(cause)
                await self._watch(self._resume)
                if self._opened_for_seconds < _SHORT_WATCH_SECONDS:
                    self._failures += 1  # the server hangs up on us: do not spin
                    wait = self._backoff()
                elif self._clock() >= self._relist_at:
                    self._resume, cause = None, "turn"
                elif self.contact_age_seconds >= _SILENT_WATCH_SECONDS:
                    self._resume, cause = None, "silent"
            except GoneError as exc:
                logger.info("kind=%s: %s; listing again", self.kind.kind, exc)
                self._resume, cause = None, "expired"
                wait = self._failed(GoneError.reason, None)
            except ApiError as exc:
                wait = max(self._failed(exc.reason, exc), exc.retry_after_seconds or 0.0)
            except Exception:
                logger.exception("kind=%s: list or watch failed", self.kind.kind)
                wait = self._failed("InternalError", None)
            await asyncio.sleep(wait)

    async def _list(self, cause: str) -> str:
        newest = self.store.newest
        self._list_failures += 1  # until it has succeeded
        listed = await self._api.list(
            self.kind,
            self._namespace,
            self._field_selector,
            self._label_selector,
            transform=self._transform,
        )
        self._list_failures = 0
        spread = random.uniform(0.8, 1.2)  # noqa: S311
        self._relist_at = self._clock() + self._relist_seconds * spread
        REFLECTOR_LISTS.labels(self.kind.kind, cause).inc()
        changed = self.store.replace(listed.items, listed.resource_version, newest=newest)
        self._heard()
        for key in changed:
            self._changed(key)
        self._synced.set()
        if self._on_sync is not None:
            self._on_sync()
        return listed.resource_version

    async def _watch(self, resource_version: str) -> None:
        self._opened_for_seconds = 0.0
        events = self._api.watch(
            self.kind,
            resource_version,
            self._namespace,
            self._field_selector,
            self._label_selector,
            on_open=self._opened,
        )
        try:
            async with aclosing(events):
                async for event_type, obj in events:
                    version = obj["metadata"]["resourceVersion"]
                    if _went_back(self._resume, version):
                        raise GoneError(f"the watch went back from {self._resume} to {version}")
                    self._heard()
                    self._failures = 0
                    key = None
                    if event_type == "DELETED" or (
                        event_type != "BOOKMARK" and not self.store.has_seen(obj)
                    ):
                        kept = obj if self._transform is None else self._transform(obj)
                        key = self.store.apply(event_type, kept)
                    self.store.advance(version)
                    self._resume = version
                    if key is not None:
                        self._changed(key)
        finally:
            if self._opened_at is not None:
                self._opened_for_seconds = self._clock() - self._opened_at
                self._opened_at = None
            if self._opened_for_seconds >= _SHORT_WATCH_SECONDS:
                self._failures = 0

    def _opened(self) -> None:
        if self._failures > 1:
            logger.info("kind=%s: watching again", self.kind.kind)
        self._heard()
        self._opened_at = self._contact
        if self._failures:
            self._on_recovery()

    def _heard(self) -> None:
        self._contact = self._clock()

    def _changed(self, key: Key) -> None:
        if self._on_change is None:
            return
        try:
            self._on_change(key)
        except Exception:
            logger.exception("kind=%s key=%s: on_change failed", self.kind.kind, key)

    def _failed(self, reason: str, exc: ApiError | None) -> float:
        self._failures += 1
        REFLECTOR_FAILURES.labels(self.kind.kind, reason).inc()
        now = self._clock()
        if exc is not None and (self._failures == 1 or now - self._logged > _LOG_EVERY_SECONDS):
            self._logged = now
            logger.warning("kind=%s: %s: %s; trying again", self.kind.kind, reason, exc)
        return self._backoff()

    def _backoff(self) -> float:
        """Return the wait before the next try, which is a list if there is no watch to resume."""
        if self._resume is not None:
            return exponential(self._failures, _BASE_BACKOFF, _MAX_WATCH_BACKOFF)
        away = min(self.contact_age_seconds * _SPREAD_OF_ABSENCE, _MAX_LIST_BACKOFF)
        spread = random.uniform(0.0, away)  # noqa: S311
        failures = max(self._list_failures, 1)
        return max(spread, exponential(failures, _BASE_BACKOFF, _MAX_LIST_BACKOFF))


def _went_back(reached: str | None, version: str) -> bool:
    """Tell whether a watch shows what is older than it: etcd was restored from a backup."""
    new, old = version_number(version), version_number(reached)
    return new is not None and old is not None and new < old


def selection(field_selector: str | None) -> Callable[[Object], bool] | None:
    """Return whether an object is in a field selector's selection, as a function of the object.

    Only ``=``, ``==`` and ``!=`` exist, joined by commas; a field that is not there is empty.
    """
    if not field_selector:
        return None
    terms: list[tuple[list[str], str, bool]] = []
    for term in field_selector.split(","):
        path, operator, value = term.partition("!=")
        if not operator:
            path, _, value = term.partition("=")
        terms.append((path.split("."), value.removeprefix("="), not operator))

    def accepts(obj: Object) -> bool:
        return all((_field(obj, path) == value) is wanted for path, value, wanted in terms)

    return accepts


def _field(obj: Any, path: list[str]) -> str:
    for name in path:
        obj = obj.get(name) if isinstance(obj, dict) else None
    return "" if obj is None else str(obj)
