"""The scheduling loop: queue and ledger into ``place``, then binds, many at a time."""

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Callable
from typing import Any

from weir_crds.conditions import Reason
from weir_crds.demand import Request, request_of
from weir_crds.errors import WeirError
from weir_crds.facts import facts_of
from weir_crds.kinds import TASK
from weir_kube.api import Api
from weir_kube.backoff import exponential
from weir_kube.errors import (
    ApiUnavailableError,
    TooManyRequestsError,
    UnauthorizedError,
)
from weir_kube.store import Key, Object, Store
from weir_operator import metrics
from weir_operator.scheduling.allocation import allocation_of, owner_of
from weir_operator.scheduling.ledger import Ledger
from weir_operator.scheduling.place import Placement, Refusal, place
from weir_operator.scheduling.queue import Pending, PendingQueue
from weir_operator.scheduling.words import Waiting, bound_message, waiting_of
from weir_operator.task import status as task_status
from weir_operator.task.decide import Standing, standing_of
from weir_operator.writes import write_status

logger = logging.getLogger(__name__)

BINDS_AT_ONCE = 32
_OUTCOME_UNKNOWN = (ApiUnavailableError, TooManyRequestsError, UnauthorizedError)
_BREATH = 50  # placements between two turns for the rest of the process


class Scheduler:
    """Keeps ledger and queue in step with the caches, and binds what fits.

    One decision is one synchronous step: choose, place, assume. The write follows in a task of its
    own; until it is answered the ledger keeps the assumption, because a bind without an answer may
    have taken effect.
    """

    def __init__(
        self,
        api: Api,
        tasks: Store,
        hosts: Store,
        *,
        on_news: Callable[[Key], None],
        on_host_change: Callable[[str], None] = lambda _name: None,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        """Make a scheduler over two caches.

        Args:
            api: where binds are written.
            tasks: cache of all Tasks.
            hosts: cache of all Hosts.
            on_news: told the key of a Task that was just refused, or whose bind has ended.
            on_host_change: told the name of a Host whose account changed.
            now: the time, for what is written.
        """
        self._api = api
        self._tasks = tasks
        self._hosts = hosts
        self._on_news = on_news
        self._now = now
        self.ledger = Ledger(on_change=on_host_change)
        self.queue = PendingQueue()
        self._host_versions: dict[str, str] = {}
        self._uids: dict[Key, str] = {}
        self._since: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._binding: dict[str, asyncio.Task[None]] = {}
        self._refused_at: dict[Request, int] = {}
        self._wake = asyncio.Event()

    def observe_host(self, name: str) -> None:
        """Take what the cache has of a Host.

        Raises:
            InvalidQuantityError: the Host tells nonsense; it stays as it was.
        """
        host = self._hosts.get(Key("", name))
        version = host["metadata"]["resourceVersion"] if host else ""
        if self._host_versions.get(name, "") == version:
            return
        if self.ledger.set_host(name, facts_of(host) if host else None):
            self._wake.set()
        if host:
            self._host_versions[name] = version
        else:
            del self._host_versions[name]

    def observe_task(self, key: Key) -> None:
        """Take what the cache has of a Task: it holds something, waits, or neither.

        Raises:
            InvalidQuantityError: the Task asks for nonsense; it is left alone.
        """
        task = self._tasks.get(key)
        uid = task["metadata"]["uid"] if task else None
        known = self._uids.get(key)
        if known is not None and known != uid:
            self._let_go(known)
            self._since.pop(known, None)
            self._failures.pop(known, None)
        if task is None or uid is None:
            self._uids.pop(key, None)
            return
        self._uids[key] = uid
        if uid in self._binding:
            return  # its end looks at the cache again
        match standing_of(task, self._now()):
            case Standing.BOUND | Standing.STOPPED:
                self.queue.remove(uid)
                self.ledger.set_task(uid, allocation_of(task))
            case Standing.PENDING:
                self._release(uid)
                self._since.setdefault(uid, time.monotonic())
                if self.queue.add(_pending(task, key)):
                    self._wake.set()
            case _:
                self._let_go(uid)

    def why(self, key: Key) -> Waiting | None:
        """Return why a pending Task is not bound, or None when it does not wait."""
        pending = self.queue.get(self._uids.get(key, ""))
        if pending is None:
            return None
        if pending.request in self._refused_at:  # else its turn has yet to come
            result = place(pending.request, self.ledger.known_hosts())
            if isinstance(result, Refusal):
                return waiting_of(pending.request, result)
        return Waiting(Reason.QUEUED, "others are before it")

    async def run(self) -> None:
        """Place and bind for ever."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                started = time.perf_counter()
                again = self._one_pass()
                metrics.SCHEDULE_SECONDS.observe(time.perf_counter() - started)
                metrics.PENDING.set(len(self.queue))
                if again:
                    self._wake.set()
                    await asyncio.sleep(0)
        finally:
            for binding in self._binding.values():
                binding.cancel()

    def _one_pass(self) -> bool:
        """Start as many binds as may be; tell whether there may be more to do at once."""
        for _ in range(_BREATH):
            if len(self._binding) >= BINDS_AT_ONCE:
                return False  # the end of a bind wakes us
            pending = self.queue.choose(self.ledger.share, self._is_refused)
            if pending is None:
                return False
            try:
                self._try(pending)
            except Exception:  # one that cannot be placed must not stop the others
                logger.exception("cannot place task=%s", pending.key)
                self._put_off(pending)
        return True

    def _is_refused(self, request: Request) -> bool:
        """Tell whether no host got room since the request was refused everywhere."""
        return self._refused_at.get(request, -1) == self.ledger.version

    def _try(self, pending: Pending) -> None:
        refused_at = self._refused_at.get(pending.request)
        hosts = self.ledger.known_hosts()
        # A host that got no room since it refused will refuse again.
        only = (
            None if refused_at is None else [one.name for one in hosts if one.freed_at > refused_at]
        )
        result = place(pending.request, hosts, only=only)
        if isinstance(result, Placement):
            self._assume(pending, result)
            return
        self._refused_at[pending.request] = self.ledger.version
        if refused_at is None:
            self._on_news(pending.key)
        if len(self._refused_at) > 1000:
            waiting = self.queue.requests()
            self._refused_at = {
                request: at for request, at in self._refused_at.items() if request in waiting
            }

    def _assume(self, pending: Pending, placement: Placement) -> None:
        task = self._tasks.get(pending.key)
        if task is None or not self._still(pending, task):
            self.queue.remove(pending.uid)
            self._look_again(pending.key)  # the cache is ahead of the queue
            return
        self.queue.remove(pending.uid)
        self.ledger.set_task(pending.uid, placement.allocation(pending.request, pending.owner))
        self._binding[pending.uid] = asyncio.create_task(
            self._bind(pending, placement, task), name=f"bind {pending.key}"
        )
        metrics.BINDS_IN_FLIGHT.set(len(self._binding))

    async def _bind(self, pending: Pending, placement: Placement, task: Object) -> None:
        started = time.perf_counter()
        result = "refused"
        try:
            result = await self._write_bind(pending, placement, task)
        except WeirError as exc:
            logger.warning("bind refused task=%s host=%s: %s", pending.key, placement.host, exc)
        except Exception:
            logger.exception("bind failed task=%s host=%s", pending.key, placement.host)
        # When cancelled it may have taken effect: its cores stay assumed to the end of the process.
        del self._binding[pending.uid]
        metrics.BINDS.labels(result).inc()
        metrics.BIND_SECONDS.observe(time.perf_counter() - started)
        metrics.BINDS_IN_FLIGHT.set(len(self._binding))
        self._settle(pending, result)

    async def _write_bind(self, pending: Pending, placement: Placement, task: Object) -> str:
        """Write until there is an answer; a second time is harmless, as it conflicts.

        Once an answer is missing, a refusal of the repeat tells nothing of the first try.
        """
        key = pending.key
        changes = task_status.bound(
            task, placement, bound_message(placement, self._nodes_of(placement)), self._now()
        )
        attempt = 0
        while True:
            try:
                done = await write_status(self._api, TASK, self._tasks, task, changes)
            except WeirError as exc:
                if not attempt and not isinstance(exc, _OUTCOME_UNKNOWN):
                    raise
                attempt += 1
                delay = exc.retry_after_seconds or _back_off(attempt)
                logger.warning("bind unanswered task=%s, again in %.1f s: %s", key, delay, exc)
                await asyncio.sleep(delay)
                continue
            if done:
                logger.info("bound task=%s host=%s cpus=%s", key, placement.host, placement.cpus)
                return "bound"
            return "conflict" if key in self._tasks else "gone"

    def is_binding(self, key: Key) -> bool:
        """Tell whether a bind of that Task is being written."""
        return self._uids.get(key) in self._binding

    def _settle(self, pending: Pending, result: str) -> None:
        """After a bind: believe the cache again, at once or after a back-off."""
        self._wake.set()
        if self._uids.get(pending.key) != pending.uid:
            self.ledger.forget(pending.uid)
            return
        if result == "bound":
            since = self._since.pop(pending.uid, None)
            self._failures.pop(pending.uid, None)
            if since is not None:
                metrics.QUEUED_SECONDS.observe(time.monotonic() - since)
        if result == "refused":
            self._put_off(pending)
        else:
            self._look_again(pending.key)

    def _put_off(self, pending: Pending) -> None:
        """Have a Task tried again after a back-off; until then it is neither queued nor assumed."""
        self._let_go(pending.uid)
        failures = self._failures[pending.uid] = self._failures.get(pending.uid, 0) + 1
        asyncio.get_running_loop().call_later(_back_off(failures), self._look_again, pending.key)

    def _look_again(self, key: Key) -> None:
        try:
            self.observe_task(key)
        except Exception:
            logger.exception("left alone task=%s", key)
        self._on_news(key)

    def _let_go(self, uid: str) -> None:
        self.queue.remove(uid)
        if uid not in self._binding:
            self._release(uid)

    def _release(self, uid: str) -> None:
        if self.ledger.forget(uid):
            self._wake.set()

    def _still(self, pending: Pending, task: Object) -> bool:
        """Tell whether the cache still says what was put into the queue."""
        standing = standing_of(task, self._now())
        return standing is Standing.PENDING and _pending(task, pending.key) == pending

    def _nodes_of(self, placement: Placement) -> set[int]:
        state = self.ledger.hosts.get(placement.host)
        if state is None or state.facts is None:
            return set()
        nodes = (state.facts.node_of(core) for core in placement.cpus)
        return {node for node in nodes if node is not None}


def _pending(task: Object, key: Key) -> Pending:
    spec: dict[str, Any] = task["spec"]
    return Pending(
        uid=task["metadata"]["uid"],
        key=key,
        owner=owner_of(task),
        priority=spec.get("priority") or 0,
        created=task["metadata"].get("creationTimestamp") or "",
        request=request_of(task),
    )


def _back_off(attempt: int) -> float:
    return exponential(attempt, 0.2, 10.0)
