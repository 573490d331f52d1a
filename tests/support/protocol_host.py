"""A machine and its daemon, as the daemon's pure decisions put together; see ``protocol``."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from weir_crds import names
from weir_crds.capacity import Gpu
from weir_crds.facts import HostFacts
from weir_crds.task import TaskSpec
from weir_nodedaemon.engines.port import InstanceState, ObservedInstance
from weir_nodedaemon.instances.fence_limits import fence_labels, fence_limits, limits_of
from weir_nodedaemon.instances.holdings import (
    EXCLUSIVE,
    SHARED,
    Holdings,
    HostShare,
)
from weir_nodedaemon.instances.identity import InstanceID
from weir_nodedaemon.instances.journal import JournalEntry, StopReason
from weir_nodedaemon.instances.machinery import Periods
from weir_nodedaemon.instances.stop import stop_step
from weir_nodedaemon.kinds.task import status, verdict
from weir_nodedaemon.kinds.task.container import claim_of
from weir_nodedaemon.kinds.task.plan import Act, plan

if TYPE_CHECKING:
    from support.protocol import World

Object = dict[str, Any]
RUNNING, PAUSED, EXITED = InstanceState.RUNNING, InstanceState.PAUSED, InstanceState.EXITED
GIB = 2**30
_FIRST_RENEWAL = Periods().first_renewal


@dataclass
class Container:
    """What runs on a host."""

    seen: ObservedInstance
    owner: str
    run: int
    deaf: bool = False
    """Whether it ignores TERM."""

    @property
    def alive(self) -> bool:
        """Whether it has processes."""
        return self.seen.state in (RUNNING, PAUSED)


@dataclass
class Host:
    """A machine with its containers, and its daemon."""

    world: "World"
    name: str
    cores: int
    alive: bool = True
    online: bool = True
    heard_at: float = 0.0
    """When its Lease was renewed last."""
    started_at: float = 0.0
    """When its daemon was started."""
    seen: dict[str, Object] = field(default_factory=dict)
    journal: dict[InstanceID, JournalEntry] = field(default_factory=dict)
    containers: dict[str, Container] = field(default_factory=dict)

    def __post_init__(self) -> None:
        cpus = frozenset(range(self.cores))
        self.facts = HostFacts(
            self.name,
            {0: cpus},
            8 * GIB,
            gpus=tuple(Gpu(i, f"{self.name}-{i}") for i in range(2)),
            ready_engines=frozenset({"docker"}),
        )
        self.holdings = Holdings(HostShare(cpus, 8 * GIB))

    def restart(self) -> None:
        """Start the daemon; it knows nothing but what it noted."""
        self.alive, self.seen = True, {}
        self.started_at = self.world.seconds

    def see(self, name: str | None = None) -> None:
        """Hear of a Task of this host, or of all."""
        if not (self.alive and self.online):
            return
        for each in [name] if name else self.seen.keys() | self.world.tasks.keys():
            obj = self.world.tasks.get(each)
            if obj is not None and obj["status"].get("nodeName") == self.name:
                self.seen[each] = obj
            else:
                self.seen.pop(each, None)

    def observe_all(self) -> None:
        """Look at every Task and every container."""
        for name in sorted(self.seen):
            self.look(name)
        self.sweep()

    def fence(self) -> None:
        """Stop what another host may soon run, while nobody hears from this one."""
        if not self.is_awake:
            return
        age = self.world.seconds - self.heard_at
        for name, container in self.containers.items():
            found, id = limits_of(container.seen), InstanceID.parse(name)
            if found is not None and id is not None and container.alive and age >= found.term_after:
                self.stop(container, id, StopReason.HOST_LOST, found.kill_after - age)

    @property
    def is_awake(self) -> bool:
        """Whether its daemon runs, and has run for long enough to have renewed its Lease."""
        return self.alive and self.world.seconds - self.started_at >= _FIRST_RENEWAL

    def stop(self, container: Container, id: InstanceID, reason: StopReason, grace: float) -> None:
        """Bring the stop of a container one step further."""
        entry = self.journal.get(id) or JournalEntry("Task", "default", container.owner)
        step = stop_step(entry, reason, grace, self.world.moment)
        self.journal[id] = step.entry
        if step.signal is not None:
            self.signal(container, kill=step.signal is signal.SIGKILL)
            if step.signal is signal.SIGTERM:
                self.journal[id] = replace(step.entry, term_sent=True)

    def sweep(self) -> None:
        """Remove the containers that no Task explains."""
        if not (self.alive and self.online):
            return
        for name, container in list(self.containers.items()):
            seen = self.seen.get(container.owner)
            if seen is not None and run_of(seen).incarnation == container.run:
                continue
            live = self.world.tasks.get(container.owner)
            mine = live is not None and live["status"].get("nodeName") == self.name
            if mine and live is not None and live["status"]["runID"] == container.run:
                continue
            if container.alive:
                self.signal(container, kill=True)
            else:
                del self.containers[name]

    def signal(self, container: Container, *, kill: bool) -> None:
        """Send TERM or KILL."""
        if kill or not container.deaf:
            self.exit(container, 137 if kill else self.world.dice.choice([143, 0]))

    def exit(self, container: Container, code: int, *, oom: bool = False) -> None:
        """Let a container end."""
        container.seen = replace(
            container.seen,
            state=EXITED,
            exit_code=code,
            oom_killed=oom,
            finished_at=self.world.now,
        )

    def look(self, name: str) -> None:
        """Do the next thing for a Task."""
        obj = self.seen.get(name)
        if obj is None or not self.alive:
            return
        id = run_of(obj)
        cname = id.name
        container = self.containers.get(cname)
        if "finishedAt" in obj["status"] and container is None:
            return
        entry = self.journal.get(id) or JournalEntry("Task", "default", name)
        spec = self.world.parsed(obj)
        seen = container.seen if container else None
        todo = plan(spec, obj["status"], seen, entry, self.world.moment)
        self.journal[id] = todo.entry
        match todo.act:
            case Act.START:
                self._start(obj, spec, cname)
            case Act.HOLD:
                self.write(obj, status.held_changes(obj, self.world.now))
            case Act.FINISH:
                if seen is None:
                    assert todo.entry.ended is not None
                    seen = todo.entry.ended.as_observed(cname)
                self._end(obj, cname, verdict.judge(seen, todo.entry, spec), seen)
            case Act.FINISH_UNSTARTED:
                self._end(obj, cname, verdict.KILLED_UNSTARTED, seen)
            case Act.FINISH_LOST:
                self._end(obj, cname, verdict.CONTAINER_LOST, seen)
            case Act.GIVE_BACK:
                self._end(obj, cname, verdict.interruption(todo.entry.stop_reason), seen)
            case Act.STOP if container is not None and todo.stop is not None:
                self.stop(container, id, todo.stop, float(spec.stop_grace_seconds))
            case _ if container is not None:
                self._act(todo.act, obj, container)
            case _:
                pass

    def _act(self, act: Act, obj: Object, container: Container) -> None:
        match act:
            case Act.PAUSE | Act.RESUME:
                state = PAUSED if act is Act.PAUSE else RUNNING
                container.seen = replace(container.seen, state=state)
            case Act.REPORT:
                changes = status.running_changes(obj, container.seen, self.world.now)
                self.write(obj, changes)
            case Act.DISCARD:
                del self.containers[container.seen.name]
            case _:
                pass

    def _start(self, obj: Object, spec: TaskSpec, cname: str) -> None:
        found = fence_limits(obj["spec"])
        if found is not None and self.world.seconds - self.heard_at >= found.term_after:
            return
        claim = claim_of(spec, obj["status"])
        observed = {name: container.seen for name, container in self.containers.items()}
        if self.holdings.assume(cname, claim, observed) is not None:
            return
        self.holdings.release(cname)
        assert cname not in self.world.started, f"{cname} was started twice"
        self.world.started.add(cname)
        seen = ObservedInstance(
            cname,
            {
                names.LABEL_CPU_POOL: EXCLUSIVE if claim.cpus else SHARED,
                **fence_labels(obj["spec"]),
            },
            RUNNING,
            stop_grace_seconds=spec.stop_grace_seconds,
            started_at=self.world.now,
            cpus=tuple(claim.cpus) or tuple(range(self.cores)),
            gpu_uuids=tuple(claim.gpu_uuids),
        )
        id = run_of(obj)
        deaf = not self.world.calm and self.world.dice.random() < 0.3
        self.containers[cname] = Container(
            seen, obj["metadata"]["name"], run_of(obj).incarnation, deaf
        )
        id = run_of(obj)
        self.journal[id] = replace(self.journal[id], started=True)
        self.check_containers()

    def check_containers(self) -> None:
        """Assert that no core and no GPU is used by two containers."""
        own = [c.seen for c in self.containers.values() if c.alive and is_exclusive(c.seen)]
        cores = [core for seen in own for core in seen.cpus]
        assert len(cores) == len(set(cores)), f"{self.name}: {cores}"
        gpus = [gpu for c in self.containers.values() if c.alive for gpu in c.seen.gpu_uuids]
        assert len(gpus) == len(set(gpus)), f"{self.name}: {gpus}"

    def _end(
        self, obj: Object, cname: str, result: verdict.Verdict, seen: ObservedInstance | None
    ) -> None:
        if self.write(obj, status.run_changes(obj, result, seen, None, self.world.now)):
            if self.world.calm or self.world.dice.random() < 0.9:
                self.containers.pop(cname, None)
            else:
                self.alive = False  # it dies before the removal

    def write(self, obj: Object, changes: Mapping[str, Any]) -> bool:
        """Write a status; after a conflict see the object as it is."""
        if not self.online:
            return False
        written = self.world.write(obj, changes)
        self.see(obj["metadata"]["name"])
        return written is not None


def run_of(obj: Object) -> InstanceID:
    """Return the current run of a bound Task."""
    return InstanceID(obj["metadata"]["uid"], obj["status"]["runID"])


def is_exclusive(seen: ObservedInstance) -> bool:
    """Tell whether a container's cores are its own."""
    return seen.labels[names.LABEL_CPU_POOL] == EXCLUSIVE
