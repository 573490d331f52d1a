"""Takes what runners tell and writes it into their Hosts, Leases and Tasks."""

import datetime as dt
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from weir_api.errors import StateConflictError, UnavailableError, UnknownObjectError
from weir_api.hostapi.runners.convert import (
    alive_changes,
    encoded_metrics,
    is_fresh,
    is_told_alive,
    lease_spec,
    metrics_in,
    metrics_of,
    new_host,
    registered_changes,
)
from weir_api.hostapi.runners.translate import Refusal, Report, changes_of
from weir_api.hostapi.runners.wire import HeartbeatIn, RegistrationIn
from weir_api.state.caches import Caches
from weir_api.state.writer import Writer
from weir_crds.facts import is_external
from weir_crds.kinds import HOST, TASK
from weir_crds.names import ANNOTATION_RUNNER_METRICS, SYSTEM_NAMESPACE
from weir_kube.errors import AlreadyExistsError, ConflictError, NotFoundError
from weir_kube.kinds import LEASE
from weir_kube.store import Key, Object

logger = logging.getLogger(__name__)

_TRIES = 5


class HasKey(Protocol):
    """Stands for a Task."""

    key: Key


class TaskNumbers(Protocol):
    """Knows Tasks by the numbers that clients know them by (``TaskIndex`` does)."""

    def get(self, number: int) -> HasKey | None:
        """Return the Task of that id, or None."""
        ...


class RunnerReports:
    """Writes what runners say of their own hosts and tasks, and nothing else."""

    def __init__(
        self,
        caches: Caches,
        writer: Writer,
        tasks: TaskNumbers,
        *,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        """Read from ``caches``, write with ``writer``."""
        self._caches = caches
        self._writer = writer
        self._tasks = tasks
        self._now = now

    async def register(self, told: RegistrationIn) -> bool:
        """Make the Host of a runner, or bring it up to date; True: it was made.

        Raises:
            StateConflictError: a host of that name has a daemon of ours, or had.
            ApiError: the API server did not answer, or refused.
        """
        self._check_lease(told.hostname)
        host, created = await self._host_for(told.hostname)
        await self._tell_host(host, lambda seen: registered_changes(seen, told, self._now()))
        if told.gpu_info:
            await self._renew(told.hostname, lambda before: {**before, "gpu_info": told.gpu_info})
        else:
            await self._renew(told.hostname, dict)
        if created:
            logger.info("external host=%s registered, reached at %s", told.hostname, told.url)
        return created

    async def heartbeat(self, name: str, told: HeartbeatIn) -> None:
        """Take a sign of life.

        Raises:
            UnknownObjectError: there is no such external host; runners then register.
            ApiError: the API server did not answer, or refused.
        """
        host = self._caches[HOST].get(Key("", name))
        if host is None or not is_external(host):
            raise UnknownObjectError(f"there is no external host {name}")
        if not is_told_alive(host):
            await self._tell_host(host, lambda seen: alive_changes(seen, self._now()))
            logger.info("external host=%s is heard again", name)
        lease = self._caches[LEASE].get(Key(SYSTEM_NAMESPACE, name))
        if lease is None or not is_fresh(lease, self._now()):
            await self._renew(name, lambda before: metrics_of(told, before))

    async def update(self, number: int, report: Report, speaks_for: str | None) -> str | None:
        """Take what became of a task.

        Args:
            number: the task's id.
            report: what is said of it.
            speaks_for: the host whose tasks the caller may report; None: those of all external
                hosts.

        Returns:
            Why the report is of no effect; None: it was written, or said nothing new.

        Raises:
            ApiError: the API server did not answer.
        """
        found = self._tasks.get(number)
        task = self._caches[TASK].get(found.key) if found is not None else None
        for _ in range(_TRIES):
            if task is None:
                return "there is no such task"
            refusal = self._not_its_own(task, speaks_for)
            if refusal is not None:
                return refusal
            changes = changes_of(task, report, self._now())
            if isinstance(changes, Refusal):
                return changes.reason
            try:
                await self._writer.patch_status(TASK, task, changes)
            except (ConflictError, NotFoundError):
                task = await self._same(TASK, task)
            else:
                return None
        raise UnavailableError("the task changes all the time")

    def _not_its_own(self, task: Object, speaks_for: str | None) -> str | None:
        bound = (task.get("status") or {}).get("nodeName")
        if not bound:
            return "the task is on no host"
        host = self._caches[HOST].get(Key("", bound))
        if speaks_for is not None and bound != speaks_for:
            return "the task is not on this host"
        if host is None or not is_external(host):
            return "the task is on no external host"
        return None

    def _check_lease(self, name: str) -> None:
        """Refuse a name whose Lease is a daemon's: it may come back, and its Host with it."""
        lease = self._caches[LEASE].get(Key(SYSTEM_NAMESPACE, name))
        if lease is None:
            return
        if ANNOTATION_RUNNER_METRICS not in (lease["metadata"].get("annotations") or {}):
            raise StateConflictError(
                f"{name} was a host of Weir's own daemon; who is sure that it is not any more"
                f" deletes its Lease first: kubectl delete lease -n {SYSTEM_NAMESPACE} {name}"
            )

    async def _host_for(self, name: str) -> tuple[Object, bool]:
        host = self._caches[HOST].get(Key("", name))
        if host is None:
            try:
                return await self._writer.create(HOST, new_host(name)), True
            except AlreadyExistsError:
                host = await self._writer.fresh(HOST, Key("", name))
        if host is None:
            raise UnavailableError(f"host {name} was deleted just now")
        if not is_external(host):
            raise StateConflictError(f"host {name} is run by Weir's own daemon")
        return host, False

    async def _tell_host(
        self, host: Object, changes: Callable[[Object], Mapping[str, Any]]
    ) -> None:
        seen: Object | None = host
        for _ in range(_TRIES):
            if seen is None or not is_external(seen):
                raise UnknownObjectError(f"host {host['metadata']['name']} was deleted just now")
            try:
                await self._writer.patch_status(HOST, seen, changes(seen))
            except (ConflictError, NotFoundError):
                seen = await self._writer.fresh(HOST, Key("", host["metadata"]["name"]))
            else:
                return
        raise UnavailableError(f"host {host['metadata']['name']} changes all the time")

    async def _renew(
        self, name: str, metrics: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    ) -> None:
        """Renew the Lease of a host, with its figures; make it if it is not there."""
        key = Key(SYSTEM_NAMESPACE, name)
        lease = self._caches[LEASE].get(key)
        for _ in range(_TRIES):
            annotations = {ANNOTATION_RUNNER_METRICS: encoded_metrics(metrics(metrics_in(lease)))}
            spec = lease_spec(name, self._now())
            try:
                if lease is None:
                    metadata = {"name": name, "annotations": annotations}
                    body = {"metadata": metadata, "spec": spec}
                    await self._writer.create(LEASE, body, SYSTEM_NAMESPACE)
                else:
                    patch = {"metadata": {"annotations": annotations}, "spec": spec}
                    await self._writer.patch(LEASE, lease, patch)
            except (AlreadyExistsError, ConflictError, NotFoundError):
                lease = await self._writer.fresh(LEASE, key)
            else:
                return
        raise UnavailableError(f"the Lease of host {name} changes all the time")

    async def _same(self, kind: Any, obj: Object) -> Object | None:
        """Return an object as it is now; None: it is gone, or another one of that name."""
        metadata = obj["metadata"]
        key = Key(metadata.get("namespace") or "", metadata["name"])
        live = await self._writer.fresh(kind, key)
        return live if live and live["metadata"]["uid"] == metadata["uid"] else None
