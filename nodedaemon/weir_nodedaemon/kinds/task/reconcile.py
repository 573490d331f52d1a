"""Bring one Task one step nearer to its spec: observe, plan, act, report."""

import datetime as dt
import logging
from dataclasses import replace
from functools import partial

from weir_crds.kinds import TASK
from weir_crds.task import TaskSpec
from weir_crds.times import parse_time
from weir_kube.errors import ApiError, ConflictError, NotFoundError
from weir_kube.store import Key, Object, key_of
from weir_kube.workqueue import WorkQueue
from weir_nodedaemon import metrics
from weir_nodedaemon.engines.port import EngineUnavailableError, InstanceState
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
from weir_nodedaemon.logs import Collector, Output

logger = logging.getLogger(__name__)

_FENCED_RETRY = dt.timedelta(seconds=2)
_OUTPUT_RETRY = dt.timedelta(seconds=60)


class TaskReconciler:
    """One step for one Task; safe at any time, any number of times, after a kill at any line."""

    def __init__(
        self,
        *,
        store: InstanceStore,
        engine: Engine,
        collector: Collector,
        starter: Starter,
        stopper: Stopper,
        fence: Fence,
        status_writer: StatusWriter,
        journal: Journal,
        queue: WorkQueue[Key],
        clock: Clock,
    ) -> None:
        """Use these.

        Args:
            store: the Tasks of this host.
            engine: runs their containers.
            collector: follows their output.
            starter: starts runs.
            stopper: stops them.
            fence: forbids starts.
            status_writer: writes status.
            journal: where is noted what was done.
            queue: the keys of Tasks.
            clock: the time.
        """
        self._store = store
        self._engine = engine
        self._collector = collector
        self._starter = starter
        self._stopper = stopper
        self._fence = fence
        self._status_writer = status_writer
        self._journal = journal
        self._queue = queue
        self._clock = clock
        self._active: dict[Key, InstanceID] = {}
        self._specs: dict[Key, tuple[Object, TaskSpec]] = {}  # as they came, and parsed

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
        fence = fence_limits(task["spec"])
        entry = before if before.fence == fence else replace(before, fence=fence)
        spec = self._spec_of(task)
        todo = plan(spec, task["status"], container, entry, self._clock())
        if todo.entry != before:
            self._journal.put(id, todo.entry)
        run = Run(task, spec, id, container, todo.entry)
        if container is not None and container.state is not InstanceState.CREATED:
            self._starter.release(id)
            if container.state in (InstanceState.RUNNING, InstanceState.PAUSED):
                self._collector.follow_running(*id, id.name)
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
            case Act.FINISH:
                await self._finish(run)
            case Act.FINISH_UNSTARTED:
                await self._end(run, verdict.KILLED_UNSTARTED)
            case Act.FINISH_LOST:
                await self._finish_gone(run, verdict.CONTAINER_LOST)
            case Act.GIVE_BACK:
                result = verdict.interruption(run.entry.stop_reason)
                if run.container is None and run.entry.started:
                    await self._finish_gone(run, result)
                else:
                    await self._end(run, result)
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

    async def _finish(self, run: Run) -> None:
        container = run.container
        if container is None:
            assert run.entry.ended is not None
            container = run.entry.ended.as_observed(run.name)
        output = await self._output(run)
        if output is None:
            return
        ended = replace(run, container=container)
        result = verdict.judge(container, run.entry, run.spec)
        await self._end(ended, result, output)

    async def _finish_gone(self, run: Run, result: Verdict) -> None:
        """End a run whose container somebody has removed: of its output no more comes."""
        output = await self._output(run)
        if output is not None:
            await self._end(run, result, output)

    async def _end(self, run: Run, result: Verdict, output: Output | None = None) -> None:
        """Report the end of a run, then remove its container; every run ends here.

        The container stays while some of its output is nowhere else.
        """
        now = self._clock().at
        logs = output.summary if output else None
        changes = status.run_changes(run.task, result, run.container, logs, now)
        await self._status_writer.write(run.task, changes)
        metrics.RUNS_ENDED.labels(result.reason).inc()
        if run.container is not None and run.container.finished_at is not None:
            took = (now - run.container.finished_at).total_seconds()
            metrics.END_TOLD_SECONDS.observe(max(0.0, took))
        logger.info("ended task=%s reason=%s code=%s", run.key, result.reason, result.exit_code)
        if output is not None and not output.complete:
            self._queue.add_after(run.key, _OUTPUT_RETRY.total_seconds())
        else:
            await self._remove(run)
        await self._forget(run.key)

    async def _discard(self, run: Run) -> dt.timedelta | None:
        """Remove the container of a run whose end is reported, once its output is kept."""
        seen = run.container
        if seen is not None and seen.state is InstanceState.EXITED:
            output = await self._output(run)
            if output is None or not output.complete:
                return _OUTPUT_RETRY
        await self._remove(run)
        return None

    async def _output(self, run: Run) -> Output | None:
        """Return what a run that has ended printed; None: that takes long, and wakes the key."""
        wake = partial(self._queue.add, run.key)
        return await self._collector.finish_soon(*run.id, run.name, wake)

    async def _remove(self, run: Run) -> None:
        await self._engine.lifecycle.remove(run.name)  # also what a late create has left
        await self._collector.removed(*run.id)
        self._engine.observations.forget(run.name)

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
        del self._active[key]
