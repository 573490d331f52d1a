"""Bring one Task one step nearer to its spec: observe, plan, act, report."""

import contextlib
import datetime as dt
import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from weir_crds import conditions, names
from weir_crds.conditions import ConditionType, Reason
from weir_crds.errors import WeirError
from weir_crds.kinds import TASK
from weir_crds.task import TaskSpec
from weir_crds.times import parse_time
from weir_kube.api import Api
from weir_kube.errors import ApiError, ConflictError, NotFoundError
from weir_kube.status import patch_status
from weir_kube.store import Key, Store, key_of
from weir_nodedaemon import environment, metrics, report
from weir_nodedaemon.container import claim_of, container_spec
from weir_nodedaemon.cores import Holdings
from weir_nodedaemon.engines.port import (
    ContainerCreateError,
    ContainerEngine,
    ContainerState,
    EngineUnavailableError,
    ImagePullError,
    ObservedContainer,
)
from weir_nodedaemon.logs.store import LogStore, LogSummary
from weir_nodedaemon.observations import Observations
from weir_nodedaemon.plan import TELL_START_AFTER, Act, plan
from weir_nodedaemon.pool import SharedPool
from weir_nodedaemon.pulls import Pulls
from weir_nodedaemon.records import RecordStore, RunID, RunRecord

logger = logging.getLogger(__name__)

# A state that lasts less is not worth a write.
_TELL_PULL_AFTER_SECONDS = 1.0
_TELL_WAIT_AFTER_SECONDS = 2.0

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wake:
    """How a key is looked at again."""

    add: Callable[[Key], None]
    add_after: Callable[[Key, float], None]


@dataclass(slots=True)
class _Wait:
    """A start that waits for cores."""

    key: Key
    since: float


@dataclass(frozen=True, slots=True)
class _Run:
    """What one step is about, as it was when the step began."""

    task: Object
    spec: TaskSpec
    id: RunID
    container: ObservedContainer | None
    record: RunRecord

    @property
    def key(self) -> Key:
        return key_of(self.task)

    @property
    def name(self) -> str:
        return names.container_name(*self.id)


class TaskReconciler:
    """One step for one Task; safe at any time, any number of times, after a kill at any line."""

    def __init__(
        self,
        *,
        host: str,
        api: Api,
        store: Store,
        engine: ContainerEngine,
        observations: Observations,
        holdings: Holdings,
        pool: SharedPool,
        records: RecordStore,
        logs: LogStore,
        pulls: Pulls,
        wake: Wake,
        log_limit_bytes: int,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use these; see ``Agent``, which wires them up."""
        self._host = host
        self._api = api
        self._store = store
        self._engine = engine
        self._observations = observations
        self._holdings = holdings
        self._pool = pool
        self._records = records
        self._logs = logs
        self._pulls = pulls
        self._wake = wake
        self._log_limit_bytes = log_limit_bytes
        self._now = now
        self._clock = clock
        self._active: dict[Key, RunID] = {}
        self._waiting: dict[RunID, _Wait] = {}

    async def reconcile(self, key: Key) -> dt.timedelta | None:
        """Do the next thing for a Task of this host.

        Returns:
            When to look again; None: when something changes.

        Raises:
            WeirError: something did not answer or was refused; try again later.
        """
        task = self._store.get(key)
        if task is None:
            self._forget(key)
            return None
        status = task["status"]
        run = RunID(task["metadata"]["uid"], status["runID"])
        if status.get("finishedAt"):
            self._forget(key)
            if names.container_name(*run) not in self._observations.containers:
                return None
        elif self._active.get(key) != run:
            self._forget(key)
            self._active[key] = run
        try:
            return await self._step(task, run)
        except ConflictError:
            await self._refresh(key, task)
            return None
        except NotFoundError:
            logger.info("task is gone task=%s", key)  # the sweep sees to its container
            return None
        except EngineUnavailableError:
            await self._tell_engine_away(task)
            raise

    def wake_waiting(self) -> None:
        """Look again at every start that waits for cores: some may be free now."""
        for wait in self._waiting.values():
            self._wake.add(wait.key)

    async def _step(self, task: Object, id: RunID) -> dt.timedelta | None:
        if not self._observations.complete:
            await self._observations.look_at_all()  # who holds what is needed before any start
        metadata = task["metadata"]
        name = names.container_name(*id)
        container = await self._observations.look_at(name)
        record = self._records.get(id) or RunRecord(metadata["namespace"], metadata["name"])
        spec = TaskSpec.model_validate(task["spec"])
        todo = plan(spec, task["status"], container, record, self._now())
        self._records.put(id, todo.record)
        run = _Run(task, spec, id, container, todo.record)
        if container is not None and container.state is not ContainerState.CREATED:
            self._settle(id)
        if todo.act is Act.TELL:
            await self._tell_running(run, todo.look_again_after)
        elif todo.act is Act.START:
            return await self._start(run)
        else:
            await self._act(todo.act, run)
        return todo.look_again_after

    async def _act(self, act: Act, run: _Run) -> None:
        match act:
            case Act.HOLD:
                self._settle(run.id)
                await self._write(run.task, report.held_changes(run.task, self._now()))
            case Act.PAUSE:
                await self._engine.pause(run.name)
                self._wake.add(run.key)
            case Act.RESUME:
                await self._engine.resume(run.name)
                self._wake.add(run.key)
            case Act.TERMINATE:
                await self._signal(run, signal.SIGTERM)
                self._records.put(run.id, replace(run.record, term_sent=True))
            case Act.KILL:
                await self._signal(run, signal.SIGKILL)
            case Act.FINISH:
                await self._finish(run)
            case Act.FINISH_UNSTARTED:
                await self._end(run, report.KILLED_UNSTARTED)
            case Act.FINISH_LOST:
                await self._end(run, report.CONTAINER_LOST)
            case Act.DISCARD:
                await self._discard(run)
            case _:
                pass

    # -- start ------------------------------------------------------------------------------

    async def _start(self, run: _Run) -> dt.timedelta | None:
        """Create and start the container, or see to it that the key comes back when it may."""
        env: dict[str, str] = {}
        if run.container is None:
            if not await self._image_ready(run):
                return None
            try:
                env = await environment.resolve(run.spec, run.key.namespace, self._api)
            except environment.SecretNotReadableError as exc:
                await self._tell_not_started(run.task, Reason.SECRET_NOT_READABLE, str(exc))
                raise
        if self._store.get(run.key) is not run.task:
            self._wake.add(run.key)  # something else may be wanted by now
            return None
        claim = claim_of(run.spec, run.task["status"])
        refusal = self._holdings.assume(run.name, claim, self._observations.containers)
        if refusal is not None:
            return await self._wait_for_cores(run, refusal)
        self._waiting.pop(run.id, None)
        try:
            await self._create_and_start(run, env, shared=not claim.cpus)
        except ContainerCreateError as exc:
            await self._end(run, report.create_failed(str(exc)), maybe_created=True)
            return None
        except ImagePullError:
            self._settle(run.id)  # the image went away meanwhile
            raise
        self._records.put(run.id, replace(run.record, started=True))
        metrics.RUNS_STARTED.inc()
        logger.info("started task=%s container=%s", run.key, run.name)
        scheduled_at = run.task["status"].get("scheduledAt")
        if scheduled_at:
            took = (self._now() - parse_time(scheduled_at)).total_seconds()
            metrics.START_SECONDS.observe(max(0.0, took))
        return TELL_START_AFTER

    async def _create_and_start(self, run: _Run, env: dict[str, str], *, shared: bool) -> None:
        await self._pool.apply()
        if run.container is None:
            await self._engine.create(
                container_spec(
                    run.task,
                    run.spec,
                    env,
                    host=self._host,
                    pool=self._pool.cpus,
                    log_limit_bytes=self._log_limit_bytes,
                )
            )
        if shared:  # the pool may have shrunk before anybody saw this container
            await self._observations.look_at(run.name)
            await self._pool.apply()
        await self._engine.start(run.name)

    async def _image_ready(self, run: _Run) -> bool:
        image, policy = run.spec.image, run.spec.image_pull_policy
        if image is None:
            await self._end(run, report.image_pull_failed("spec.image is empty"))
            return False
        if policy != "Always" and await self._engine.has_image(image):
            return True
        if policy == "Never":
            message = f"{image} is not on the host, and imagePullPolicy is Never"
            await self._end(run, report.image_pull_failed(message))
            return False
        state = self._pulls.want(image, run.id, run.key)
        if state.failure is not None:
            await self._end(run, report.image_pull_failed(state.failure))
        elif state.trouble is not None:
            await self._tell_not_started(run.task, Reason.IMAGE_PULL_FAILED, state.trouble)
        elif not state.ready and state.waited_seconds < _TELL_PULL_AFTER_SECONDS:
            self._wake.add_after(run.key, _TELL_PULL_AFTER_SECONDS - state.waited_seconds)
        elif not state.ready:
            await self._tell_not_started(run.task, Reason.PULLING_IMAGE, f"pulling {image}")
        return state.ready

    async def _wait_for_cores(self, run: _Run, refusal: str) -> dt.timedelta | None:
        """Let the key come back when cores become free; say so once it takes a while."""
        wait = self._waiting.setdefault(run.id, _Wait(run.key, self._clock()))
        left = _TELL_WAIT_AFTER_SECONDS - (self._clock() - wait.since)
        if left > 0:
            return dt.timedelta(seconds=left)
        await self._tell_not_started(run.task, Reason.WAITING_FOR_CORES, refusal)
        return None

    # -- stop and end -----------------------------------------------------------------------

    async def _signal(self, run: _Run, number: signal.Signals) -> None:
        if run.container is not None and run.container.state is ContainerState.PAUSED:
            await self._engine.resume(run.name)  # a frozen program receives no signal
        await self._engine.signal(run.name, number)
        logger.info("signalled task=%s container=%s signal=%s", run.key, run.name, number.name)

    async def _finish(self, run: _Run) -> None:
        assert run.container is not None
        logs = await self._archive(run)
        verdict = report.verdict(run.container, run.record, run.task["spec"])
        await self._end(run, verdict, logs)

    async def _end(
        self,
        run: _Run,
        verdict: report.Verdict,
        logs: LogSummary | None = None,
        *,
        maybe_created: bool = False,
    ) -> None:
        """Tell the end of a run, then remove its container.

        Every run ends here: a run that shall be retried is to be told apart here, too.
        """
        changes = report.end_changes(run.task, verdict, run.container, logs, self._now())
        await self._write(run.task, changes)
        metrics.RUNS_ENDED.labels(verdict.reason).inc()
        if run.container is not None and run.container.finished_at is not None:
            took = (self._now() - run.container.finished_at).total_seconds()
            metrics.END_TOLD_SECONDS.observe(max(0.0, took))
        logger.info("ended task=%s reason=%s code=%s", run.key, verdict.reason, verdict.exit_code)
        if run.container is not None or maybe_created:
            await self._remove(run)
        self._forget(run.key)

    async def _discard(self, run: _Run) -> None:
        """Remove the container of a Task whose end is told; keep its output."""
        ended = run.container is not None and run.container.state is ContainerState.EXITED
        if ended and self._logs.summary(*run.id) is None:
            await self._archive(run)
        await self._remove(run)

    async def _remove(self, run: _Run) -> None:
        await self._engine.remove(run.name)
        self._observations.forget(run.name)

    async def _archive(self, run: _Run) -> LogSummary | None:
        """Archive the output; a disk that refuses it does not hold the verdict back."""
        try:
            return await self._logs.archive(*run.id, self._engine.logs(run.name))
        except EngineUnavailableError:
            raise
        except WeirError as exc:
            metrics.LOGS_LOST.labels(exc.reason).inc()
            logger.error("output is lost task=%s container=%s: %s", run.key, run.name, exc)  # noqa: TRY400
            return LogSummary(0, 0, truncated=True)

    # -- report -----------------------------------------------------------------------------

    async def _tell_running(self, run: _Run, look_again_after: dt.timedelta | None) -> None:
        assert run.container is not None
        try:
            await self._write(
                run.task, report.running_changes(run.task, run.container, self._now())
            )
        except ApiError:
            if look_again_after is not None:  # a timeout holds without the API server, too
                self._wake.add_after(run.key, look_again_after.total_seconds())
            raise

    async def _tell_not_started(self, task: Object, reason: Reason, message: str) -> None:
        await self._write(task, report.not_started_changes(task, reason, message, self._now()))

    async def _tell_engine_away(self, task: Object) -> None:
        """Say why a Task does not start; of what was told before nothing is taken back."""
        if task["status"].get("finishedAt") or conditions.is_true(task, ConditionType.STARTED):
            return
        message = "the container engine does not answer"
        try:
            await self._tell_not_started(task, Reason.ENGINE_UNAVAILABLE, message)
        except ApiError as exc:
            logger.warning("not told task=%s: %s", key_of(task), exc)

    async def _write(self, task: Object, changes: report.Changes) -> None:
        written = await patch_status(self._api, TASK, task, changes)
        self._store.apply("MODIFIED", written)

    async def _refresh(self, key: Key, task: Object) -> None:
        """After a conflict: put what is there now into the cache and decide again."""
        with contextlib.suppress(NotFoundError):
            fresh = await self._api.get(TASK, key.name, key.namespace)
            if fresh["metadata"]["uid"] == task["metadata"]["uid"]:
                self._store.apply("MODIFIED", fresh)
            self._wake.add(key)

    # -- what is kept in memory -------------------------------------------------------------

    def _settle(self, id: RunID) -> None:
        """Take note that no start of this run is under way."""
        self._pulls.leave(id)
        self._waiting.pop(id, None)
        if self._holdings.release(names.container_name(*id)):
            self.wake_waiting()

    def _forget(self, key: Key) -> None:
        """Drop what was kept for a Task that has ended or gone."""
        id = self._active.pop(key, None)
        if id is not None:
            self._settle(id)
