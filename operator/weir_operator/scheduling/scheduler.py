"""The scheduling loop: queue and ledger into ``place``, then binds, many at a time."""

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Set

from weir_crds.conditions import Reason
from weir_crds.errors import WeirError
from weir_crds.facts import facts_of
from weir_crds.host_state import HostState
from weir_kube.store import Key, Object
from weir_operator import metrics
from weir_operator.scheduling.backoff_queue import BackoffQueue
from weir_operator.scheduling.binder import Bind, Binder, Outcome
from weir_operator.scheduling.drain import Drain, Drainer
from weir_operator.scheduling.explainer import Explainer
from weir_operator.scheduling.ledger import Allocation, Ledger
from weir_operator.scheduling.messages import WaitReport
from weir_operator.scheduling.place import Placement, place
from weir_operator.scheduling.queue import Pending, PendingQueue, pending_of
from weir_operator.scheduling.selection import next_on_host, open_hosts
from weir_operator.scheduling.watched import Placed, Watched
from weir_operator.scheduling.workload import Claim, Workload, WorkloadKey, owner_of

logger = logging.getLogger(__name__)

DRAIN_AFTER_SECONDS = 300.0
_TURN_SECONDS = 0.005
"""How long one pass of the loop may take before the rest of the process gets its turn."""
_REVIEW_SECONDS = 1.0
_ACCOUNT_SECONDS = 0.5
_REVIEWED = object()


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
        placed: Iterable[Placed[Workload]],
        hosts: Watched,
        *,
        drain_after_seconds: float = DRAIN_AFTER_SECONDS,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a scheduler.

        Args:
            binder: what writes the binds.
            placed: the kinds that are placed.
            hosts: where.
            drain_after_seconds: how long the most urgent waits before a host is kept free for it;
                0: for ever.
            now: the time, for claims.
            clock: monotonic seconds, for how long one waits.
        """
        self._binder = binder
        self._placed = {one.workload.kind.kind: one for one in placed}
        self._hosts = hosts
        self._now = now
        self._clock = clock
        self.ledger = Ledger(on_change=self._account_changed)
        self.queue = PendingQueue()
        self._drainer = Drainer(self.ledger, self.queue, drain_after_seconds)
        self._review: Iterator[None] | None = None
        self._explainer = Explainer(self.ledger, clock=clock)
        self._host_versions: dict[str, str] = {}
        self._uids: dict[WorkloadKey, str] = {}
        self._since: dict[str, float] = {}
        self._backoffs = BackoffQueue(on_due=self._requeue)
        self._passed_over: dict[str, None] = {}
        """Hosts that got room which only a barred owner's workload might take."""
        self._barred: Set[str] = frozenset()
        self._wake = asyncio.Event()
        binder.on_room = self._wake.set
        metrics.PENDING.set_function(self._count_pending)

    def _count_pending(self) -> float:
        """Return how many objects want a host by the cache, a bind under way or not."""
        return len(self.queue) + len(self._backoffs) + sum(map(self._still_wants, self._binder))

    def _still_wants(self, bind: Bind) -> bool:
        obj = bind.store.get(bind.pending.key.object_key)
        if obj is None or obj["metadata"]["uid"] != bind.pending.uid:
            return False
        try:
            return self._claim(bind.pending.key, obj).wants is not None
        except WeirError:  # it asks for nonsense by now: the end of its bind leaves it alone
            return False

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
            self._backoffs.forget(known)
        if obj is None or uid is None:
            self._uids.pop(key, None)
            return
        self._uids[key] = uid
        if uid in self._binder:
            return  # its end looks at the cache again
        claim = self._claim(key, obj)
        if claim.holds is not None:
            self.queue.remove(uid)
            self._backoffs.forget(uid)
            self._since.pop(uid, None)
            self.ledger.hold(uid, Allocation(claim.holds, owner_of(obj), key.kind))
        elif claim.wants is not None:
            self._release(uid)
            self._since.setdefault(uid, self._clock())
            pending = pending_of(key, obj, claim.wants)
            if pending in self._backoffs:
                return
            self._backoffs.remove(uid)
            if self.queue.add(pending):
                self._wake.set()
        else:
            self._drop(uid)
            self._since.pop(uid, None)

    def why(self, key: WorkloadKey) -> WaitReport | None:
        """Return why a pending object is not bound.

        None: it does not wait (see ``is_waiting``), or there is no telling before a second is over.
        """
        pending = self.queue.get(self._uids.get(key, ""))
        if pending is None:
            return None
        if not self.queue.is_refused(pending.request):
            return WaitReport(Reason.QUEUED, "others are before it")
        drain = self._drainer.drain
        if drain is None:
            return self._explainer.report(pending.request)
        if drain.pending.uid == pending.uid:
            return self._explainer.compute(pending.request, drain.host, is_for_it=True)
        return self._explainer.report(pending.request, drain.host)

    @property
    def drain(self) -> Drain | None:
        """The host that is kept free, and for what."""
        return self._drainer.drain

    def is_waiting(self, key: WorkloadKey) -> bool:
        """Tell whether an object is in the queue."""
        return self._uids.get(key, "") in self.queue

    def is_binding(self, key: WorkloadKey) -> bool:
        """Tell whether a bind of that object is being written."""
        return self._uids.get(key) in self._binder

    async def run(self) -> None:
        """Place and bind for ever."""
        reviewed_at = self._clock()
        try:
            while True:
                await self._woken(_REVIEW_SECONDS if len(self.queue) else None)
                self._wake.clear()
                started = time.perf_counter()
                is_due = self._clock() - reviewed_at >= _REVIEW_SECONDS
                self._look_at_drain(review=is_due)
                if is_due:
                    reviewed_at = self._clock()
                again = self.place_for(_TURN_SECONDS - (time.perf_counter() - started))
                metrics.SCHEDULE_SECONDS.observe(time.perf_counter() - started)
                if again:
                    self._wake.set()
                    await asyncio.sleep(0)
        finally:
            self._binder.close()

    async def _woken(self, seconds: float | None) -> None:
        if self._wake.is_set():
            return
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    def _claim(self, key: WorkloadKey, obj: Object) -> Claim:
        return self._placed[key.kind].workload.claim(obj, self._now())

    def place_for(self, seconds: float) -> bool:
        """Start binds for that time, one at least; tell whether there is more to do at once."""
        give_up = time.perf_counter() + seconds
        self._look_at_barred()
        while self._binder.has_room:  # else the end of a bind wakes us
            filled = self._fill_freed_host()
            tried = self._binder.has_room and self._try_untried()
            if not filled and not tried:
                return False
            if time.perf_counter() >= give_up:
                return True
        return False

    def _look_at_barred(self) -> None:
        """Look again at the hosts that were passed over, once an owner may have more binds."""
        barred = frozenset(self._binder.barred_owners)
        if self._barred - barred:
            self.ledger.freed.update(self._passed_over)
            self._passed_over.clear()
        self._barred = barred

    def _fill_freed_host(self) -> bool:
        """Bind one more on a host that got room, if any fits; tell whether there was such a host.

        Whatever waits is looked at, in order: what all other hosts refused, and what was not tried
        yet. So nobody takes the room of one who is before it.
        """
        freed = self.ledger.freed
        if not self.queue.has_refused:
            freed.clear()  # what is tried looks at all hosts anyway
        if not freed:
            return False
        name = next(iter(freed))
        state = self.ledger.hosts.get(name)
        pending = None if state is None else self._next_on(state)
        if pending is None and self._binder.barred_owners:
            self._passed_over[name] = None
        if pending is None or not self._guarded(pending, self._place_on_freed):
            freed.pop(name, None)
        return True

    def _next_on(self, state: HostState) -> Pending | None:
        barred = self._binder.barred_owners
        return next_on_host(state, self.queue, self.ledger.share, self._drainer.drain, barred)

    def _place_on_freed(self, pending: Pending) -> bool:
        """Place one that fits on a host that got room, on the best of those or of all; tell if."""
        hosts = open_hosts(self.ledger, pending, self._drainer.drain)
        if self.queue.is_refused(pending.request):  # by all others
            hosts = (state for state in hosts if state.name in self.ledger.freed)
        placement = place(pending.request, hosts)
        if placement is not None:
            self._assume(pending, placement)
        return placement is not None

    def _try_untried(self) -> bool:
        """Try the next one that was not tried yet; tell whether there was one."""
        pending = self.queue.next_untried(self.ledger.share, self._binder.barred_owners)
        if pending is None:
            return False
        self._guarded(pending, self._try)
        return True

    def _try(self, pending: Pending) -> bool:
        # On a host that got room somebody else may be before it: such hosts have their own turn.
        freed = self.ledger.freed
        hosts = open_hosts(self.ledger, pending, self._drainer.drain)
        placement = place(pending.request, [state for state in hosts if state.name not in freed])
        if placement is not None:
            self._assume(pending, placement)
            return True
        for head in self.queue.refuse(pending.request):
            self._reconcile(head.key)
        return False

    def _guarded(self, pending: Pending, step: Callable[[Pending], bool]) -> bool:
        try:
            return step(pending)
        except Exception:  # one that cannot be placed must not stop the others
            logger.exception("cannot place %s=%s", pending.key.kind.lower(), pending.key)
            self._requeue_later(pending)
            return True

    def _look_at_drain(self, *, review: bool) -> None:
        """See whether a drain is over; now and then, step by step, whether one should begin."""
        before = self._drainer.drain
        self._drainer.forget_if_over()
        if review and self._review is None:
            self._review = self._drainer.review(self._since, self._clock())
        if self._review is not None:
            if next(self._review, _REVIEWED) is _REVIEWED:
                self._review = None
            else:
                self._wake.set()
        drain = self._drainer.drain
        if drain == before:
            return
        for one in (before, drain):
            if one is not None:
                self.ledger.freed[one.host] = None  # others may have it now, or only this one
                self._account_changed(one.host)
                self._reconcile(one.pending.key)
        if drain is not None:
            key = drain.pending.key
            logger.info("drains host=%s for %s=%s", drain.host, key.kind.lower(), key)

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
            self._backoffs.forget(pending.uid)
            if since is not None:
                metrics.QUEUED_SECONDS.observe(self._clock() - since)
        live = bind.store.get(pending.key.object_key)
        # A conflict with what the cache still shows would be one again at once.
        unchanged = outcome is Outcome.CONFLICT and live is bind.obj
        is_due_later = outcome is Outcome.REFUSED or unchanged
        if is_due_later and live is not None and self._is_current(pending, live):
            self._requeue_later(pending)
        else:
            self._requeue(pending.key)

    def _requeue_later(self, pending: Pending) -> None:
        """Have it tried again after a back-off; until then it is neither queued nor assumed."""
        self._drop(pending.uid)
        self._backoffs.add(pending)

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
        self._backoffs.remove(uid)
        self.queue.remove(uid)
        if uid not in self._binder:
            self._release(uid)

    def _release(self, uid: str) -> None:
        if self.ledger.release(uid):
            self._wake.set()

    def _is_current(self, pending: Pending, obj: Object) -> bool:
        """Tell whether the cache still says what was put into the queue."""
        wants = self._claim(pending.key, obj).wants
        return wants is not None and pending_of(pending.key, obj, wants) == pending
