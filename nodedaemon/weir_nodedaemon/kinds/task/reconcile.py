"""Bring one Task one step nearer to its spec: observe, plan, act, report."""

import asyncio
import datetime as dt
import logging
from dataclasses import replace

from weir_crds.errors import WeirError
from weir_crds.kinds import TASK
from weir_crds.task import TaskSpec
from weir_crds.times import parse_time
from weir_kube.errors import ApiError, ConflictError, NotFoundError
from weir_kube.store import Key, Object, key_of
from weir_kube.workqueue import WorkQueue
from weir_nodedaemon import metrics
from weir_nodedaemon.engines.port import (
    EngineRefusedError,
    EngineUnavailableError,
    InstanceState,
    Logs,
)
from weir_nodedaemon.instances.engines import Engine
from weir_nodedaemon.instances.fence import Fence
from weir_nodedaemon.instances.fence_limits import fence_limits
from weir_nodedaemon.instances.identity import Clock, InstanceID
from weir_nodedaemon.instances.journal import Journal, JournalEntry, StopReason
from weir_nodedaemon.instances.kind import InstanceStore
from weir_nodedaemon.instances.stop import Stopper
from weir_nodedaemon.kinds.task import status, verdict
from weir_nodedaemon.kinds.task.plan import REPORT_START_AFTER, Act, plan
from weir_nodedaemon.kinds.task.start import Run, Starter
from weir_nodedaemon.kinds.task.status_writer import StatusWriter
from weir_nodedaemon.kinds.task.verdict import Verdict
from weir_nodedaemon.logs.store import LogStore, LogSummary

logger = logging.getLogger(__name__)

_FENCED_RETRY = dt.timedelta(seconds=2)
# No try to read a run's output takes longer, and no verdict waits for one that begins later.
_OUTPUT_SECONDS = 20.0
_OUTPUT_AGAIN = dt.timedelta(seconds=1)
_OUTPUT_RETRY = dt.timedelta(seconds=60)  # once the verdict is told without it


class TaskReconciler:
    """One step for one Task; safe at any time, any number of times, after a kill at any line."""

    def __init__(
        self,
        *,
        store: InstanceStore,
        engine: Engine,
        output: Logs,
        starter: Starter,
        stopper: Stopper,
        fence: Fence,
        status_writer: StatusWriter,
        journal: Journal,
        logs: LogStore,
        queue: WorkQueue[Key],
        clock: Clock,
    ) -> None:
        """Use these.

        Args:
            store: the Tasks of this host.
            engine: runs their containers.
            output: where the output of the containers is read.
            starter: starts runs.
            stopper: stops them.
            fence: forbids starts.
            status_writer: writes status.
            journal: where is noted what was done.
            logs: the archive of output.
            queue: the keys of Tasks.
            clock: the time.
        """
        self._store = store
        self._engine = engine
        self._output = output
        self._starter = starter
        self._stopper = stopper
        self._fence = fence
        self._status_writer = status_writer
        self._journal = journal
        self._logs = logs
        self._queue = queue
        self._clock = clock
        self._active: dict[Key, InstanceID] = {}
        self._specs: dict[Key, tuple[Object, TaskSpec]] = {}  # as they came, and parsed
        self._output_awaited: dict[InstanceID, float] = {}  # since which uptime

    async def reconcile(self, key: Key) -> dt.timedelta | None:
        """Do the next thing for a Task of this host.

        Returns:
            When to look again; None: when something changes.

        Raises:
            WeirError: something did not answer or was refused; try again later.
        """
        task = self._store.get(key)
        if task is None:
            await self._forget(key)
            return None
        id = InstanceID(task["metadata"]["uid"], task["status"]["runID"])
        if self._starter.is_under_way(id):
            return None  # its end wakes us
        if task["status"].get("finishedAt"):
            await self._forget(key)
            if id.name not in self._engine.observations.instances:
                return None
        elif self._active.get(key) != id:
            await self._forget(key)
            self._active[key] = id
        try:
            return await self._step(task, id)
        except ConflictError:
            await self._status_writer.refresh(task)
            self._queue.add(key)
            return None
        except NotFoundError:
            logger.info("task is gone task=%s", key)  # the sweep sees to its container
            return None
        except EngineUnavailableError:
            self._output_awaited.pop(id, None)  # away altogether: it is asked anew when it is back
            await self._status_writer.engine_away(task)
            raise

    async def _step(self, task: Object, id: InstanceID) -> dt.timedelta | None:
        if not self._engine.observations.complete:
            # Who holds what is needed before any start.
            await self._engine.observations.observe_all()
        metadata = task["metadata"]
        container = await self._engine.observations.observe(id.name)
        noted = self._journal.get(id)
        before = noted or JournalEntry(TASK.kind, metadata["namespace"], metadata["name"])
        entry = replace(before, fence=fence_limits(task["spec"]))
        spec = self._spec_of(task)
        todo = plan(spec, task["status"], container, entry, self._clock())
        if todo.entry != before:
            self._journal.put(id, todo.entry)
        run = Run(task, spec, id, container, todo.entry)
        if container is not None and container.state is not InstanceState.CREATED:
            self._starter.release(id)
        match todo.act:
            case Act.START:
                return await self._start(run)
            case Act.STOP:
                assert todo.stop is not None
                return await self._stop(run, todo.stop)
            case Act.REPORT:
                await self._report_running(run, todo.requeue_after)
            case Act.DISCARD:
                return await self._discard(run) or todo.requeue_after
            case Act.FINISH:
                return await self._finish(run)
            case _:
                await self._act(todo.act, run)
        return todo.requeue_after

    def _spec_of(self, task: Object) -> TaskSpec:
        """Return the spec of a Task; parsing it costs as much as all else that a step decides."""
        key, raw = key_of(task), task["spec"]
        known = self._specs.get(key)
        if known is None or known[0] != raw:
            known = self._specs[key] = (raw, TaskSpec.model_validate(raw))
        return known[1]

    async def _act(self, act: Act, run: Run) -> None:
        match act:
            case Act.HOLD:
                self._starter.release(run.id)
                changes = status.held_changes(run.task, self._clock().at)
                await self._status_writer.write(run.task, changes)
            case Act.PAUSE:
                await self._engine.lifecycle.pause(run.name)
                self._queue.add(run.key)
            case Act.RESUME:
                await self._engine.lifecycle.resume(run.name)
                self._queue.add(run.key)
            case Act.FINISH_UNSTARTED:
                await self._end(run, verdict.KILLED_UNSTARTED)
            case Act.FINISH_LOST:
                await self._end(run, verdict.CONTAINER_LOST)
            case Act.GIVE_BACK:
                await self._end(run, verdict.interruption(run.entry.stop_reason))
            case _:
                pass

    async def _start(self, run: Run) -> dt.timedelta | None:
        if self._fence.forbids_start(fence_limits(run.task["spec"])):
            return _FENCED_RETRY
        outcome = await self._starter.start(run)
        if outcome.verdict is not None:
            await self._end(run, outcome.verdict)
            return None
        if not outcome.started:
            return outcome.requeue_after
        self._journal.put(run.id, replace(self._journal.get(run.id) or run.entry, started=True))
        metrics.RUNS_STARTED.inc()
        logger.info("started task=%s container=%s", run.key, run.name)
        scheduled_at = run.task["status"].get("scheduledAt")
        if scheduled_at:
            took = (self._clock().at - parse_time(scheduled_at)).total_seconds()
            metrics.START_SECONDS.observe(max(0.0, took))
        return REPORT_START_AFTER

    async def _stop(self, run: Run, reason: StopReason) -> dt.timedelta:
        grace = float(run.spec.stop_grace_seconds)
        seconds = await self._stopper.stop(self._engine.lifecycle, run.id, run.entry, reason, grace)
        return dt.timedelta(seconds=seconds)

    async def _report_running(self, run: Run, requeue_after: dt.timedelta | None) -> None:
        assert run.container is not None
        try:
            changes = status.running_changes(run.task, run.container, self._clock().at)
            await self._status_writer.write(run.task, changes)
        except ApiError:
            if requeue_after is not None:  # a timeout holds without the API server, too
                self._queue.add_after(run.key, requeue_after.total_seconds())
            raise

    async def _finish(self, run: Run) -> dt.timedelta | None:
        container = run.container
        if container is None:
            assert run.entry.ended is not None
            container = run.entry.ended.as_observed(run.name)
        since = self._output_awaited.setdefault(run.id, self._clock().uptime)
        try:
            logs = await self._archive(run)
        except (EngineUnavailableError, EngineRefusedError):
            # What the verdict says of the output is final, and the engine may show it soon.
            if self._clock().uptime - since < _OUTPUT_SECONDS:
                return _OUTPUT_AGAIN
            logs = None
        ended = replace(run, container=container)
        result = verdict.judge(container, run.entry, run.spec)
        unsaved = LogSummary(0, 0, truncated=True)
        await self._end(ended, result, logs or unsaved, keep=logs is None)
        return None

    async def _end(
        self, run: Run, result: Verdict, logs: LogSummary | None = None, *, keep: bool = False
    ) -> None:
        """Report the end of a run, then remove its container; every run ends here.

        With ``keep`` the container stays until its output is archived.
        """
        now = self._clock().at
        changes = status.run_changes(run.task, result, run.container, logs, now)
        await self._status_writer.write(run.task, changes)
        metrics.RUNS_ENDED.labels(result.reason).inc()
        if run.container is not None and run.container.finished_at is not None:
            took = (now - run.container.finished_at).total_seconds()
            metrics.END_TOLD_SECONDS.observe(max(0.0, took))
        logger.info("ended task=%s reason=%s code=%s", run.key, result.reason, result.exit_code)
        if keep:
            self._queue.add_after(run.key, _OUTPUT_RETRY.total_seconds())
        else:
            await self._remove(run)
        await self._forget(run.key)

    async def _discard(self, run: Run) -> dt.timedelta | None:
        """Remove the container of a run whose end is reported, once its output is kept."""
        if run.container is not None and run.container.state is InstanceState.EXITED:
            try:
                kept = await self._archive(run)
            except (EngineUnavailableError, EngineRefusedError):
                kept = None
            if kept is None:
                return _OUTPUT_RETRY
        await self._remove(run)
        return None

    async def _remove(self, run: Run) -> None:
        await self._engine.lifecycle.remove(run.name)  # also what a late create has left
        self._engine.observations.forget(run.name)

    async def _archive(self, run: Run) -> LogSummary | None:
        """Archive the output; None: it could not be, and the container has it still.

        Raises:
            EngineUnavailableError, EngineRefusedError: the engine does not show it now.
        """
        try:
            async with asyncio.timeout(_OUTPUT_SECONDS):
                kept = await self._logs.archive(*run.id, self._output.logs(run.name))
        except (WeirError, TimeoutError) as exc:
            reason = exc.reason if isinstance(exc, WeirError) else "Timeout"
            metrics.LOGS_LOST.labels(reason).inc()
            logger.error("output not archived task=%s container=%s: %r", run.key, run.name, exc)  # noqa: TRY400
            if isinstance(exc, EngineUnavailableError | EngineRefusedError):
                raise
            return None
        if kept.truncated:
            metrics.LOGS_TRUNCATED.inc()
        return kept

    async def _forget(self, key: Key) -> None:
        """Drop what was kept for a Task that has ended, gone, or begun another run."""
        self._specs.pop(key, None)
        id = self._active.get(key)
        if id is None:
            return
        if self._starter.is_starting(id) and not self._starter.is_under_way(id):
            # Its container may run by now: only when that is seen may the assumption go.
            await self._engine.observations.observe(id.name)
        self._starter.release(id)
        self._output_awaited.pop(id, None)
        del self._active[key]
