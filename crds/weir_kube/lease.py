"""Leases: who leads, and who is alive."""

import asyncio
import datetime as dt
import logging
import random
import time
from collections.abc import Callable
from typing import Any, NoReturn

from weir_crds.errors import WeirError
from weir_crds.times import now_rfc3339
from weir_kube.api import Api
from weir_kube.errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    NotFoundError,
)
from weir_kube.kinds import LEASE
from weir_kube.metrics import LEASE_RENEWALS
from weir_kube.process import uptime
from weir_kube.store import Object

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0


class LeaseLostError(WeirError):
    """Another holds the Lease, or we could not renew it in time: stop acting at once."""

    reason = "LeaseLost"


class LeaseElector:
    """One contender for a Lease.

    A rival's Lease counts as given up when *we* saw it unchanged for its own duration: clocks
    differ. Whoever holds the Lease treats it as lost after two thirds of its duration without a
    renewal, before a rival may take it.
    """

    def __init__(
        self,
        api: Api,
        namespace: str,
        name: str,
        identity: str,
        *,
        duration_seconds: int = 15,
        renew_seconds: float = 4.0,
        clock: Callable[[], float] = uptime,
    ) -> None:
        """Prepare.

        Args:
            api: the API server.
            namespace: of the Lease.
            name: of the Lease.
            identity: unique to this process: one that comes back under it leads at once.
            duration_seconds: how long a rival waits after a kill.
            renew_seconds: how often to renew.
            clock: monotonic seconds, those asleep included: meanwhile a rival's go on.
        """
        self._clock = clock
        self._api = api
        self._namespace = namespace
        self._name = name
        self.identity = identity
        self._duration_seconds = duration_seconds
        self._renew_seconds = renew_seconds
        self._deadline_seconds = duration_seconds * 2 / 3
        self._lease: Object | None = None
        self._renewed: float | None = None  # while it is ours
        self._seen_version = ""
        self._seen_since = 0.0

    @property
    def is_held(self) -> bool:
        """Tell whether we may act: nobody else can have the Lease by now."""
        return self._renewed is not None and self._clock() - self._renewed < self._deadline_seconds

    async def acquire(self) -> None:
        """Wait until the Lease is ours."""
        waiting_for = ""
        while True:
            try:
                holder = await self._try_acquire()
            except (ConflictError, AlreadyExistsError):
                logger.debug("lease=%s: somebody was faster", self._name)
            except ApiError as exc:
                logger.warning("lease=%s: %s: %s; trying again", self._name, exc.reason, exc)
            else:
                if holder is None:
                    logger.info("lease=%s: acquired as %s", self._name, self.identity)
                    return
                if holder != waiting_for:
                    waiting_for = holder
                    logger.info("lease=%s: held by %s, waiting", self._name, holder)
            await asyncio.sleep(_RETRY_SECONDS * random.uniform(0.8, 1.0))  # noqa: S311

    async def hold(self) -> NoReturn:
        """Renew the Lease until it is lost.

        Raises:
            LeaseLostError: another holds it, or it could not be renewed in time.
        """
        while True:
            await asyncio.sleep(self._renew_seconds)
            await self._renew()

    async def release(self) -> None:
        """Give the Lease up, so that a rival need not wait; never raises ApiError."""
        if not self.is_held or self._lease is None:
            return
        spec = {"holderIdentity": None, "leaseDurationSeconds": 1, "renewTime": _now()}
        try:
            try:
                await self._patch(self._lease, spec, deadline_seconds=2.0)
            except ConflictError:
                # A renewal that was cancelled may have arrived all the same.
                await self._look_again(2.0)
                await self._patch(self._lease, spec, deadline_seconds=2.0)
        except (ApiError, LeaseLostError) as exc:
            logger.warning("lease=%s: not released: %s: %s", self._name, exc.reason, exc)
        else:
            logger.info("lease=%s: released", self._name)
        finally:
            self._renewed = None

    async def _try_acquire(self) -> str | None:
        """Take the Lease if it is free; returns its holder if it is not."""
        started = self._clock()
        ours: dict[str, Any] = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self._duration_seconds,
            "acquireTime": _now(),
            "renewTime": _now(),
        }
        try:
            lease = await self._api.get(LEASE, self._name, self._namespace)
        except NotFoundError:
            body = {"metadata": {"name": self._name}, "spec": {**ours, "leaseTransitions": 0}}
            self._taken(await self._api.create(LEASE, body, self._namespace), started)
            return None
        spec = lease.get("spec") or {}
        holder = str(spec.get("holderIdentity") or "")
        if holder not in {"", self.identity}:
            version = lease["metadata"]["resourceVersion"]
            if version != self._seen_version:
                self._seen_version, self._seen_since = version, started
            duration = spec.get("leaseDurationSeconds") or self._duration_seconds
            if started - self._seen_since < duration:
                return holder
        if holder != self.identity:
            ours["leaseTransitions"] = (spec.get("leaseTransitions") or 0) + 1
        self._taken(await self._patch(lease, ours), started)
        return None

    async def _renew(self) -> None:
        """Renew once, with as many tries as the time left allows."""
        while True:
            started = self._clock()
            if self._lease is None or self._renewed is None:
                raise LeaseLostError(f"lease {self._name} is not held")
            left = self._renewed + self._deadline_seconds - started
            if left <= 0:
                self._renewed = None
                raise LeaseLostError(f"lease {self._name} could not be renewed in time")
            try:
                renewed = await self._patch(
                    self._lease, {"renewTime": _now()}, deadline_seconds=min(left, 5.0)
                )
            except ConflictError:
                if not await self._look_again(left):
                    await asyncio.sleep(min(_RETRY_SECONDS, max(left, 0.0)))
            except NotFoundError as exc:
                self._renewed = None
                raise LeaseLostError(f"lease {self._name} was deleted") from exc
            except ApiError as exc:
                LEASE_RENEWALS.labels(self._name, "failed").inc()
                logger.warning("lease=%s: not renewed: %s: %s", self._name, exc.reason, exc)
                await asyncio.sleep(min(_RETRY_SECONDS, max(left, 0.0)))
            else:
                LEASE_RENEWALS.labels(self._name, "renewed").inc()
                self._taken(renewed, started)
                return

    async def _look_again(self, left: float) -> bool:
        """After a 409: perhaps an earlier renewal arrived whose answer did not; tell if so.

        Raises:
            LeaseLostError: another holds it, or it is gone.
        """
        try:
            lease = await self._api.get(
                LEASE, self._name, self._namespace, deadline_seconds=min(left, 5.0)
            )
        except NotFoundError as exc:
            self._renewed = None
            raise LeaseLostError(f"lease {self._name} was deleted") from exc
        except ApiError:
            return False
        holder = (lease.get("spec") or {}).get("holderIdentity")
        if holder != self.identity:
            self._renewed = None
            raise LeaseLostError(f"lease {self._name} is held by {holder or 'nobody'}")
        known, self._lease = self._lease, lease
        version = lease["metadata"]["resourceVersion"]
        return known is None or version != known["metadata"]["resourceVersion"]

    async def _patch(
        self, lease: Object, spec: dict[str, Any], deadline_seconds: float = 5.0
    ) -> Object:
        version = lease["metadata"]["resourceVersion"]
        return await self._api.patch(
            LEASE,
            self._name,
            {"metadata": {"resourceVersion": version}, "spec": spec},
            self._namespace,
            deadline_seconds=deadline_seconds,
        )

    def _taken(self, lease: Object, started: float) -> None:
        self._lease = lease
        self._renewed = started


class Heartbeat:
    """Keeps renewing a Lease of our own, so that others see that we live."""

    def __init__(
        self,
        api: Api,
        namespace: str,
        name: str,
        holder: str,
        *,
        duration_seconds: int = 40,
        period_seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        renewed: float | None = None,
        on_renewed: Callable[[float], None] = lambda _: None,
    ) -> None:
        """Prepare.

        Args:
            api: the API server.
            namespace: of the Lease.
            name: of the Lease.
            holder: who we are.
            duration_seconds: after how long without a renewal others shall worry.
            period_seconds: how often to renew.
            clock: monotonic seconds.
            renewed: when an earlier process of ours renewed it last, by that clock.
            on_renewed: called with the time of each renewal that the API server confirmed.
        """
        self._clock = clock
        self._api = api
        self._namespace = namespace
        self._name = name
        self._spec = {"holderIdentity": holder, "leaseDurationSeconds": duration_seconds}
        self._period_seconds = period_seconds
        self._on_renewed = on_renewed
        started = self._clock()
        self._renewed = started if renewed is None else min(renewed, started)

    @property
    def age_seconds(self) -> float:
        """Seconds since the last renewal that is known (or since the start, if none is)."""
        return self._clock() - self._renewed

    async def run(self) -> NoReturn:
        """Renew until cancelled; a failure is tried again within two seconds."""
        failing = False
        while True:
            started = self._clock()
            try:
                await self._renew()
            except ApiError as exc:
                LEASE_RENEWALS.labels(self._name, "failed").inc()
                if not failing:
                    logger.warning("lease=%s: not renewed: %s: %s", self._name, exc.reason, exc)
                failing = True
                wait = min(self._period_seconds, 2 * _RETRY_SECONDS)
            else:
                LEASE_RENEWALS.labels(self._name, "renewed").inc()
                if failing:
                    logger.info("lease=%s: renewed again", self._name)
                failing = False
                self._renewed = started
                self._on_renewed(started)
                wait = self._period_seconds - (self._clock() - started)
            await asyncio.sleep(max(wait, 0.0) * random.uniform(0.9, 1.0))  # noqa: S311

    async def _renew(self) -> None:
        spec = {**self._spec, "renewTime": _now()}
        deadline = min(self._period_seconds, 5.0)
        try:
            await self._api.patch(
                LEASE, self._name, {"spec": spec}, self._namespace, deadline_seconds=deadline
            )
        except NotFoundError:
            body = {"metadata": {"name": self._name}, "spec": spec}
            await self._api.create(LEASE, body, self._namespace, deadline_seconds=deadline)


def _now() -> str:
    return now_rfc3339(dt.datetime.now(dt.UTC))
