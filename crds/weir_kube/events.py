"""Events of Kubernetes (``events.k8s.io/v1``): what happened to an object, in ``kubectl describe``.

Best effort, beside the work: to record one takes no time and cannot fail; what is too much is
dropped, and counted in ``weir_events_dropped_total``. Who causes many delays and displaces only
their own.
"""

import asyncio
import datetime as dt
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from prometheus_client import Counter

from weir_crds.kinds import Kind
from weir_crds.times import now_rfc3339
from weir_crds.unprintable import drop_unprintable
from weir_kube.api import Api
from weir_kube.backoff import exponential
from weir_kube.errors import (
    AlreadyExistsError,
    ApiError,
    ApiUnavailableError,
    NotFoundError,
    TooManyRequestsError,
)
from weir_kube.fair_queue import FairQueue
from weir_kube.kinds import EVENT

logger = logging.getLogger(__name__)

_DROPPED = Counter(
    "weir_events_dropped",
    "Events of Kubernetes that were not written; Full: too many waited, Stopped: the process"
    " ended, else why the API server did not take them.",
    ["reason"],
)

# What the API server takes: k8s.io/kubernetes/pkg/apis/core/validation/events.go.
_NOTE_BYTES = 1024
_WORD_CHARACTERS = 128
_NAME_CHARACTERS = 253
_OF_CLUSTER_SCOPED = "default"
"""The namespace of Events about objects that have none."""

_DEADLINE_SECONDS = 5.0
_TRIES = 3
_LAST_SECONDS = 2.0
# As client-go has it: what comes again within this time counts up the Event that is there.
_SERIES_SECONDS = 360.0
_MOST_SERIES = 1000


@dataclass(frozen=True, slots=True)
class Occurrence:
    """Something that happened.

    Attributes:
        action: what was done or tried, a verb in CamelCase (``Kill``).
        reason: what came of it, in CamelCase (``Killed``): short, of few values.
        note: for people; it becomes one line, and what is beyond 1024 bytes is cut.
        warning: True: it is shown as one.
    """

    action: str
    reason: str
    note: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class _SeriesKey:
    """One kind of Event of one object: those that are alike are one that counts."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    occurrence: Occurrence


@dataclass(slots=True)
class _Pending:
    """What is not written yet."""

    event_name: str
    first: dt.datetime
    last: dt.datetime
    count: int = 1


@dataclass(slots=True)
class _Series:
    """An Event that is there."""

    event_name: str
    count: int
    seen: float


class EventRecorder:
    """Writes Events; ``run`` beside the work, ``close`` at the end."""

    def __init__(
        self,
        api: Api,
        *,
        controller: str,
        instance: str,
        most: int = 1000,
        burst: int = 25,
        per_second: float = 5.0,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Write none yet.

        Args:
            api: where to; its account needs the verbs create and patch.
            controller: who reports, a qualified name (``weir.dev/api``).
            instance: which of its processes, say the host's name.
            most: how many may wait.
            burst: how many are written at once, after a while without any.
            per_second: how many are written in the long run.
            now: the time.
            clock: seconds.
        """
        self._api = api
        self._controller = controller
        self._instance = instance[:_WORD_CHARACTERS]
        self._burst = float(burst)
        self._per_second = per_second
        self._now = now
        self._clock = clock
        self._waiting: FairQueue[_SeriesKey, _Pending] = FairQueue(most)
        self._series: OrderedDict[_SeriesKey, _Series] = OrderedDict()
        self._wake = asyncio.Event()
        self._allowed = self._burst
        self._allowed_at = clock()

    def record(
        self, kind: Kind, obj: Mapping[str, Any], occurrence: Occurrence, source: str = ""
    ) -> None:
        """Have an Event written of an object, some time; never waits, never raises.

        ``source`` is who has caused it: sources take turns.
        """
        metadata = obj["metadata"]
        key = _SeriesKey(
            kind.api_version,
            kind.kind,
            metadata.get("namespace", ""),
            metadata["name"],
            metadata.get("uid", ""),
            occurrence,
        )
        now = self._now()
        pending = self._waiting.get(source, key)
        if pending is not None:
            pending.count += 1
            pending.last = now
            return
        if not self._waiting.put(source, key, _Pending(_event_name(key), now, now)):
            _DROPPED.labels("Full").inc()
        self._wake.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._wake.wait()
            await self._turn()
            await self._next()

    async def close(self) -> None:
        """Write what still waits, for two seconds at most; once ``run`` is over."""
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                while self._waiting:
                    await self._next()
        except TimeoutError:
            pass
        _DROPPED.labels("Stopped").inc(len(self._waiting))
        self._waiting.clear()

    async def _turn(self) -> None:
        """Wait until one more may be written: a token bucket."""
        now = self._clock()
        earned = (now - self._allowed_at) * self._per_second
        self._allowed = min(self._burst, self._allowed + earned) - 1
        self._allowed_at = now
        if self._allowed < 0:
            await asyncio.sleep(-self._allowed / self._per_second)

    async def _next(self) -> None:
        """Write the one that has waited longest, of the source whose turn it is."""
        source, key, pending = self._waiting.take()
        if not self._waiting:
            self._wake.clear()
        try:
            await self._write(key, pending)
        except asyncio.CancelledError:
            again = self._waiting.get(source, key)  # it may have come again meanwhile
            if again is not None:
                pending.count += again.count
                pending.last = again.last
            self._waiting.put_back(source, key, pending)
            self._wake.set()
            raise
        except ApiError as exc:
            _DROPPED.labels(exc.reason).inc()
            logger.warning("no event %s of %s: %s", key.occurrence.reason, key.name, exc)

    async def _write(self, key: _SeriesKey, pending: _Pending) -> None:
        """Count up the Event that is there, or make one."""
        series = self._series.get(key)
        if series is not None and self._clock() - series.seen < _SERIES_SECONDS:
            count = series.count + pending.count
            try:
                await self._try(lambda: self._count_up(key, series.event_name, count, pending.last))
            except NotFoundError:
                logger.debug("event %s has expired", series.event_name)  # after an hour, say
            else:
                self._note(key, _Series(series.event_name, count, self._clock()))
                return
        body = self._body(key, pending)

        async def create() -> None:
            with suppress(AlreadyExistsError):  # the answer to an earlier try was lost
                await self._api.create(
                    EVENT, body, _namespace_of(key), deadline_seconds=_DEADLINE_SECONDS
                )

        await self._try(create)
        self._note(key, _Series(pending.event_name, pending.count, self._clock()))

    async def _count_up(
        self, key: _SeriesKey, event_name: str, count: int, last: dt.datetime
    ) -> None:
        await self._api.patch(
            EVENT,
            event_name,
            {"series": _series(count, last)},
            _namespace_of(key),
            deadline_seconds=_DEADLINE_SECONDS,
        )

    async def _try(self, write: Callable[[], Awaitable[None]]) -> None:
        """Write; an API server that is away or busy is asked again, for a while."""
        failures = 0
        while True:
            try:
                await write()
            except (ApiUnavailableError, TooManyRequestsError) as exc:
                failures += 1
                if failures == _TRIES:
                    raise
                wait = exponential(failures, 1.0, 10.0)
                await asyncio.sleep(max(wait, min(exc.retry_after_seconds or 0.0, 10.0)))
            else:
                return

    def _note(self, key: _SeriesKey, series: _Series) -> None:
        self._series[key] = series
        self._series.move_to_end(key)
        while len(self._series) > _MOST_SERIES:
            self._series.popitem(last=False)

    def _body(self, key: _SeriesKey, pending: _Pending) -> dict[str, Any]:
        occurrence = key.occurrence
        regarding = {
            "apiVersion": key.api_version,
            "kind": key.kind,
            "namespace": key.namespace,
            "name": key.name,
            "uid": key.uid,
        }
        body: dict[str, Any] = {
            "metadata": {"name": pending.event_name, "namespace": _namespace_of(key)},
            "eventTime": now_rfc3339(pending.first),
            "reportingController": self._controller,
            "reportingInstance": self._instance,
            "type": "Warning" if occurrence.warning else "Normal",
            "action": occurrence.action[:_WORD_CHARACTERS],
            "reason": occurrence.reason[:_WORD_CHARACTERS],
            "note": _one_line(occurrence.note),
            "regarding": {name: value for name, value in regarding.items() if value},
        }
        if pending.count > 1:
            body["series"] = _series(pending.count, pending.last)
        return body


def _event_name(key: _SeriesKey) -> str:
    unique = uuid4().hex[:16]
    return f"{key.name[: _NAME_CHARACTERS - 1 - len(unique)].rstrip('-.')}.{unique}"


def _one_line(note: str) -> str:
    """Return a note as one line that reads from left to right: kubectl prints it into a table."""
    line = " ".join(note.split()).encode("utf-8", "replace").decode()
    return drop_unprintable(line).encode()[:_NOTE_BYTES].decode("utf-8", "ignore")


def _namespace_of(key: _SeriesKey) -> str:
    return key.namespace or _OF_CLUSTER_SCOPED


def _series(count: int, last: dt.datetime) -> dict[str, Any]:
    return {"count": count, "lastObservedTime": now_rfc3339(last)}
