"""Scheduling alone: the real Scheduler on many hosts, with a writer that answers from memory.

No cluster and no process but this one. Every core is taken at first; then workloads end, one every
few milliseconds, and what waits takes their place. Watched from outside: how long a core is idle
while something waits that fits it, how long a decision and a turn of the loop take, and what it all
costs.
"""

import asyncio
import itertools
import random
import resource
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bench.report import Figure, Report, Table
from bench.sizes import Size
from weir_crds.demand import Request
from weir_crds.host_state import HostState
from weir_crds.kinds import TASK, Kind
from weir_kube.store import Key, Object, Store, key_of
from weir_kube.workqueue import WorkQueue
from weir_operator.main import tune_garbage_collection
from weir_operator.scheduling.binder import Bind, Binder, Outcome
from weir_operator.scheduling.place import offer_of
from weir_operator.scheduling.queue import Pending, Spare
from weir_operator.scheduling.scheduler import Scheduler
from weir_operator.scheduling.watched import Placed, Watched
from weir_operator.scheduling.workload import workload_key
from weir_operator.task.workload import TaskWorkload

CORES = 16
_WAITING_PER_HOST = 20
_REQUESTS_PER_HOST = 2
_END_EVERY_SECONDS = 0.005
_NOW = "2026-01-01T00:00:00.000000Z"
_PRIORITIES = (0, 0, 0, 5, 10)
_URGENT = 1000
_LOOK_SECONDS = 0.02
_IDLE_SECONDS = 0.5
_ANSWER_SECONDS = 0.004
"""How long the writer takes for an answer, as an API server nearby does."""


async def run(size: Size) -> Report:
    """Measure one fleet in full, and how the cost grows with the number of hosts."""
    tune_garbage_collection()
    report = Report("scheduler", size.name)
    rows = []
    for hosts in size.fleets:
        fleet = Fleet(hosts, size, random.Random(hosts))
        await fleet.run()
        rows.append(fleet.row())
        if hosts == size.fleets[-1]:
            report.figures += fleet.figures()
    report.tables.append(Table("by number of hosts", _COLUMNS, rows))
    return report


_COLUMNS = (
    "HOSTS",
    "WAITING",
    "REQUESTS",
    "BINDS/S",
    "CPU/BIND ms",
    "DECISION p50 ms",
    "DECISION p99 ms",
    "LONGEST TURN ms",
    "LONGEST IDLE ms",
)


class Writer:
    """Answers status writes as an API server would, from the cache of Tasks."""

    def __init__(self, store: Store) -> None:
        """Answer from these."""
        self._store = store
        self._version = itertools.count(10_000_000)

    async def patch(
        self,
        _kind: Kind,
        name: str,
        patch: Mapping[str, Any],
        namespace: str,
        _subresource: str,
        **_: Any,
    ) -> Object:
        """As ``Api.patch`` on a status."""
        await asyncio.sleep(_ANSWER_SECONDS)
        return self.changed(Key(namespace, name), patch["status"])

    def changed(self, key: Key, status: Mapping[str, Any]) -> Object:
        """Return a Task with a changed status and a new version."""
        obj = self._store.get(key)
        assert obj is not None
        metadata = {**obj["metadata"], "resourceVersion": str(next(self._version))}
        return {**obj, "metadata": metadata, "status": {**obj["status"], **status}}


class WatchedBinder(Binder):
    """Notes when binds begin and end."""

    def __init__(self, api: Any, fleet: "Fleet") -> None:
        """Write to ``api``, tell the fleet."""
        super().__init__(api)
        self._fleet = fleet

    def start(self, bind: Bind, on_done: Any) -> None:
        """As ``Binder.start``."""

        def done(ended: Bind, outcome: Outcome) -> None:
            on_done(ended, outcome)
            self._fleet.bound(ended.pending, ended.placement.host)

        super().start(bind, done)


@dataclass
class Idle:
    """Since when which host has had free cores on which something that waits fits."""

    since: dict[str, float] = field(default_factory=dict)
    longest: float = 0.0


class Fleet:
    """Hosts, all full at first, and more Tasks than they take."""

    def __init__(self, hosts: int, size: Size, dice: random.Random) -> None:
        """Make so many hosts up; nothing runs yet."""
        self._dice = dice
        self._size = size
        self._hosts = [f"n{number:04}" for number in range(hosts)]
        self._host_store, self._tasks = Store(), Store()
        self._writer = Writer(self._tasks)
        self._scheduler = Scheduler(
            WatchedBinder(self._writer, self),
            [Placed(self._tasks, WorkQueue("bench"), TaskWorkload(time.monotonic))],
            Watched(self._host_store, WorkQueue("bench-hosts")),
            drain_after_seconds=size.drain_seconds,
        )
        self._numbers = itertools.count(1)
        self._requests = self._make_requests()
        self._running: list[Key] = []
        self._on_host: defaultdict[str, dict[Key, None]] = defaultdict(dict)
        self._ends = itertools.count(1)
        self._own_seconds = 0.0  # spent here, on looking
        self._decisions: list[float] = []
        self._turns: list[float] = []
        self._idle = Idle()
        self._binds = 0
        self._bound_at: dict[str, float] = {}
        self._cpu = self._seconds = 0.0
        self.drained_after: float | None = None

    # -- what is measured -----------------------------------------------------------------------

    def figures(self) -> list[Figure]:
        """Return what the largest fleet is judged by."""
        allowed = self._size.drain_seconds + 10
        # One that never got its host is told as the whole time, which is beyond what is allowed.
        drained = self.drained_after or max(self._seconds, allowed + 1)
        return [
            Figure("longest a core was idle while something that fits it waited",
                   self._idle.longest * 1000, "ms", at_most=100),
            Figure("decision, p99", _percentile(self._decisions, 0.99) * 1000, "ms", at_most=5),
            Figure("longest turn of the loop", max(self._turns) * 1000, "ms", at_most=20),
            Figure("CPU per bind", self._cpu / max(1, self._binds) * 1000, "ms", at_most=1),
            Figure("a blocked Task of all cores of a host and the highest priority is bound after"
                   f" (set: {self._size.drain_seconds:g} s)", drained, "s", at_most=allowed),
        ]  # fmt: skip

    def row(self) -> tuple[Any, ...]:
        """Return the same side by side with other fleets."""
        return (
            len(self._hosts),
            _WAITING_PER_HOST * len(self._hosts),
            len(self._requests),
            self._binds / self._seconds,
            self._cpu / max(1, self._binds) * 1000,
            _percentile(self._decisions, 0.5) * 1000,
            _percentile(self._decisions, 0.99) * 1000,
            max(self._turns) * 1000,
            self._idle.longest * 1000,
        )

    def bound(self, pending: Pending, host: str) -> None:
        """Take note of a bind."""
        self._binds += 1
        self._bound_at[pending.uid] = time.monotonic()
        self._begun(pending.key.object_key, host)

    def _begun(self, key: Key, host: str) -> None:
        self._running.append(key)
        self._on_host[host][key] = None

    # -- what happens ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Fill the fleet, then let Tasks end and others take their place."""
        for name in self._hosts:
            self._host_store.apply("ADDED", _host(name))
            self._scheduler.observe_host(name)
        for name in self._hosts:
            for core in range(CORES):
                self._add_running(name, core)
        for _ in range(_WAITING_PER_HOST * len(self._hosts)):
            self._add(self._dice.choice(self._requests), self._dice.choice(_PRIORITIES))
        scheduler = asyncio.create_task(self._scheduler.run())
        self._time_decisions()
        try:
            await self._until_settled()
            await self._measure()
        finally:
            scheduler.cancel()
            await asyncio.gather(scheduler, return_exceptions=True)

    async def _until_settled(self) -> None:
        """Wait until every request has been tried once."""
        queue, share = self._scheduler.queue, self._scheduler.ledger.share
        while queue.next_untried(share) is not None:  # noqa: ASYNC110 (there is no such event)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _measure(self) -> None:
        self._decisions.clear()
        self._turns.clear()
        self._binds = 0
        idle = await self._idle_cost()
        urgent = self._add({"cpu": CORES}, _URGENT)
        began, cpu, own = time.monotonic(), _cpu_seconds(), self._own_seconds
        ticks = asyncio.create_task(self._watch_turns())
        looked = due = began
        while (now := time.monotonic()) < began + self._size.scheduler_seconds:
            if now - looked >= _LOOK_SECONDS:
                before = time.thread_time()
                # What is idle at neither of two looks was so for less than the time between.
                self._idle.longest = max(self._idle.longest, now - looked)
                looked = now
                self._look_for_idle_cores(now)
                self._own_seconds += time.thread_time() - before
            self._end_one()
            due += _END_EVERY_SECONDS
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        self._seconds = time.monotonic() - began
        self._cpu = _cpu_seconds() - cpu - (self._own_seconds - own)
        ticks.cancel()
        self._cpu -= self._seconds * idle
        await asyncio.gather(ticks, return_exceptions=True)
        if urgent in self._bound_at:
            self.drained_after = self._bound_at[urgent] - began

    async def _idle_cost(self) -> float:
        """Return the CPU per second of the watching itself, while nothing else happens."""
        ticks = asyncio.create_task(self._watch_turns())
        began, cpu = time.monotonic(), _cpu_seconds()
        for _ in range(int(_IDLE_SECONDS / _END_EVERY_SECONDS)):
            await asyncio.sleep(_END_EVERY_SECONDS)
        cost = (_cpu_seconds() - cpu) / (time.monotonic() - began)
        ticks.cancel()
        await asyncio.gather(ticks, return_exceptions=True)
        self._turns.clear()
        return cost

    async def _watch_turns(self) -> None:
        """Measure how long the loop was kept from us."""
        while True:
            before, own = time.thread_time(), self._own_seconds
            await asyncio.sleep(0)
            self._turns.append(time.thread_time() - before - (self._own_seconds - own))
            await asyncio.sleep(0.001)

    def _time_decisions(self) -> None:
        """Measure each step that may end in a placement."""
        for name in ("_fill_freed_host", "_try_untried"):
            step = getattr(self._scheduler, name)

            def timed(step: Any = step) -> bool:
                before = time.thread_time()
                done: bool = step()
                if done:
                    self._decisions.append(time.thread_time() - before)
                return done

            setattr(self._scheduler, name, timed)

    def _look_for_idle_cores(self, now: float) -> None:
        """See which hosts have room for something that waits, drained ones aside."""
        queue, ledger = self._scheduler.queue, self._scheduler.ledger
        drain = self._scheduler.drain
        with_room = set()
        for state in ledger.hosts.values():
            if not state.cores_free or (drain is not None and drain.host == state.name):
                continue
            found = queue.next_for_host(
                state.name,
                ledger.share,
                Spare(state.cores_free, state.memory_free),
                partial(_takes, state),
            )
            if found is not None:
                with_room.add(state.name)
        for name in self._idle.since.keys() - with_room:
            del self._idle.since[name]
        for name in with_room:
            since = self._idle.since.setdefault(name, now)
            self._idle.longest = max(self._idle.longest, now - since + _LOOK_SECONDS)

    # -- what there is --------------------------------------------------------------------------

    def _make_requests(self) -> list[dict[str, Any]]:
        """Return the different requests: half of them pinned to a host, most of one core."""
        found: list[dict[str, Any]] = []
        for number in range(_REQUESTS_PER_HOST * len(self._hosts)):
            resources: dict[str, Any] = {
                "cpu": self._dice.choice((1, 1, 1, 2, 4)),
                "memory": f"{64 + number}Mi",
            }
            if number % 2:
                resources["hostName"] = self._hosts[(number // 2) % len(self._hosts)]
            found.append(resources)
        return found

    def _add(self, wanted: Mapping[str, Any], priority: int) -> str:
        resources = {name: value for name, value in wanted.items() if name != "hostName"}
        spec: dict[str, Any] = {"image": "none", "resources": resources, "priority": priority}
        if "hostName" in wanted:
            spec["placement"] = {"hostName": wanted["hostName"]}
        return self._put(spec, {})

    def _add_running(self, host: str, core: int) -> None:
        status = {"nodeName": host, "cpus": [core], "runID": 1}
        self._put({"image": "none", "resources": {"cpu": 1, "memory": "64Mi"}}, status)

    def _put(self, spec: Object, status: Object) -> str:
        number = next(self._numbers)
        uid = f"uid-{number}"
        obj = {
            "metadata": {
                "name": f"t{number}",
                "namespace": f"team-{number % 20}",
                "uid": uid,
                "resourceVersion": str(number),
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "generation": 1,
            },
            "spec": spec,
            "status": status,
        }
        key = key_of(obj)
        self._tasks.apply("ADDED", obj)
        self._scheduler.observe_workload(workload_key(TASK, key))
        if status:
            self._begun(key, status["nodeName"])
        return uid

    def _end_one(self) -> None:
        """Let some running Task end, and another be submitted.

        On a host that is drained more end than elsewhere, so that its last end is soon enough.
        """
        drain = self._scheduler.drain
        if drain is not None and not next(self._ends) % 10 and self._on_host[drain.host]:
            key = next(iter(self._on_host[drain.host]))
            self._running.remove(key)
        else:
            place = self._dice.randrange(len(self._running))
            self._running[place], self._running[-1] = self._running[-1], self._running[place]
            key = self._running.pop()
        task = self._tasks.get(key)
        assert task is not None
        del self._on_host[task["status"]["nodeName"]][key]
        ended = self._writer.changed(key, {"finishedAt": _NOW})
        self._tasks.apply("MODIFIED", ended)
        self._scheduler.observe_workload(workload_key(TASK, key))
        self._tasks.apply("DELETED", ended)
        self._scheduler.observe_workload(workload_key(TASK, key))
        self._add(self._dice.choice(self._requests), self._dice.choice(_PRIORITIES))


def _host(name: str) -> Object:
    ready = [{"type": kind, "status": "True"} for kind in ("Ready", "DockerReady")]
    half = CORES // 2
    return {
        "metadata": {"name": name, "uid": name, "resourceVersion": "1"},
        "spec": {"approval": "Approved"},
        "status": {
            "capacity": {
                "cpus": CORES,
                "memory": "256Gi",
                "numa": [
                    {"id": 0, "cpus": [*range(half)], "memory": "128Gi"},
                    {"id": 1, "cpus": [*range(half, CORES)], "memory": "128Gi"},
                ],
            },
            "conditions": ready,
        },
    }


def _takes(state: HostState, request: Request) -> bool:
    return offer_of(request, state) is not None


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))] if values else 0.0
