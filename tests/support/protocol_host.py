"""A machine and its daemon, as the daemon's pure decisions put together; see ``protocol``."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from weir_crds import names
from weir_crds.capacity import Gpu
from weir_crds.facts import HostFacts
from weir_crds.task import TaskSpec
from weir_nodedaemon.engines.port import InstanceState, ObservedInstance
from weir_nodedaemon.instances.fence import limits
from weir_nodedaemon.instances.holdings import (
    EXCLUSIVE,
    SHARED,
    Holdings,
    HostShare,
)
from weir_nodedaemon.instances.journal import InstanceID, JournalEntry, StopReason
from weir_nodedaemon.kinds.task import verdict as report
from weir_nodedaemon.kinds.task.container import claim_of
from weir_nodedaemon.kinds.task.plan import Act, plan

if TYPE_CHECKING:
    from support.protocol import World

Object = dict[str, Any]
RUNNING, PAUSED, EXITED = InstanceState.RUNNING, InstanceState.PAUSED, InstanceState.EXITED
GIB = 2**30


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
    blind: bool = False
    """Whether its daemon was started anew and has not heard of its Tasks yet."""
    seen: dict[str, Object] = field(default_factory=dict)
    records: dict[InstanceID, JournalEntry] = field(default_factory=dict)
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
        self.alive, self.seen, self.blind = True, {}, True
        self.started_at = self.world.seconds

    def see(self, name: str | None = None) -> None:
        """Hear of a Task of this host, or of all."""
        if not (self.alive and self.online):
            return
        self.blind = self.blind and name is not None
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
        if not self.alive:
            return
        for obj in self.seen.values():
            found, id = limits(obj["spec"]), run_of(obj)
            container = self.containers.get(names.container_name(*id))
            age = self.world.seconds - self.heard_at
            if found is None or container is None or not container.alive or age < found.term_after:
                continue
            record = self.records.get(id) or JournalEntry("default", container.owner)
            if not record.term_sent:
                self.records[id] = replace(
                    record,
                    started=True,
                    stop_reason=record.stop_reason or StopReason.HOST_LOST,
                    stop_noted=record.stop_noted or self.world.now,
                    stop_deadline=self.world.now,
                    term_sent=True,
                )
            self.signal(container, kill=age >= found.kill_after)

    def sweep(self) -> None:
        """Remove the containers that no Task explains."""
        if not (self.alive and self.online):
            return
        for name, container in list(self.containers.items()):
            seen = self.seen.get(container.owner)
            if seen is not None and run_of(seen).run == container.run:
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
        cname = names.container_name(*id)
        container = self.containers.get(cname)
        if "finishedAt" in obj["status"] and container is None:
            return
        record = self.records.get(id) or JournalEntry("default", name)
        spec = self.world.parsed(obj)
        seen = container.seen if container else None
        todo = plan(spec, obj["status"], seen, record, self.world.now)
        self.records[id] = todo.record
        match todo.act:
            case Act.START:
                self._start(obj, spec, cname)
            case Act.HOLD:
                self.write(obj, report.held_changes(obj, self.world.now))
            case Act.FINISH_UNSTARTED:
                self._end(obj, cname, report.KILLED_UNSTARTED)
            case Act.FINISH_LOST:
                self._end(obj, cname, report.CONTAINER_LOST)
            case Act.GIVE_BACK:
                self._end(obj, cname, report.interruption(todo.record.stop_reason))
            case _ if container is not None:
                self._act(todo.act, obj, container, todo.record)
            case _:
                pass

    def _act(self, act: Act, obj: Object, container: Container, record: JournalEntry) -> None:
        cname = container.seen.name
        match act:
            case Act.PAUSE | Act.RESUME:
                state = PAUSED if act is Act.PAUSE else RUNNING
                container.seen = replace(container.seen, state=state)
            case Act.TERMINATE:
                self.records[run_of(obj)] = replace(record, term_sent=True)
                self.signal(container, kill=False)
            case Act.KILL:
                self.signal(container, kill=True)
            case Act.TELL:
                changes = report.running_changes(obj, container.seen, self.world.now)
                self.write(obj, changes)
            case Act.FINISH:
                verdict = report.verdict(container.seen, record, self.world.parsed(obj))
                self._end(obj, cname, verdict)
            case Act.DISCARD:
                del self.containers[cname]
            case _:
                pass

    def _start(self, obj: Object, spec: TaskSpec, cname: str) -> None:
        found = limits(obj["spec"])
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
            {names.LABEL_CPU_POOL: EXCLUSIVE if claim.cpus else SHARED},
            RUNNING,
            started_at=self.world.now,
            cpus=tuple(claim.cpus) or tuple(range(self.cores)),
            gpu_uuids=tuple(claim.gpu_uuids),
        )
        deaf = not self.world.calm and self.world.dice.random() < 0.3
        self.containers[cname] = Container(seen, obj["metadata"]["name"], run_of(obj).run, deaf)
        id = run_of(obj)
        self.records[id] = replace(self.records[id], started=True)
        self.check_containers()

    def check_containers(self) -> None:
        """Assert that no core and no GPU is used by two containers."""
        own = [c.seen for c in self.containers.values() if c.alive and is_exclusive(c.seen)]
        cores = [core for seen in own for core in seen.cpus]
        assert len(cores) == len(set(cores)), f"{self.name}: {cores}"
        gpus = [gpu for c in self.containers.values() if c.alive for gpu in c.seen.gpu_uuids]
        assert len(gpus) == len(set(gpus)), f"{self.name}: {gpus}"

    def _end(self, obj: Object, cname: str, verdict: report.Verdict) -> None:
        container = self.containers.get(cname)
        seen = container.seen if container else None
        if self.write(obj, report.run_changes(obj, verdict, seen, None, self.world.now)):
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
