"""Bring one Host a step nearer to what it should be: approved, known alive or not, accounted."""

import datetime as dt
import logging
import time
from collections import Counter
from collections.abc import Callable

from weir_crds import conditions
from weir_crds.conditions import ConditionType
from weir_crds.kinds import HOST
from weir_kube.api import Api
from weir_kube.errors import ConflictError, NotFoundError
from weir_kube.store import Key, Object, Store
from weir_operator import metrics
from weir_operator.host.decide import allocated_of, decide, state_word
from weir_operator.host.liveness import Liveness
from weir_operator.host.lost import LostHosts
from weir_operator.scheduling.loop import Scheduler
from weir_operator.writes import refresh, write_status

logger = logging.getLogger(__name__)

AT_ONCE = 0.0
_STATES = ("ready", "cordoned", "not_ready", "unapproved")


class HostReconciler:
    """Looks at one Host at a time."""

    def __init__(
        self,
        api: Api,
        store: Store,
        leases: Store,
        scheduler: Scheduler,
        *,
        lost: LostHosts,
        on_lost_change: Callable[[str], None],
        system_namespace: str,
        approve_pending: bool,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a reconciler.

        Args:
            api: where to write.
            store: cache of all Hosts.
            leases: cache of the Leases in the system namespace.
            scheduler: whose ledger knows what is held; told of every change.
            lost: told of every change of a Host, and of every renewal of its Lease.
            on_lost_change: told the name of a host that is lost, or back.
            system_namespace: where the hosts' Leases are.
            approve_pending: whether a Host that waits for approval is approved at once.
            now: the time, for what is written.
            clock: monotonic seconds, for liveness.
        """
        self._api = api
        self._store = store
        self._leases = leases
        self._scheduler = scheduler
        self._lost = lost
        self._on_lost_change = on_lost_change
        self._system_namespace = system_namespace
        self._approve_pending = approve_pending
        self._now = now
        self._clock = clock
        self._liveness = Liveness()
        self._allocated_at: dict[str, float] = {}
        self._unknown: set[str] = set()
        self._states: dict[str, str] = {}

    async def reconcile(self, key: Key) -> float | None:
        """Look at a Host; safe at any time, any number of times.

        Returns:
            In how many seconds to look again; None: when something changes.

        Raises:
            WeirError: a write failed, or the Host tells nonsense.
        """
        name = key.name
        self._scheduler.observe_host(name)
        host = self._store.get(key)
        if self._lost.observe(name):
            self._on_lost_change(name)
        if host is None:
            self._liveness.forget(name)
            self._unknown.discard(name)
            self._allocated_at.pop(name, None)
            self._count(name, None)
            return None
        self._count(name, state_word(host))
        clock = self._clock()
        self._take_sign_of_life(name, host, clock)
        written_at = self._allocated_at.get(name)
        verdict = decide(
            host,
            approve_pending=self._approve_pending,
            lease_age_seconds=self._lease_age(name, clock),
            allocated=allocated_of(self._scheduler.ledger.hosts.get(name)),
            allocated_age_seconds=None if written_at is None else clock - written_at,
            now=self._now(),
        )
        if verdict.approve:
            await self._approve(host)
            return AT_ONCE
        if verdict.changes:
            if not await write_status(self._api, HOST, self._store, host, verdict.changes):
                return AT_ONCE
            if "allocated" in verdict.changes:
                self._allocated_at[name] = clock
            if verdict.lost:
                logger.warning("lost host=%s: its Lease was not renewed", name)
            self._scheduler.observe_host(name)
            if self._lost.observe(name):
                self._on_lost_change(name)
        return verdict.look_again_seconds

    def _take_sign_of_life(self, name: str, host: Object, clock: float) -> None:
        """Its daemon said Ready again: it lives, even if its Lease is yet to come by our watch."""
        ready = conditions.of(host, ConditionType.READY)
        if ready is not None and ready["status"] == conditions.UNKNOWN:
            self._unknown.add(name)
        elif name in self._unknown:
            self._unknown.discard(name)
            self._liveness.forget(name)
            self._lease_age(name, clock)

    def observe_lease(self, name: str) -> None:
        """Take what the cache has of a Lease, at the moment it came."""
        self._lease_age(name, self._clock())

    def _lease_age(self, name: str, clock: float) -> float:
        lease = self._leases.get(Key(self._system_namespace, name))
        version = lease["metadata"]["resourceVersion"] if lease else ""
        self._liveness.observe(name, version, clock)
        return self._liveness.age(name, clock)

    async def _approve(self, host: Object) -> None:
        metadata = host["metadata"]
        patch = {
            "metadata": {"resourceVersion": metadata["resourceVersion"]},
            "spec": {"approval": "Approved"},
        }
        try:
            approved = await self._api.patch(HOST, metadata["name"], patch)
        except (ConflictError, NotFoundError):
            if not await refresh(self._api, HOST, self._store, host):
                raise
        else:
            self._store.apply("MODIFIED", approved)
            logger.info("approved host=%s", metadata["name"])

    def _count(self, name: str, state: str | None) -> None:
        if self._states.get(name) == state:
            return
        if state is None:
            self._states.pop(name, None)
        else:
            self._states[name] = state
        counts = Counter(self._states.values())
        for each in _STATES:
            metrics.HOSTS.labels(each).set(counts[each])
