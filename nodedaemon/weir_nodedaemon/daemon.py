"""The daemon's loops: what wakes which reconcile, and what is looked at again unasked."""

import asyncio
import contextlib
import datetime as dt
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from weir_crds.errors import WeirError
from weir_crds.kinds import HOST, TASK
from weir_kube.api import Api
from weir_kube.reflector import Reflector
from weir_kube.store import Key, Store, key_of
from weir_kube.workqueue import WorkQueue
from weir_nodedaemon import metrics
from weir_nodedaemon.engines.port import (
    ContainerEngine,
    EngineEvent,
    EngineInfo,
    EngineUnavailableError,
    InstanceState,
)
from weir_nodedaemon.host.breaker import Breaker
from weir_nodedaemon.host.keeper import HostKeeper, share_of
from weir_nodedaemon.host.status import EngineState, HostIdentity, MachineState
from weir_nodedaemon.instances.fence import Fence
from weir_nodedaemon.instances.holdings import Holdings, HostShare
from weir_nodedaemon.instances.journal import Journal
from weir_nodedaemon.instances.observations import Observations
from weir_nodedaemon.instances.probe import StartProbe
from weir_nodedaemon.instances.pulls import Pulls
from weir_nodedaemon.instances.shared_pool import SharedPool
from weir_nodedaemon.instances.sweep import Sweep
from weir_nodedaemon.kinds.task.container import ContainerDefaults
from weir_nodedaemon.kinds.task.reconcile import TaskReconciler
from weir_nodedaemon.kinds.task.start import Starter, Wake
from weir_nodedaemon.kinds.task.status_writer import StatusWriter
from weir_nodedaemon.kinds.task.store import TaskStore, has_ended, trimmed
from weir_nodedaemon.logs.store import LogStore
from weir_nodedaemon.machine.capacity import CapacityWatch
from weir_nodedaemon.machine.disk import DiskWatch
from weir_nodedaemon.machine.gpus.watch import GpuWatch

logger = logging.getLogger(__name__)

_WORKERS = 16
# A host has few keys that fail at a time, and what they have to tell is waited for.
_MAX_BACKOFF_SECONDS = 5.0
_SWEEP_WORKERS = 4


@dataclass(frozen=True, slots=True)
class Periods:
    """How often things are looked at that nobody tells us of, in seconds."""

    resync: float = 30.0
    engine_retry: float = 2.0
    health: float = 0.5
    gpus: float = 5.0  # while there are any; else with the resync
    log_sweep: float = 5.0
    fence: float = 1.0


class Daemon:
    """Everything that acts on this host, wired up."""

    def __init__(
        self,
        *,
        identity: HostIdentity,
        capacity: CapacityWatch,
        gpus: GpuWatch,
        api: Api,
        engine: ContainerEngine,
        engine_name: str,
        logs: LogStore,
        state_dir: Path,
        defaults: ContainerDefaults,
        disk: DiskWatch,
        hosts: Store,
        tasks: TaskStore,
        lease_age: Callable[[], float] = lambda: 0.0,
        periods: Periods | None = None,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        """Wire up; ``run`` acts.

        Args:
            identity: who this machine is.
            capacity: looks at the cores and the memory that the daemon may use.
            gpus: looks at the GPUs that the daemon may use.
            api: the API server.
            engine: the container engine; its owner closes it.
            engine_name: its name while it does not answer.
            logs: the archive of output.
            state_dir: where hints about runs are kept.
            defaults: what all containers of this host have.
            disk: looks at the room on the disks.
            hosts: an empty store to fill with this machine's Host.
            tasks: an empty store to fill with the Tasks bound to this host.
            lease_age: seconds since this host's Lease was last renewed.
            periods: how often to look.
            now: the time.
        """
        self._capacity = capacity
        self._engine = engine
        self._periods = periods or Periods()
        self._host_key = Key("", identity.name)
        self._resync_now = asyncio.Event()
        self._holdings_changed = asyncio.Event()
        self._task_gone = asyncio.Event()
        self._engine_name = engine_name
        self._engine_state: EngineState | None = None  # not known yet
        self.queue: WorkQueue[Key] = WorkQueue("tasks", max_backoff=_MAX_BACKOFF_SECONDS)
        self._host_queue: WorkQueue[Key] = WorkQueue("host", max_backoff=_MAX_BACKOFF_SECONDS)
        self.store = tasks
        self._tasks = Reflector(
            api,
            TASK,
            store=tasks,
            field_selector=f"status.nodeName={identity.name}",
            on_change=self._task_changed,
            transform=trimmed,
        )
        self._hosts = Reflector(
            api,
            HOST,
            store=hosts,
            field_selector=f"metadata.name={identity.name}",
            on_change=self._host_changed,
        )
        self._observations = Observations(engine, self._holdings_changed.set)
        self._holdings = Holdings(
            HostShare(frozenset(capacity.current.cpus), capacity.current.memory_bytes)
        )
        self._pool = SharedPool(engine, self._observations, self._holdings)
        records = Journal(state_dir / "runs")
        self._pulls = Pulls(engine, self.queue.add)
        self._starts = Breaker()
        self._probe = StartProbe(engine, identity.name)
        wake = Wake(self.queue.add, self.queue.add_after)
        status_writer = StatusWriter(api, tasks, now)
        self._starter = Starter(
            defaults=defaults,
            capacity=capacity,
            reader=api,
            is_current=status_writer.is_current,
            engine=engine,
            observations=self._observations,
            holdings=self._holdings,
            pool=self._pool,
            pulls=self._pulls,
            status_writer=status_writer,
            wake=wake,
            breaker=self._starts,
            probe=self._probe,
        )
        self._fence = Fence(
            lease_age=lease_age,
            store=tasks,
            engine=engine,
            observations=self._observations,
            records=records,
            now=now,
            period_seconds=self._periods.fence,
        )
        self._reconciler = TaskReconciler(
            store=tasks,
            engine=engine,
            observations=self._observations,
            starter=self._starter,
            fence=self._fence,
            status_writer=status_writer,
            records=records,
            logs=logs,
            wake=wake,
            now=now,
        )
        self._sweep = Sweep(
            host=identity.name,
            api=api,
            store=self.store,
            engine=engine,
            observations=self._observations,
            records=records,
            logs=logs,
        )
        self._disk = disk
        self._keeper = HostKeeper(
            api,
            self._hosts.store,
            identity,
            self._machine_state,
        )
        self._gpus = gpus
        for watched in (gpus, self._starts, self._pulls.breaker):
            watched.on_change = lambda: self._host_queue.add(self._host_key)

    @property
    def has_synced(self) -> bool:
        """Whether the Tasks of this host are known."""
        return self.store.has_synced

    @property
    def engine_ready(self) -> bool:
        """Whether the engine answered when it was last looked at."""
        return self._engine_state is not None and self._engine_state.ready

    @property
    def is_watching(self) -> bool:
        """Whether the Tasks of this host are followed."""
        return self._tasks.is_watching

    async def run(self) -> None:
        """Act until cancelled; the containers keep running then.

        Raises:
            ForeignHostError: the Host of our name belongs to another machine (in a group).
        """
        self._host_queue.add(self._host_key)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tasks.run(), name="watch tasks")
                group.create_task(self._hosts.run(), name="watch host")
                group.create_task(self._follow_engine(), name="engine events")
                group.create_task(self._resync(), name="resync")
                looks = self._gpus.run(self._periods.gpus, self._periods.resync)
                group.create_task(looks, name="gpus")
                await self._hosts.synced()
                host = self._hosts.store.get(self._host_key)
                if host is not None:
                    self._keeper.check_owner(host)
                group.create_task(self._host_queue.run(self._keeper.reconcile), name="host")
                await self._tasks.synced()
                # Only now: before a consistent full list nothing may be decided.
                group.create_task(self.queue.run(self._reconcile, _WORKERS))
                group.create_task(self._sweep.queue.run(self._sweep.handle, _SWEEP_WORKERS))
                group.create_task(self._fence.run(), name="fence")
                group.create_task(self._sweep_logs(), name="log sweep")
                group.create_task(self._spread_cores(), name="shared pool")
                group.create_task(self._retry_at_recovery(), name="recovery")
        finally:
            await self._pulls.close()

    async def _reconcile(self, key: Key) -> dt.timedelta | None:
        try:
            return await self._reconciler.reconcile(key)
        except EngineUnavailableError:
            if self.engine_ready:
                self._resync_now.set()  # does it answer at all?
            raise

    # -- what wakes us ----------------------------------------------------------------------

    def _task_changed(self, key: Key) -> None:
        self.queue.add(key)
        if self.store.get(key) is None:
            self._sweep.look()
            self._task_gone.set()

    def _host_changed(self, key: Key) -> None:
        self._host_queue.add(key)
        self._share_out()

    def _share_out(self) -> None:
        """Let what may be given to work be what the machine has, less what its Host reserves."""
        host = self._hosts.store.get(self._host_key)
        if host is not None:
            share = share_of(host, self._capacity.current)
            if share != self._holdings.share:
                self._holdings.share = share
                self._holdings_changed.set()

    def _machine_state(self) -> MachineState | None:
        """Return how the machine is; None: not all is known yet."""
        if self._engine_state is None or self._gpus.state is None:
            return None
        return MachineState(
            engine=self._engine_state,
            capacity=self._capacity.current,
            gpus=self._gpus.state,
            full_disks=self._disk.pressure,
            start_failures=self._starts.trouble or self._pulls.breaker.trouble,
        )

    def _container_changed(self, event: EngineEvent) -> None:
        if not event.name:
            self._resync_now.set()
            return
        uid, _, _run = event.name.removeprefix("weir-").rpartition("-")
        task = self.store.of_uid(uid)
        if task is None:
            self._sweep.queue.add(event.name)
            return
        self.queue.add(key_of(task))
        if event.action in ("create", "start") and has_ended(task):
            self._resync_now.set()  # a call past its deadline took effect after all

    def _engine_answers(self, state: EngineState) -> None:
        if state == self._engine_state:
            return
        logger.info("engine=%s version=%s ready=%s", state.name, state.version, state.ready)
        self._engine_state = state
        metrics.ENGINE_READY.set(state.ready)
        self._host_queue.add(self._host_key)
        if state.ready:
            self._add_active()

    def _add_active(self) -> None:
        for key in self.store.active_keys():
            self.queue.add(key)

    # -- loops ------------------------------------------------------------------------------

    async def _follow_engine(self) -> None:
        """Turn the engine's events into looks; every stream begins with a look at all."""
        while True:
            try:
                async with aclosing(self._engine.events()) as events:
                    async for event in events:
                        self._container_changed(event)
            except EngineUnavailableError as exc:
                if self.engine_ready:
                    logger.warning("engine does not answer: %s", exc)
            except Exception:
                logger.exception("engine events failed")
            self._resync_now.set()
            await asyncio.sleep(self._periods.engine_retry)

    async def _resync(self) -> None:
        """Look at everything, in case that something was missed."""
        while True:
            self._resync_now.clear()
            period = self._periods.resync
            try:
                await self._look_at_all()
            except EngineUnavailableError as exc:
                version = self._engine_state.version if self._engine_state else ""
                self._engine_answers(EngineState(self._engine_name, version))
                logger.debug("engine does not answer: %s", exc)
                period = self._periods.engine_retry
            except WeirError as exc:
                logger.warning("resync failed: %s: %s", exc.reason, exc)
            except Exception:
                logger.exception("resync failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(period):
                    await self._resync_now.wait()

    async def _look_at_all(self) -> None:
        info = await self._engine.info()
        await self._look_at_machine(info)
        containers = await self._observations.observe_all()
        self._engine_answers(EngineState(info.name, info.version, ready=True))
        self._host_queue.add(self._host_key)
        states = Counter(container.state for container in containers.values())
        for state in InstanceState:
            metrics.CONTAINERS.labels(state).set(states[state])
        if not self.has_synced:
            return
        self._add_active()
        for name in containers:
            uid, _, _run = name.removeprefix("weir-").rpartition("-")
            task = self.store.of_uid(uid)
            if task is not None:
                self.queue.add(key_of(task))
        self._sweep.look()
        self._task_gone.set()
        self._holdings_changed.set()

    async def _look_at_machine(self, info: EngineInfo) -> None:
        under_pressure = self._disk.pressure
        if await asyncio.to_thread(self._disk.look, info.root_dir) != under_pressure:
            logger.warning("disk pressure=%s", self._disk.pressure or "none")
            self._host_queue.add(self._host_key)
        if await asyncio.to_thread(self._capacity.look, info.cpus):
            self._host_queue.add(self._host_key)
            self._share_out()
        await self._starts.probe(self._probe)
        await self._pulls.breaker.probe(self._pulls.probe)

    async def _spread_cores(self) -> None:
        """After every change of who holds what: resize the shared pool, wake who waits."""
        while True:
            await self._holdings_changed.wait()
            self._holdings_changed.clear()
            self._starter.wake_waiting()
            try:
                await self._pool.apply()
            except WeirError as exc:
                logger.warning("shared pool not moved: %s: %s", exc.reason, exc)
            except Exception:
                logger.exception("shared pool not moved")

    async def _sweep_logs(self) -> None:
        while True:
            await self._task_gone.wait()
            await asyncio.sleep(self._periods.log_sweep)
            self._task_gone.clear()
            try:
                await self._sweep.sweep_logs()
            except WeirError as exc:
                logger.warning("logs not swept: %s: %s", exc.reason, exc)
            except Exception:
                logger.exception("logs not swept")

    async def _retry_at_recovery(self) -> None:
        """Once the API server is back, tell at once what could not be told."""
        watching = self.is_watching
        while True:
            await asyncio.sleep(self._periods.health)
            if self.is_watching and not watching:
                for key in self.store.active_keys():
                    if self.queue.failures(key):
                        self.queue.add(key)
                self._sweep.look()
            watching = self.is_watching
