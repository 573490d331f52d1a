"""Bring one Host a step nearer to what it should be: approved, known alive or not, accounted."""

import datetime as dt
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from weir_crds import conditions
from weir_crds.conditions import UNKNOWN, ConditionType
from weir_crds.host import LEASE_SECONDS
from weir_crds.kinds import HOST
from weir_kube.api import Api
from weir_kube.errors import ConflictError, NotFoundError
from weir_kube.kinds import LEASE
from weir_kube.store import Key, Object, Store, key_of
from weir_operator import metrics
from weir_operator.cache import BY_HOST
from weir_operator.host.decide import STATES, allocated_of, decide, state_of
from weir_operator.host.liveness import Liveness
from weir_operator.scheduling.scheduler import Scheduler
from weir_operator.scheduling.watched import Watched
from weir_operator.writes import refresh, refresh_after_conflict, write_status

logger = logging.getLogger(__name__)

AT_ONCE = 0.0
_ASK_SECONDS = 10.0
"""How often a Lease is read while the watch of Leases says nothing."""

_GONE_SECONDS = 300.0
"""How often to look whether something is still bound to a host that is gone."""


class LeaseCache(Protocol):
    """What is needed of the Reflector of the Leases."""

    store: Store

    @property
    def contact_age_seconds(self) -> float:
        """Seconds since the API server last told anything of them."""
        ...


class HostReconciler:
    """Looks at one Host at a time."""

    def __init__(
        self,
        api: Api,
        store: Store,
        leases: LeaseCache,
        scheduler: Scheduler,
        *,
        liveness: Liveness,
        workloads: Sequence[Watched],
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
            scheduler: whose ledger knows what is held; it learns every change.
            liveness: learns every change of a Host, and judges by the Leases.
            workloads: what is bound to a host is looked at when that is lost, or back.
            system_namespace: where the hosts' Leases are.
            approve_pending: whether a Host that waits for approval is approved at once.
            now: the time, for what is written.
            clock: monotonic seconds, for how often to write.
        """
        self._api = api
        self._store = store
        self._leases = leases
        self._scheduler = scheduler
        self._liveness = liveness
        self._workloads = workloads
        self._system_namespace = system_namespace
        self._approve_pending = approve_pending
        self._now = now
        self._clock = clock
        self._allocated_at: dict[str, float] = {}
        for state in STATES:
            metrics.HOSTS.labels(state).set_function(partial(self._count, state))

    def _count(self, state: str) -> float:
        return sum(state_of(host) == state for host in self._store.list())

    def observe(self, key: Key) -> None:
        """Bring ledger and liveness in step with the cache.

        Raises:
            InvalidQuantityError: the Host has an invalid quantity; it stays as it was.
        """
        if self._liveness.observe_host(key.name):
            for one in self._workloads:
                for obj in one.store.by_index(BY_HOST, key.name):
                    one.queue.add(key_of(obj))
        self._scheduler.observe_host(key.name)

    def observe_lease(self, key: Key) -> None:
        """Take what the cache has of a Lease, at the moment it came."""
        lease = self._leases.store.get(key)
        self._liveness.observe_contact(self._leases.contact_age_seconds)
        self._liveness.observe_lease(key.name, _version_of(lease))

    async def reconcile(self, key: Key) -> float | None:
        """Look at a Host; safe at any time, any number of times.

        Returns:
            In how many seconds to look again; None: when something changes.

        Raises:
            WeirError: a read or write failed, or the Host has an invalid quantity.
        """
        name = key.name
        self.observe(key)
        host = self._store.get(key)
        if host is None:
            self._allocated_at.pop(name, None)
            if any(one.store.by_index(BY_HOST, name) for one in self._workloads):
                return _GONE_SECONDS  # how long it has been gone still matters to these
            self._liveness.forget(name)
            return None
        self.observe_lease(Key(self._system_namespace, name))
        clock = self._clock()
        written_at = self._allocated_at.get(name)
        verdict = decide(
            host,
            approve_pending=self._approve_pending,
            expires_in_seconds=await self._expires_in(name, host),
            allocated=allocated_of(self._scheduler.ledger.hosts.get(name)),
            allocated_age_seconds=None if written_at is None else clock - written_at,
            kept_free_for=self._kept_free_for(name),
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
            self.observe(key)
        return verdict.look_again_seconds

    def _kept_free_for(self, name: str) -> str | None:
        drain = self._scheduler.drain
        return str(drain.pending.key) if drain is not None and drain.host == name else None

    async def _expires_in(self, name: str, host: Object) -> float:
        """Return in how many seconds a host is to be called lost; not positive: now.

        Never by the cache alone: it may be the one that is behind.
        """
        ready = conditions.of(host, ConditionType.READY)
        silent = self._liveness.silent_seconds(name)
        if ready is None or ready["status"] == UNKNOWN or silent < LEASE_SECONDS:
            return LEASE_SECONDS - silent
        await self._read_lease(name)
        left = self._liveness.expires_in(name)
        if left <= 0:
            left = self._liveness.held_seconds(name)
            if left > 0:
                logger.warning("host=%s is silent, and so are most: not lost yet", name)
        return min(left, _ASK_SECONDS)

    async def _read_lease(self, name: str) -> None:
        """Bring the cache of Leases in step with the API server, whatever its watch does."""
        key = Key(self._system_namespace, name)
        lease = await refresh(self._api, LEASE, self._leases.store, key)
        self._liveness.observe_contact()
        self._liveness.observe_lease(name, _version_of(lease))

    async def _approve(self, host: Object) -> None:
        metadata = host["metadata"]
        patch = {
            "metadata": {"resourceVersion": metadata["resourceVersion"]},
            "spec": {"approval": "Approved"},
        }
        try:
            approved = await self._api.patch(HOST, metadata["name"], patch)
        except (ConflictError, NotFoundError):
            if not await refresh_after_conflict(self._api, HOST, self._store, host):
                raise
        else:
            self._store.apply("MODIFIED", approved)
            logger.info("approved host=%s", metadata["name"])


def _version_of(lease: Object | None) -> str:
    return lease["metadata"]["resourceVersion"] if lease else ""
