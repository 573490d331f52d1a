"""The daemon's loops: what wakes which reconcile, and what is looked at again unasked."""

import asyncio
import datetime as dt
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

from weir_crds.errors import WeirError
from weir_crds.kinds import HOST
from weir_kube.reflector import Reflector
from weir_kube.store import Key, Store, key_of
from weir_kube.workqueue import WorkQueue
from weir_nodedaemon import metrics
from weir_nodedaemon.engines.port import EngineEvent, EngineUnavailableError, InstanceState
from weir_nodedaemon.host.breaker import Breaker
from weir_nodedaemon.host.keeper import HostKeeper, share_of
from weir_nodedaemon.host.status import HostIdentity, MachineState
from weir_nodedaemon.instances.engines import Engine
from weir_nodedaemon.instances.identity import InstanceID
from weir_nodedaemon.instances.kind import InstanceKind
from weir_nodedaemon.instances.machinery import Machinery
from weir_nodedaemon.instances.sweep import Sweep
from weir_nodedaemon.machine.disk import DiskWatch
from weir_nodedaemon.machine.gpus.watch import GpuWatch

logger = logging.getLogger(__name__)

_WORKERS = 32
_SWEEP_WORKERS = 4
_MAX_BACKOFF_SECONDS = 5.0


class Daemon:
    """Everything that acts on this host, at work."""

    def __init__(
        self,
        machinery: Machinery,
        kinds: Sequence[InstanceKind],
        *,
        identity: HostIdentity,
        hosts: Store,
        gpus: GpuWatch,
        disk: DiskWatch,
    ) -> None:
        """Prepare; ``run`` acts.

        Args:
            machinery: what all kinds share.
            kinds: what this host runs.
            identity: who this machine is.
            hosts: an empty store to fill with this machine's Host.
            gpus: looks at the GPUs that the daemon may use.
            disk: looks at the room on the disks.
        """
        self.kinds = kinds
        self._machinery = machinery
        self._periods = machinery.periods
        self._engines = machinery.engines
        self._gpus = gpus
        self._disk = disk
        self._host_key = Key("", identity.name)
        self._holdings_changed = asyncio.Event()
        self._object_gone = asyncio.Event()
        self._look: asyncio.Task[None] | None = None
        self._host_queue: WorkQueue[Key] = WorkQueue("host", max_backoff=_MAX_BACKOFF_SECONDS)
        self._hosts = Reflector(
            machinery.api,
            HOST,
            store=hosts,
            field_selector=f"metadata.name={identity.name}",
            on_change=self._host_changed,
        )
        self._keeper = HostKeeper(machinery.api, hosts, identity, self._machine_state)
        self._reflectors = [self._reflector(kind) for kind in kinds]
        self._sweep = Sweep(
            host=identity.name,
            api=machinery.api,
            engines=machinery.engines,
            kinds=kinds,
            stopper=machinery.stopper,
            journal=machinery.journal,
            collector=machinery.collector,
        )
        for engine in self._engines:
            engine.on_change = self._holdings_changed.set
        self._breakers: list[tuple[Breaker, Callable[[], Awaitable[None]]]] = [
            (machinery.breaker, machinery.start_probe),
            *(breaker for kind in kinds for breaker in kind.breakers),
        ]
        for breaker, _ in self._breakers:
            breaker.on_change = self._report_host
        gpus.on_change = self._gpus_changed
        metrics.ENGINE_READY.set_function(lambda: all(engine.ready for engine in machinery.engines))
        for state in InstanceState:
            metrics.CONTAINERS.labels(state).set_function(partial(self._count, state))

    @property
    def has_synced(self) -> bool:
        """Whether the objects of this host are known."""
        return all(kind.store.has_synced for kind in self.kinds)

    @property
    def engine_ready(self) -> bool:
        """Whether an engine answered when it was last asked: one that is away stops no other."""
        return any(engine.ready for engine in self._engines)

    @property
    def is_watching(self) -> bool:
        """Whether the objects of this host are followed."""
        return all(reflector.is_watching for reflector in self._reflectors)

    async def run(self) -> None:
        """Act until cancelled; the instances keep running then.

        Raises:
            ForeignHostError: the Host of our name belongs to another machine (in a group).
        """
        self._report_host()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._machinery.fence.run(self.kinds), name="fence")
                for reflector in self._reflectors:
                    group.create_task(reflector.run(), name=f"watch {reflector.kind.plural}")
                group.create_task(self._hosts.run(), name="watch host")
                for engine in self._engines:
                    group.create_task(self._watch(engine), name=f"engine {engine.name}")
                looks = self._gpus.run(self._periods.gpus, self._periods.resync)
                group.create_task(looks, name="gpus")
                await self._hosts.synced()
                host = self._hosts.store.get(self._host_key)
                if host is not None:
                    self._keeper.check_owner(host)
                group.create_task(self._host_queue.run(self._keeper.reconcile), name="host")
                for reflector in self._reflectors:
                    await reflector.synced()
                # Only now: before a consistent full list nothing may be decided.
                for kind in self.kinds:
                    group.create_task(self._work(kind), name=kind.kind.plural)
                group.create_task(self._sweep.queue.run(self._sweep.handle, _SWEEP_WORKERS))
                group.create_task(self._sweep_output(), name="output sweep")
                group.create_task(self._probe_breakers(), name="probes")
                group.create_task(self._measure_layers(), name="layers")
                group.create_task(self._spread_cores(), name="shared pool")
        finally:
            if self._look is not None:
                self._look.cancel()
            for kind in self.kinds:
                await kind.close()
            await self._machinery.close()

    def _reflector(self, kind: InstanceKind) -> Reflector:
        def changed(key: Key) -> None:
            kind.queue.add(key)
            obj = kind.store.get(key)
            if obj is None:
                self._sweep.enqueue_orphans()
                self._object_gone.set()
            else:
                self._sweep.lives_here(obj["metadata"]["uid"])

        return Reflector(
            self._machinery.api,
            kind.kind,
            store=kind.store,
            field_selector=f"status.nodeName={self._host_key.name}",
            on_change=changed,
            on_recovery=self._retry_failed,
            transform=kind.store.trim,
        )

    def _retry_failed(self) -> None:
        """Once the API server is back, report at once what could not be reported."""
        if not self.is_watching:
            return
        for kind in self.kinds:
            for key in kind.store.active_keys():
                if kind.queue.failures(key):
                    kind.queue.add(key)
        self._sweep.enqueue_orphans()

    async def _work(self, kind: InstanceKind) -> None:
        async def reconcile(key: Key) -> dt.timedelta | None:
            try:
                return await kind.reconcile(key)
            except EngineUnavailableError:
                if kind.engine.ready:
                    kind.engine.resync()  # does it answer at all?
                raise

        await kind.queue.run(reconcile, _WORKERS)

    # -- what wakes us ----------------------------------------------------------------------

    async def _watch(self, engine: Engine) -> None:
        await engine.run(
            on_event=self._instance_changed,
            on_state=self._engine_changed,
            on_observed=self._observed,
            resync_seconds=self._periods.resync,
            retry_seconds=self._periods.engine_retry,
        )

    def _instance_changed(self, engine: Engine, event: EngineEvent) -> None:
        id = InstanceID.parse(event.name)
        if id is None:
            return
        for kind in self.kinds:
            obj = kind.store.of_uid(id.uid)
            if obj is not None:
                kind.queue.add(key_of(obj))
                if event.action in ("create", "start") and not kind.store.is_active(obj):
                    engine.resync()  # a call past its deadline took effect after all
                return
        self._sweep.queue.add(event.name)

    def _engine_changed(self, engine: Engine) -> None:
        self._report_host()
        if engine.ready:
            for kind in self._kinds_on(engine):
                kind.enqueue_active(retry_failed=True)

    async def _observed(self, engine: Engine) -> None:
        """After all of an engine was observed: look at what nobody may have reported."""
        await self._observe_machine()
        self._report_host()
        if not self.has_synced:
            return
        for kind in self._kinds_on(engine):
            kind.enqueue_active(retry_failed=False)
            for name in engine.observations.instances:
                id = InstanceID.parse(name)
                obj = None if id is None else kind.store.of_uid(id.uid)
                if obj is not None and not kind.queue.failures(key_of(obj)):
                    kind.queue.add(key_of(obj))
        self._sweep.enqueue_orphans()
        self._object_gone.set()
        self._holdings_changed.set()

    def _count(self, state: InstanceState) -> float:
        return sum(seen.state is state for seen in self._engines.instances.values())

    def _kinds_on(self, engine: Engine) -> list[InstanceKind]:
        return [kind for kind in self.kinds if kind.engine is engine]

    # -- the machine and its Host -----------------------------------------------------------

    def _report_host(self) -> None:
        self._host_queue.add(self._host_key)

    def _gpus_changed(self) -> None:
        self._report_host()
        self._share_out()

    def _host_changed(self, key: Key) -> None:
        self._host_queue.add(key)
        self._share_out()

    def _share_out(self) -> None:
        """Let what may be given to work be what the machine has, less what its Host reserves."""
        host = self._hosts.store.get(self._host_key)
        if host is not None:
            share = share_of(host, self._machinery.capacity.current, self._gpus.state)
            if share != self._machinery.holdings.share:
                self._machinery.holdings.share = share
                self._holdings_changed.set()

    def _machine_state(self) -> MachineState | None:
        """Return how the machine is; None: not all is known yet."""
        engines = self._engines.states
        if engines is None or self._gpus.state is None:
            return None
        return MachineState(
            engines=engines,
            capacity=self._machinery.capacity.current,
            gpus=self._gpus.state,
            full_disks=self._disk.pressure,
            start_failures=next((b.trouble for b, _ in self._breakers if b.trouble), ""),
        )

    async def _observe_machine(self) -> None:
        """Look at the disks and the cores, one look at a time; one that hangs holds up nothing."""
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._look_at_machine(), name="machine")
        done, _ = await asyncio.wait({self._look}, timeout=self._periods.machine)
        for look in done:
            if look.exception() is not None:
                logger.error("the machine is as it was seen last", exc_info=look.exception())

    async def _look_at_machine(self) -> None:
        under_pressure = self._disk.pressure
        info = self._machinery.container_engine.info
        root, cpus = (info.root_dir, info.cpus) if info else ("", None)
        if await asyncio.to_thread(self._disk.look, root) != under_pressure:
            logger.warning("disk pressure=%s", self._disk.pressure or "none")
            self._report_host()
        if await asyncio.to_thread(self._machinery.capacity.look, cpus):
            self._report_host()
            self._share_out()

    # -- loops ------------------------------------------------------------------------------

    async def _spread_cores(self) -> None:
        """After every change of who holds what: resize the shared pool, wake who waits."""
        while True:
            await self._holdings_changed.wait()
            self._holdings_changed.clear()
            self._machinery.starts.wake_waiting()
            try:
                await self._machinery.shared_pool.apply()
            except WeirError:
                pass  # it has said so, and is called again
            except Exception:
                logger.exception("shared pool not moved")

    async def _probe_breakers(self) -> None:
        """See whether what failed through the host's fault works again."""
        start_probe = self._machinery.start_probe
        while True:
            await asyncio.sleep(self._periods.resync)
            if start_probe.name in self._engines.instances:
                with suppress(WeirError):  # an earlier daemon died in it; tried again
                    await start_probe.clear()
            for breaker, probe in self._breakers:
                try:
                    await breaker.probe(probe)
                except Exception:
                    logger.exception("probe failed")

    async def _measure_layers(self) -> None:
        while True:
            await asyncio.sleep(self._periods.layers)
            try:
                await self._machinery.layers.measure()
            except Exception:
                logger.exception("what containers write is not measured")

    async def _sweep_output(self) -> None:
        while True:
            await self._object_gone.wait()
            await asyncio.sleep(self._periods.output_sweep)
            self._object_gone.clear()
            try:
                await self._sweep.sweep_output()
            except WeirError as exc:
                logger.warning("output not swept: %s: %s", exc.reason, exc)
            except Exception:
                logger.exception("output not swept")
