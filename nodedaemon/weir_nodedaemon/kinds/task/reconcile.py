"""Bring one Task one step nearer to its spec: observe, plan, act, report."""

import datetime as dt
import logging
import signal
from collections.abc import Callable
from dataclasses import replace

from weir_crds import names
from weir_crds.errors import WeirError
from weir_crds.task import TaskSpec
from weir_crds.times import parse_time
from weir_kube.errors import ApiError, ConflictError, NotFoundError
from weir_kube.store import Key, Object, Store
from weir_nodedaemon import metrics
from weir_nodedaemon.engines.port import (
    ContainerEngine,
    EngineUnavailableError,
    InstanceState,
)
from weir_nodedaemon.instances.fence import Fence
from weir_nodedaemon.instances.journal import InstanceID, Journal, JournalEntry
from weir_nodedaemon.instances.observations import Observations
from weir_nodedaemon.kinds.task import verdict as report
from weir_nodedaemon.kinds.task.plan import TELL_START_AFTER, Act, plan
from weir_nodedaemon.kinds.task.start import Run, Starter, Wake
from weir_nodedaemon.kinds.task.status_writer import StatusWriter
from weir_nodedaemon.logs.store import LogStore, LogSummary

logger = logging.getLogger(__name__)

_FENCED_LOOK_AGAIN = dt.timedelta(seconds=2)


class TaskReconciler:
    """One step for one Task; safe at any time, any number of times, after a kill at any line."""

    def __init__(
        self,
        *,
        store: Store,
        engine: ContainerEngine,
        observations: Observations,
        starter: Starter,
        fence: Fence,
        status_writer: StatusWriter,
        records: Journal,
        logs: LogStore,
        wake: Wake,
        now: Callable[[], dt.datetime],
    ) -> None:
        """Use these; see ``Daemon``, which wires them up."""
        self._store = store
        self._engine = engine
        self._observations = observations
        self._starter = starter
        self._fence = fence
        self._status_writer = status_writer
        self._journal = records
        self._logs = logs
        self._wake = wake
        self._now = now
        self._active: dict[Key, InstanceID] = {}

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
        status = task["status"]
        run = InstanceID(task["metadata"]["uid"], status["runID"])
        if status.get("finishedAt"):
            await self._forget(key)
            if names.container_name(*run) not in self._observations.containers:
                return None
        elif self._active.get(key) != run:
            await self._forget(key)
            self._active[key] = run
        try:
            return await self._step(task, run)
        except ConflictError:
            await self._status_writer.refresh(task)
            self._wake.add(key)
            return None
        except NotFoundError:
            logger.info("task is gone task=%s", key)  # the sweep sees to its container
            return None
        except EngineUnavailableError:
            await self._status_writer.engine_away(task)
            raise

    async def _step(self, task: Object, id: InstanceID) -> dt.timedelta | None:
        if not self._observations.complete:
            await self._observations.observe_all()  # who holds what is needed before any start
        metadata = task["metadata"]
        container = await self._observations.observe(names.container_name(*id))
        record = self._journal.get(id) or JournalEntry(metadata["namespace"], metadata["name"])
        spec = TaskSpec.model_validate(task["spec"])
        todo = plan(spec, task["status"], container, record, self._now())
        self._journal.put(id, todo.record)
        run = Run(task, spec, id, container, todo.record)
        if container is not None and container.state is not InstanceState.CREATED:
            self._starter.settle(id)
        if todo.act is Act.TELL:
            await self._tell_running(run, todo.requeue_after)
        elif todo.act is Act.START:
            return await self._start(run)
        else:
            await self._act(todo.act, run)
        return todo.requeue_after

    async def _act(self, act: Act, run: Run) -> None:
        match act:
            case Act.HOLD:
                self._starter.settle(run.id)
                await self._status_writer.write(
                    run.task, report.held_changes(run.task, self._now())
                )
            case Act.PAUSE:
                await self._engine.pause(run.name)
                self._wake.add(run.key)
            case Act.RESUME:
                await self._engine.resume(run.name)
                self._wake.add(run.key)
            case Act.TERMINATE:
                await self._signal(run, signal.SIGTERM)
                self._journal.put(run.id, replace(self._noted(run), term_sent=True))
            case Act.KILL:
                await self._signal(run, signal.SIGKILL)
            case Act.FINISH:
                await self._finish(run)
            case Act.FINISH_UNSTARTED:
                await self._end(run, report.KILLED_UNSTARTED)
            case Act.FINISH_LOST:
                await self._end(run, report.CONTAINER_LOST)
            case Act.GIVE_BACK:
                await self._end(run, report.interruption(run.record.stop_reason))
            case Act.DISCARD:
                await self._discard(run)
            case _:
                pass

    async def _start(self, run: Run) -> dt.timedelta | None:
        if self._fence.forbids_start(run.task["spec"]):
            return _FENCED_LOOK_AGAIN
        outcome = await self._starter.start(run)
        if outcome.verdict is not None:
            await self._end(run, outcome.verdict)
            return None
        if not outcome.started:
            return outcome.requeue_after
        self._journal.put(run.id, replace(self._noted(run), started=True))
        metrics.RUNS_STARTED.inc()
        logger.info("started task=%s container=%s", run.key, run.name)
        scheduled_at = run.task["status"].get("scheduledAt")
        if scheduled_at:
            took = (self._now() - parse_time(scheduled_at)).total_seconds()
            metrics.START_SECONDS.observe(max(0.0, took))
        return TELL_START_AFTER

    def _noted(self, run: Run) -> JournalEntry:
        """Return what is noted by now: more than when the step began, perhaps."""
        return self._journal.get(run.id) or run.record

    async def _signal(self, run: Run, number: signal.Signals) -> None:
        await self._engine.signal(run.name, number)
        logger.info("signalled task=%s container=%s signal=%s", run.key, run.name, number.name)

    async def _tell_running(self, run: Run, requeue_after: dt.timedelta | None) -> None:
        assert run.container is not None
        try:
            changes = report.running_changes(run.task, run.container, self._now())
            await self._status_writer.write(run.task, changes)
        except ApiError:
            if requeue_after is not None:  # a timeout holds without the API server, too
                self._wake.add_after(run.key, requeue_after.total_seconds())
            raise

    async def _finish(self, run: Run) -> None:
        assert run.container is not None
        logs = await self._archive(run)
        await self._end(run, report.verdict(run.container, run.record, run.spec), logs)

    async def _end(self, run: Run, verdict: report.Verdict, logs: LogSummary | None = None) -> None:
        """Tell the end of a run, then remove its container; every run ends here."""
        changes = report.run_changes(run.task, verdict, run.container, logs, self._now())
        await self._status_writer.write(run.task, changes)
        metrics.RUNS_ENDED.labels(verdict.reason).inc()
        if run.container is not None and run.container.finished_at is not None:
            took = (self._now() - run.container.finished_at).total_seconds()
            metrics.END_TOLD_SECONDS.observe(max(0.0, took))
        logger.info("ended task=%s reason=%s code=%s", run.key, verdict.reason, verdict.exit_code)
        await self._remove(run)
        await self._forget(run.key)

    async def _discard(self, run: Run) -> None:
        """Remove the container of a run whose end is told; keep its output."""
        ended = run.container is not None and run.container.state is InstanceState.EXITED
        if ended and self._logs.summary(*run.id) is None:
            await self._archive(run)
        await self._remove(run)

    async def _remove(self, run: Run) -> None:
        await self._engine.remove(run.name)  # also what a create past its deadline has left
        self._observations.forget(run.name)

    async def _archive(self, run: Run) -> LogSummary | None:
        """Archive the output; a disk that refuses it does not hold the verdict back."""
        try:
            kept = await self._logs.archive(*run.id, self._engine.logs(run.name))
        except EngineUnavailableError:
            raise
        except WeirError as exc:
            metrics.LOGS_LOST.labels(exc.reason).inc()
            logger.error("output is lost task=%s container=%s: %s", run.key, run.name, exc)  # noqa: TRY400
            return LogSummary(0, 0, truncated=True)
        if kept.truncated:
            metrics.LOGS_TRUNCATED.inc()
        return kept

    async def _forget(self, key: Key) -> None:
        """Drop what was kept for a Task that has ended, gone, or begun another run."""
        id = self._active.get(key)
        if id is None:
            return
        if self._starter.is_starting(id):
            # Its container may run by now: only when that is seen may the assumption go.
            await self._observations.observe(names.container_name(*id))
        self._starter.settle(id)
        del self._active[key]
