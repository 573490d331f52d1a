"""Takes what runners tell and writes it into their Hosts, Leases and Tasks."""

import datetime as dt
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from weir_api.errors import StateConflictError, UnavailableError, UnknownObjectError
from weir_api.hostapi.runners.convert import (
    alive_changes,
    encoded_metrics,
    is_known_alive,
    is_renewed,
    lease_spec,
    metrics_of,
    new_host,
    registered_changes,
)
from weir_api.hostapi.runners.heartbeats import Heartbeat, Heartbeats
from weir_api.hostapi.runners.translate import Refusal, Report, changes_of
from weir_api.hostapi.runners.wire import HeartbeatIn, RegistrationIn
from weir_api.state.caches import Caches
from weir_api.state.writer import Writer
from weir_crds.errors import WeirError
from weir_crds.facts import is_external
from weir_crds.kinds import HOST, TASK
from weir_crds.names import ANNOTATION_RUNNER_METRICS, SYSTEM_NAMESPACE
from weir_crds.run_status import Changes
from weir_kube.errors import AlreadyExistsError, ConflictError, NotFoundError
from weir_kube.kinds import LEASE
from weir_kube.store import Key, Object

logger = logging.getLogger(__name__)

_NO_TASK = "there is no such task"


class ReportRefusedError(WeirError):
    """The report is of no effect; ``str()`` says why."""

    reason = "ReportRefused"


class HasKey(Protocol):
    """Stands for a Task."""

    key: Key


class TaskNumbers(Protocol):
    """Knows Tasks by the numbers that clients know them by (``WorkloadIndex`` does)."""

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
        heartbeats: Heartbeats,
        *,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        """Read from ``caches``, write with ``writer``; ``heartbeats`` has what is not written."""
        self._caches = caches
        self._writer = writer
        self._tasks = tasks
        self._heartbeats = heartbeats
        caches.listen(HOST, self._host_changed)
        self._now = now

    async def register(self, registration: RegistrationIn) -> bool:
        """Make the Host of a runner, or bring it up to date; True: it was made.

        Raises:
            StateConflictError: a host of that name has a daemon of ours, or had.
            ApiError: the API server did not answer, or refused.
        """
        self._check_lease(registration.hostname)
        host, created = await self._host_for(registration.hostname)
        await self._update_host(
            host, lambda seen: registered_changes(seen, registration, self._now())
        )
        metrics = dict(self._known_metrics(registration.hostname))
        if registration.gpu_info:
            metrics["gpu_info"] = registration.gpu_info
        self._heartbeats.note(registration.hostname, Heartbeat(self._now(), metrics))
        await self._renew(registration.hostname)
        if created:
            logger.info(
                "external host=%s registered, reached at %s",
                registration.hostname,
                registration.url,
            )
        return created

    async def heartbeat(self, name: str, heartbeat: HeartbeatIn) -> None:
        """Take a sign of life.

        Raises:
            UnknownObjectError: there is no such external host; runners then register.
            ApiError: the API server did not answer, or refused.
        """
        host = self._caches[HOST].get(Key("", name))
        if host is None or not is_external(host):
            raise UnknownObjectError(f"there is no external host {name}")
        metrics = metrics_of(heartbeat, self._known_metrics(name))
        self._heartbeats.note(name, Heartbeat(self._now(), metrics))
        if not is_known_alive(host):
            await self._update_host(host, lambda seen: alive_changes(seen, self._now()))
            logger.info("external host=%s is heard again", name)
        lease = self._caches[LEASE].get(Key(SYSTEM_NAMESPACE, name))
        if lease is None or not is_renewed(lease, self._now()):
            await self._renew(name)

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
        if task is None:
            return _NO_TASK

        def changes(current: Object) -> Changes:
            refusal = self._not_its_own(current, speaks_for)
            if refusal is not None:
                raise ReportRefusedError(refusal)
            found = changes_of(current, report, self._now())
            if isinstance(found, Refusal):
                raise ReportRefusedError(found.reason)
            return found

        try:
            await self._writer.update(TASK, task, changes, status=True)
        except ReportRefusedError as refused:
            return str(refused)
        except NotFoundError:
            return _NO_TASK
        return None

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

    async def _update_host(
        self, host: Object, changes: Callable[[Object], Mapping[str, Any]]
    ) -> None:
        try:
            await self._writer.update(HOST, host, changes, status=True)
        except NotFoundError:
            name = host["metadata"]["name"]
            raise UnknownObjectError(f"host {name} was deleted just now") from None

    def _host_changed(self, key: Key) -> None:
        if self._caches[HOST].get(key) is None:
            self._heartbeats.forget(key.name)

    def _known_metrics(self, name: str) -> Mapping[str, Any]:
        known = self._heartbeats.of(name)
        return {} if known is None else known.metrics

    async def _renew(self, name: str) -> None:
        """Renew the Lease of a host, with its newest figures; make it if it is not there."""
        key = Key(SYSTEM_NAMESPACE, name)
        lease = self._caches[LEASE].get(key)
        annotations = {ANNOTATION_RUNNER_METRICS: encoded_metrics(self._known_metrics(name))}
        patch = {"metadata": {"annotations": annotations}, "spec": lease_spec(name, self._now())}
        if lease is None:
            body = {**patch, "metadata": {**patch["metadata"], "name": name}}
            try:
                await self._writer.create(LEASE, body, SYSTEM_NAMESPACE)
            except AlreadyExistsError:
                lease = await self._writer.fresh(LEASE, key)
        if lease is not None:
            try:
                await self._writer.patch(LEASE, lease, patch)
            except (ConflictError, NotFoundError):
                # It was made anew under our hands: the next heartbeat, in seconds, finds it.
                raise UnavailableError(f"the Lease of host {name} was deleted just now") from None
