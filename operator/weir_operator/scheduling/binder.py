"""Write binds, many at a time, until each has an answer."""

import asyncio
import datetime as dt
import itertools
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from enum import StrEnum

from weir_crds.errors import WeirError
from weir_kube.api import Api
from weir_kube.backoff import exponential
from weir_kube.errors import UNANSWERED, ApiError, ApiUnavailableError
from weir_kube.store import Key, Object, Store
from weir_kube.transport import DEADLINE_SECONDS
from weir_operator import metrics
from weir_operator.scheduling.place import Placement
from weir_operator.scheduling.queue import Pending
from weir_operator.scheduling.workload import Workload
from weir_operator.writes import refresh, write_status

logger = logging.getLogger(__name__)

BINDS_AT_ONCE = 32
UNANSWERED_AT_MOST = 64
"""From so many unanswered binds on, an owner gets another one only when it has none."""
_REPEATS_AT_ONCE = 8
_FIRST_TRY_SECONDS = 5.0
"""How long a first try may take a place; with a repeat there is more time."""
_NONE: frozenset[str] = frozenset()


class Outcome(StrEnum):
    """How a bind ended."""

    BOUND = "bound"
    CONFLICT = "conflict"
    """The object has changed: the cache shows it as it is now."""
    GONE = "gone"
    REFUSED = "refused"
    """The write was refused, or failed here; nothing was bound."""


@dataclass(frozen=True, slots=True)
class Bind:
    """One decision, and the object that it was made on."""

    pending: Pending
    placement: Placement
    obj: Object
    workload: Workload
    store: Store


class Binder:
    """The binds in flight.

    One whose answer is missing is repeated until there is one: it may have taken effect, and the
    repeat is harmless, because it conflicts then. From then on it takes no place from others.

    There are never more than ``UNANSWERED_AT_MOST`` of these, the ``BINDS_AT_ONCE`` that are on
    their way, and one for each owner: what an API server does not answer for one owner must
    neither hold cores without end nor keep another owner's workloads.
    """

    def __init__(
        self, api: Api, *, now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)
    ) -> None:
        """Make a binder that writes to ``api``; ``now`` is the time for what is written."""
        self._api = api
        self._now = now
        self.on_room: Callable[[], None] = lambda: None
        """Called when another bind may be started though none has ended."""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._binds: dict[str, Bind] = {}
        self._owners: Counter[str] = Counter()
        self._unanswered = 0
        self._repeats = asyncio.Semaphore(_REPEATS_AT_ONCE)
        metrics.BINDS_IN_FLIGHT.set_function(self.__len__)

    def __len__(self) -> int:
        """Return how many binds have no answer yet."""
        return len(self._tasks)

    def __contains__(self, uid: object) -> bool:
        """Tell whether a bind of that object has no answer yet."""
        return uid in self._tasks

    def __iter__(self) -> Iterator[Bind]:
        """Go through the binds that have no answer yet."""
        return iter(self._binds.values())

    @property
    def has_room(self) -> bool:
        """Whether another bind may be started."""
        return len(self._tasks) - self._unanswered < BINDS_AT_ONCE

    @property
    def barred_owners(self) -> Set[str]:
        """The owners for whom no bind may be started now; a view that changes with each bind."""
        return self._owners.keys() if self._unanswered >= UNANSWERED_AT_MOST else _NONE

    def start(self, bind: Bind, on_done: Callable[[Bind, Outcome], None]) -> None:
        """Write a bind in a task of its own; ``on_done`` is called once, when it has ended."""
        self._tasks[bind.pending.uid] = asyncio.create_task(
            self._run(bind, on_done), name=f"bind {bind.pending.key}"
        )
        self._binds[bind.pending.uid] = bind
        self._owners[bind.pending.owner] += 1

    def close(self) -> None:
        """Give up all binds; they may have taken effect, so nobody is told of an outcome."""
        for task in self._tasks.values():
            task.cancel()

    async def _run(self, bind: Bind, on_done: Callable[[Bind, Outcome], None]) -> None:
        key, host = bind.pending.key, bind.placement.host
        what = key.kind.lower()
        started = time.perf_counter()
        outcome = Outcome.REFUSED
        try:
            outcome = await self._write(bind)
        except WeirError as exc:
            logger.warning("bind refused %s=%s host=%s: %s", what, key, host, exc)
        except Exception:
            logger.exception("bind failed %s=%s host=%s", what, key, host)
        del self._tasks[bind.pending.uid], self._binds[bind.pending.uid]
        self._owners[bind.pending.owner] -= 1
        if not self._owners[bind.pending.owner]:
            del self._owners[bind.pending.owner]
        if outcome is Outcome.BOUND:
            logger.info("bound %s=%s host=%s cpus=%s", what, key, host, bind.placement.cpus)
        metrics.BINDS.labels(outcome.value).inc()
        metrics.BIND_SECONDS.observe(time.perf_counter() - started)
        on_done(bind, outcome)

    async def _write(self, bind: Bind) -> Outcome:
        try:
            return await self._try(bind, _FIRST_TRY_SECONDS)
        except UNANSWERED as exc:
            unanswered = exc
        self._unanswered += 1
        self.on_room()
        try:
            return await self._repeat_until_answered(bind, unanswered)
        finally:
            self._unanswered -= 1

    async def _repeat_until_answered(self, bind: Bind, unanswered: ApiError) -> Outcome:
        for attempt in itertools.count(1):
            delay = unanswered.retry_after_seconds or exponential(attempt, 0.2, 10.0)
            key = bind.pending.key
            logger.warning(
                "bind unanswered %s=%s, again in %.1f s: %s",
                key.kind.lower(), key, delay, unanswered,
            )  # fmt: skip
            await asyncio.sleep(delay)
            async with self._repeats:
                try:
                    return await self._repeat(bind)
                except UNANSWERED as exc:
                    unanswered = exc
        raise AssertionError("there is no last attempt")

    async def _try(self, bind: Bind, deadline_seconds: float = DEADLINE_SECONDS) -> Outcome:
        changes = bind.workload.bound(bind.obj, bind.placement, self._now())
        kind = bind.workload.kind
        if await write_status(
            self._api, kind, bind.store, bind.obj, changes, deadline_seconds=deadline_seconds
        ):
            return Outcome.BOUND
        return Outcome.CONFLICT if bind.pending.key.object_key in bind.store else Outcome.GONE

    async def _repeat(self, bind: Bind) -> Outcome:
        """Write again; a refusal tells nothing of the try before, so the object itself is asked.

        One that may not be looked at tells nothing either: an API server that has just begun
        forbids what it will allow in a moment, when it has read the roles.
        """
        try:
            return await self._try(bind)
        except UNANSWERED:
            raise
        except WeirError:
            key = bind.pending.key.object_key
            live = await self._look(bind, key)
            if live is None:
                return Outcome.GONE
            is_same = live["metadata"]["uid"] == bind.pending.uid
            if is_same and bind.workload.claim(live, self._now()).holds is None:
                raise
            return Outcome.CONFLICT

    async def _look(self, bind: Bind, key: Key) -> Object | None:
        """Return the object as it is now; None: it is gone.

        Raises:
            ApiError: one of ``UNANSWERED``.
        """
        try:
            return await refresh(self._api, bind.workload.kind, bind.store, key)
        except UNANSWERED:
            raise
        except ApiError as exc:
            raise ApiUnavailableError(f"whether it is bound is not told: {exc}") from exc
