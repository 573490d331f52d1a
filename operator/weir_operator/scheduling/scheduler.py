"""The scheduling loop: queue and ledger into ``place``, then binds, many at a time."""

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from weir_crds.conditions import Reason
from weir_crds.demand import Request
from weir_crds.facts import facts_of
from weir_kube.backoff import exponential
from weir_kube.store import Key, Object, Store
from weir_kube.workqueue import WorkQueue
from weir_operator import metrics
from weir_operator.scheduling.binder import Bind, Binder, Outcome
from weir_operator.scheduling.ledger import Allocation, Ledger
from weir_operator.scheduling.messages import WaitReport, wait_report
from weir_operator.scheduling.place import Placement, Refusal, place
from weir_operator.scheduling.queue import Pending, PendingQueue
from weir_operator.scheduling.workload import Claim, Workload, WorkloadKey, owner_of

logger = logging.getLogger(__name__)

_PLACEMENTS_A_TURN = 50  # between two turns for the rest of the process
_ACCOUNT_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Watched:
    """A kind that the operator watches: the cache of its objects, and the queue of reconciles."""

    store: Store
    queue: WorkQueue[Key]


@dataclass(frozen=True, slots=True)
class Placed(Watched):
    """A kind whose objects are placed on hosts."""

    workload: Workload


class Scheduler:
    """Keeps ledger and queue in step with the caches, and binds what fits.

    One decision is one synchronous step: choose, place, assume. The write follows in the binder;
    until it is answered the ledger keeps the assumption, because a bind without an answer may have
    taken effect. An object that was refused a host, or whose bind has ended, is reconciled, and so
    is a Host whose account changed.
    """

    def __init__(
        self,
        binder: Binder,
        placed: Iterable[Placed],
        hosts: Watched,
        *,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        """Make a scheduler of these kinds on these hosts; ``now`` is the time for claims."""
        self._binder = binder
        self._placed = {one.workload.kind.kind: one for one in placed}
        self._hosts = hosts
        self._now = now
        self.ledger = Ledger(on_change=self._account_changed)
        self.queue = PendingQueue()
        self._host_versions: dict[str, str] = {}
        self._uids: dict[WorkloadKey, str] = {}
        self._since: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._refused_at: dict[Request, int] = {}
        self._wake = asyncio.Event()

    def observe_host(self, name: str) -> None:
        """Take what the cache has of a Host.

        Raises:
            InvalidQuantityError: a quantity of the Host is invalid; it stays as it was.
        """
        host = self._hosts.store.get(Key("", name))
        version = host["metadata"]["resourceVersion"] if host else ""
        if self._host_versions.get(name, "") == version:
            return
        if self.ledger.set_host(name, facts_of(host) if host else None):
            self._wake.set()
        if host:
            self._host_versions[name] = version
        else:
            del self._host_versions[name]

    def observe_workload(self, key: WorkloadKey) -> None:
        """Take what the cache has of an object: it holds something, waits, or neither.

        Raises:
            WeirError: the object asks for something invalid; it is left alone.
        """
        obj = self._placed[key.kind].store.get(key.object_key)
        uid = obj["metadata"]["uid"] if obj else None
        known = self._uids.get(key)
        if known is not None and known != uid:
            self._drop(known)
            self._since.pop(known, None)
            self._failures.pop(known, None)
        if obj is None or uid is None:
            self._uids.pop(key, None)
            return
        self._uids[key] = uid
        if uid in self._binder:
            return  # its end looks at the cache again
        claim = self._claim(key, obj)
        if claim.holds is not None:
            self.queue.remove(uid)
            self.ledger.hold(uid, Allocation(claim.holds, owner_of(obj), key.kind))
        elif claim.wants is not None:
            self._release(uid)
            self._since.setdefault(uid, time.monotonic())
            if self.queue.add(_pending(key, obj, claim.wants)):
                self._wake.set()
        else:
            self._drop(uid)

    def why(self, key: WorkloadKey) -> WaitReport | None:
        """Return why a pending object is not bound, or None when it does not wait."""
        pending = self.queue.get(self._uids.get(key, ""))
        if pending is None:
            return None
        if pending.request in self._refused_at:  # else its turn has yet to come
            result = place(pending.request, self.ledger.known_hosts())
            if isinstance(result, Refusal):
                return wait_report(pending.request, result)
        return WaitReport(Reason.QUEUED, "others are before it")

    def is_binding(self, key: WorkloadKey) -> bool:
        """Tell whether a bind of that object is being written."""
        return self._uids.get(key) in self._binder

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
            self._binder.close()

    def _claim(self, key: WorkloadKey, obj: Object) -> Claim:
        return self._placed[key.kind].workload.claim(obj, self._now())

    def _one_pass(self) -> bool:
        """Start as many binds as may be; tell whether there may be more to do at once."""
        for _ in range(_PLACEMENTS_A_TURN):
            if not self._binder.has_room:
                return False  # the end of a bind wakes us
            pending = self.queue.choose(self.ledger.share, self._is_refused)
            if pending is None:
                return False
            try:
                self._try(pending)
            except Exception:  # one that cannot be placed must not stop the others
                logger.exception("cannot place %s=%s", pending.key.kind.lower(), pending.key)
                self._requeue_later(pending)
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
            self._reconcile(pending.key)
        if len(self._refused_at) > 1000:
            waiting = self.queue.requests()
            self._refused_at = {
                request: at for request, at in self._refused_at.items() if request in waiting
            }

    def _assume(self, pending: Pending, placement: Placement) -> None:
        placed = self._placed[pending.key.kind]
        obj = placed.store.get(pending.key.object_key)
        self.queue.remove(pending.uid)
        if obj is None or not self._is_current(pending, obj):
            self._requeue(pending.key)  # the cache is ahead of the queue
            return
        holding = placement.holding(pending.request)
        self.ledger.hold(pending.uid, Allocation(holding, pending.owner, pending.key.kind))
        self._binder.start(
            Bind(pending, placement, obj, placed.workload, placed.store), self._bind_ended
        )

    def _bind_ended(self, bind: Bind, outcome: Outcome) -> None:
        """Believe the cache again, at once or after a back-off."""
        pending = bind.pending
        self._wake.set()
        if self._uids.get(pending.key) != pending.uid:
            self.ledger.release(pending.uid)
            return
        if outcome is Outcome.BOUND:
            since = self._since.pop(pending.uid, None)
            self._failures.pop(pending.uid, None)
            if since is not None:
                metrics.QUEUED_SECONDS.observe(time.monotonic() - since)
        live = bind.store.get(pending.key.object_key)
        # A conflict with what the cache still shows would be one again at once.
        unchanged = outcome is Outcome.CONFLICT and live is bind.obj
        if outcome is Outcome.REFUSED or unchanged:
            self._requeue_later(pending)
        else:
            self._requeue(pending.key)

    def _requeue_later(self, pending: Pending) -> None:
        """Have it tried again after a back-off; until then it is neither queued nor assumed."""
        self._drop(pending.uid)
        failures = self._failures[pending.uid] = self._failures.get(pending.uid, 0) + 1
        delay = exponential(failures, 0.2, 10.0)
        asyncio.get_running_loop().call_later(delay, self._requeue, pending.key)

    def _requeue(self, key: WorkloadKey) -> None:
        try:
            self.observe_workload(key)
        except Exception:
            logger.exception("left alone %s=%s", key.kind.lower(), key)
        self._reconcile(key)

    def _reconcile(self, key: WorkloadKey) -> None:
        self._placed[key.kind].queue.add(key.object_key)

    def _account_changed(self, host: str) -> None:
        key = Key("", host)
        if key in self._hosts.store:
            self._hosts.queue.add_after(key, _ACCOUNT_SECONDS)  # many changes, one look

    def _drop(self, uid: str) -> None:
        self.queue.remove(uid)
        if uid not in self._binder:
            self._release(uid)

    def _release(self, uid: str) -> None:
        if self.ledger.release(uid):
            self._wake.set()

    def _is_current(self, pending: Pending, obj: Object) -> bool:
        """Tell whether the cache still says what was put into the queue."""
        wants = self._claim(pending.key, obj).wants
        return wants is not None and _pending(pending.key, obj, wants) == pending


def _pending(key: WorkloadKey, obj: Object, wants: Request) -> Pending:
    metadata = obj["metadata"]
    return Pending(
        uid=metadata["uid"],
        key=key,
        owner=owner_of(obj),
        priority=obj["spec"].get("priority") or 0,
        created=metadata.get("creationTimestamp") or "",
        request=wants,
    )
