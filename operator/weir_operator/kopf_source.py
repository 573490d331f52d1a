"""kopf, looking like a Reflector: the only door to it.

kopf watches, and what it sees goes into a Store as a Reflector's does. It tells neither when its
first list is complete nor what was deleted while its watch was broken, so full lists of our own
come before it, after each of its own, and now and then.

kopf spends most of a millisecond on handing over one event. So events are taken off its watches as
they come in, and it gets a bookmark in their place, from which it goes on when a watch ends. That
comes once a second at most: what was seen behind the last one comes again then, and tells nothing.
"""

import asyncio
import itertools
import json
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any, NoReturn

import aiohttp
import kopf

from weir_crds.errors import WeirError
from weir_crds.kinds import Kind
from weir_kube.answers import event_in
from weir_kube.api import Api
from weir_kube.errors import ApiError
from weir_kube.metrics import REFLECTOR_OBJECTS
from weir_kube.store import Key, Object, Store, version_number
from weir_operator import metrics

logger = logging.getLogger(__name__)

RELIST_SECONDS = 300.0
"""How old the last full list may become, give or take a fifth."""
_RETRY_SECONDS = 1.0
# A relist of kopf's comes as a burst of events, a thousand a second: one full list answers all.
_BURST_PAUSE_SECONDS = 1.0
_BURST_SECONDS = 15.0
_BOOKMARK_SECONDS = 1.0
_CHANGES = frozenset({"ADDED", "MODIFIED", "DELETED"})


class KopfEndedError(WeirError):
    """kopf came to an end, which it does without a message on some errors."""

    reason = "KopfEnded"


class HistoryWentBackError(WeirError):
    """etcd was restored from a backup: kopf's watch waits for versions that are yet to come."""

    reason = "HistoryWentBack"


class KopfReflector:
    """One kind that kopf follows: what a ``Reflector`` promises; ``KopfSource`` runs it."""

    def __init__(
        self,
        api: Api,
        kind: Kind,
        store: Store,
        on_change: Callable[[Key], None],
        transform: Callable[[Object], Object],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use ``KopfSource.follow``."""
        self._clock = clock
        self.kind = kind
        self.store = store
        self._api = api
        self._on_change = on_change
        self._transform = transform
        self._contact = self._clock()
        self._synced = asyncio.Event()
        self._relisted_at = self._contact - _BURST_SECONDS
        self._wanted = asyncio.Event()
        self._known_to_kopf: set[str] = set()
        self._reached: str | None = None  # by the watch, behind the last bookmark for kopf
        self._bookmarked_at = self._contact - _BOOKMARK_SECONDS
        REFLECTOR_OBJECTS.labels(kind.kind).set_function(store.__len__)

    @property
    def contact_age_seconds(self) -> float:
        """Seconds since the API server last told us anything of this kind."""
        return self._clock() - self._contact

    @property
    def is_watching(self) -> bool:
        """Whether the store follows the API server; kopf does not tell, so: once it was filled."""
        return self._synced.is_set()

    async def synced(self) -> None:
        """Wait until the first full list is in the store."""
        await self._synced.wait()

    def take(self, event_type: str | None, obj: Object) -> None:
        """Take one event of kopf's; a None type is from a list of its own."""
        self._contact = self._clock()
        key = self.store.apply(event_type, obj)
        if key is not None:
            self._changed(key)
        if event_type is None:  # what was deleted meanwhile it does not say
            self._relisted_at = self._contact
            self._wanted.set()
            self._known_to_kopf.add(obj["metadata"]["uid"])

    def take_lines(self, lines: Iterable[bytes], *, is_end: bool = False) -> bytes:
        """Take events as a watch sends them; return what kopf is to see of them.

        That is how far the watch has come, and what ends it. A deletion it has to know of an object
        that it has listed, of which it would keep notes else.
        """
        shown: list[bytes] = []
        for line in filter(None, lines):
            try:
                event_type, obj = event_in(line, f"watch {self.kind.kind}")
            except ApiError as exc:
                shown.append(self._begin_anew({"message": str(exc)}))
                break  # what follows was sent by the same: a list shows what is there
            self._contact = self._clock()
            if event_type == "ERROR":
                shown.append(self._begin_anew(obj))
                continue
            if event_type not in _CHANGES:
                shown.append(line)
                continue
            self.take(event_type, obj)
            metadata = obj["metadata"]
            self._reached = metadata["resourceVersion"]
            if event_type == "DELETED" and metadata["uid"] in self._known_to_kopf:
                self._known_to_kopf.discard(metadata["uid"])
                shown.append(line)
        is_due = self._contact - self._bookmarked_at >= _BOOKMARK_SECONDS
        if self._reached is not None and (shown or is_due or is_end):
            # First, so that an error behind it stays the last word. Versions only grow.
            shown.insert(0, _bookmark(self.kind, self._reached))
            self._reached, self._bookmarked_at = None, self._contact
        return b"".join(line + b"\n" for line in shown)

    def _begin_anew(self, error: Object) -> bytes:
        """Return the error that has kopf list and watch anew; at all others it ends the process."""
        if error.get("code") != HTTPStatus.GONE:
            logger.warning("watch of %s broke off: %s", self.kind.plural, error)
        return json.dumps({"type": "ERROR", "object": {**error, "code": HTTPStatus.GONE}}).encode()

    async def fill(self) -> None:
        """Make the first full list, however long it takes."""
        while True:
            try:
                await self._list("start")
                break
            except ApiError as exc:
                logger.warning("cannot list %s yet: %s: %s", self.kind.plural, exc.reason, exc)
                await asyncio.sleep(_RETRY_SECONDS)
        self._synced.set()

    async def relist(self) -> NoReturn:
        """Make full lists for ever: after kopf's, and now and then.

        Raises:
            HistoryWentBackError: a list shows an older world than the one before.
        """
        while True:
            why = "time"
            try:
                seconds = RELIST_SECONDS * random.uniform(0.8, 1.2)  # noqa: S311
                async with asyncio.timeout(seconds):
                    await self._wanted.wait()
                    why = "relist"
            except TimeoutError:
                pass
            await self._burst_over()
            self._wanted.clear()
            try:
                await self._list(why)
            except ApiError as exc:
                logger.warning("cannot list %s: %s: %s", self.kind.plural, exc.reason, exc)
                self._wanted.set()
                await asyncio.sleep(_RETRY_SECONDS)

    async def _burst_over(self) -> None:
        give_up = self._clock() + _BURST_SECONDS
        while (now := self._clock()) < give_up:
            pause = self._relisted_at + _BURST_PAUSE_SECONDS - now
            if pause <= 0:
                return
            await asyncio.sleep(pause)

    async def _list(self, why: str) -> None:
        newest = self.store.newest
        listed = await self._api.list(self.kind, transform=self._transform)
        self._contact = self._clock()
        version = version_number(listed.resource_version)
        if newest is not None and version is not None and version < newest:
            raise HistoryWentBackError(
                f"{self.kind.plural} are at version {version}, and were at {newest}"
            )
        metrics.RESYNCS.labels(why).inc()
        changed = self.store.replace(listed.items, listed.resource_version)
        if why != "start" and changed:
            logger.info("full list told news of %d %s", len(changed), self.kind.plural)
        for key in sorted(changed):
            self._changed(key)

    def _changed(self, key: Key) -> None:
        try:
            self._on_change(key)
        except Exception:
            logger.exception("kind=%s key=%s: on_change failed", self.kind.kind, key)


class WatchTap:
    """The content of a watch's answer, as far as kopf reads it."""

    def __init__(self, content: aiohttp.StreamReader, reflector: KopfReflector) -> None:
        """Read ``content``, whose events the reflector takes."""
        self._content = content
        self._reflector = reflector

    def __getattr__(self, name: str) -> Any:
        """All else that aiohttp asks of the content of its answer is the stream's."""
        return getattr(self._content, name)

    async def iter_chunked(self, _size: int) -> AsyncIterator[bytes]:
        """As ``aiohttp.StreamReader.iter_chunked``."""
        rest = b""
        async for chunk in self._content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            shown = self._reflector.take_lines(lines)
            if shown:
                yield shown
        # What is cut off the next watch sends again.
        last = [rest] if rest and not _is_cut_off(rest) else []
        if shown := self._reflector.take_lines(last, is_end=True):
            yield shown


def _is_cut_off(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return True
    return False


def _bookmark(kind: Kind, version: str) -> bytes:
    obj = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"resourceVersion": version},
    }
    return json.dumps({"type": "BOOKMARK", "object": obj}).encode()


class KopfSource:
    """All kinds that kopf follows, in one operator of kopf's."""

    def __init__(self, api: Api, *, on_started: Callable[[], None] = lambda: None) -> None:
        """Follow nothing yet.

        Args:
            api: where from.
            on_started: called when kopf has begun, which takes the process's signals for itself.
        """
        self._api = api
        self._on_started = on_started
        self._reflectors: list[KopfReflector] = []

    def follow(
        self,
        kind: Kind,
        *,
        store: Store,
        on_change: Callable[[Key], None],
        transform: Callable[[Object], Object],
    ) -> KopfReflector:
        """Have a kind followed, as a ``Reflector`` with these arguments would."""
        reflector = KopfReflector(self._api, kind, store, on_change, transform)
        self._reflectors.append(reflector)
        return reflector

    async def run(self) -> NoReturn:
        """List, then watch for ever.

        Raises:
            KopfEndedError: kopf returned; it should never do so.
            HistoryWentBackError: the process has to begin anew.
        """
        for reflector in self._reflectors:
            await reflector.fill()
        relisting = [asyncio.create_task(each.relist()) for each in self._reflectors]
        watching = asyncio.create_task(self._watch())
        try:
            await asyncio.wait({watching, *relisting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (watching, *relisting):
                task.cancel()
            results = await asyncio.gather(watching, *relisting, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result
        raise KopfEndedError("kopf returned")

    async def _watch(self) -> None:
        """Run kopf. At its end it cancels every task that was begun after it."""
        ours = asyncio.all_tasks()
        tasks = await kopf.spawn_tasks(
            registry=self._registry(), settings=kopf_settings(), standalone=True, clusterwide=True
        )
        self._on_started()
        await kopf.run_tasks(tasks, ignored=ours)

    async def _tap(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Have the events of kopf's watches taken as they come in."""
        response = await handler(request)
        if response.ok and request.url.query.get("watch") == "true":
            for reflector in self._reflectors:
                if request.url.path.endswith(reflector.kind.path()):
                    response.content = WatchTap(response.content, reflector)  # type: ignore[assignment]
        return response

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        logins = itertools.count()

        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> kopf.AiohttpSession:
            # The session looks its token up for each request. kopf never takes back credentials
            # that failed once, so that each login has to differ.
            attempt = next(logins)
            await asyncio.sleep(min(2.0, 0.2 * attempt))
            session = self._api.session(self._tap)
            return kopf.AiohttpSession(
                server=self._api.server, aiohttp_session=session, priority=attempt
            )

        for reflector in self._reflectors:
            _register(registry, reflector)
        return registry


def _register(registry: kopf.OperatorRegistry, reflector: KopfReflector) -> None:
    kind = reflector.kind

    @kopf.on.event(kind.group, kind.version, kind.plural, registry=registry)
    async def changed(event: kopf.RawEvent, **_: Any) -> None:
        reflector.take(event["type"], dict(event["object"]))


class EndlessBackoffs:
    """Delays between kopf's tries, without end; a finite list would end the process."""

    def __iter__(self) -> Iterator[float]:
        """Begin anew for each request: quickly at first, then about every two seconds."""
        for attempt in itertools.count():
            yield min(2.0, 0.1 * 2 ** min(attempt, 6)) * random.uniform(0.5, 1.0)  # noqa: S311


class NothingStored(kopf.DiffBaseStorage):
    """Keeps kopf from computing and comparing what it would store on our objects."""

    def build(self, **_: Any) -> Any:
        """Return nothing."""
        return {}

    def fetch(self, **_: Any) -> Any:
        """Return nothing."""
        return None

    def store(self, **_: Any) -> None:
        """Store nothing."""


def kopf_settings() -> kopf.OperatorSettings:
    """Return how kopf is to behave: watch, hand over, write nothing."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.networking.error_backoffs = EndlessBackoffs()
    settings.networking.request_timeout = 30.0
    settings.networking.connect_timeout = 5.0
    settings.persistence.diffbase_storage = NothingStored()
    settings.watching.chunk_size = 500
    settings.queueing.idle_timeout = 0.5
    settings.queueing.exit_timeout = 0.5
    settings.process.ultimate_exiting_timeout = 30.0
    return settings
