"""Operator and node daemons as their pure decisions alone, around an API server that is a dict.

Each acts on what it has seen, which may be old; a write on what is old is refused. Time passes when
the test says so. What must never be is asserted where it would happen.
"""

import datetime as dt
import itertools
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from support.protocol_host import Host, run_of
from support.tasks import task
from weir_crds import names, retry
from weir_crds.conditions import Reason
from weir_crds.demand import holding_of, request_of
from weir_crds.facts import Obstacle
from weir_crds.host import LEASE_SECONDS
from weir_crds.task import TaskSpec
from weir_nodedaemon.instances.identity import Moment
from weir_operator.scheduling.ledger import Allocation, Ledger
from weir_operator.scheduling.place import place
from weir_operator.scheduling.workload import owner_of
from weir_operator.task import status as task_status
from weir_operator.task.decide import (
    End,
    LostAction,
    Standing,
    end_of,
    lost_verdict,
    standing_of,
)

Object = dict[str, Any]
BEGIN = dt.datetime(2026, 11, 22, 10, tzinfo=dt.UTC)
_FINAL = ("finishedAt", "exitCode", "runID", "nodeName")


class World:
    """The API server, the clock, and everybody who acts."""

    def __init__(
        self, hosts: int = 3, cores: int = 3, seed: int = 0, *, calm: bool = False
    ) -> None:
        self.calm = calm
        """Whether daemons never die by themselves, and programs never ignore TERM by chance."""
        self.dice = random.Random(seed)
        self.seconds = 0.0
        self.tasks: dict[str, Object] = {}
        self.versions = itertools.count(1)
        self.started: set[str] = set()
        self.hosts = {
            f"n{number}": Host(self, f"n{number}", cores) for number in range(1, hosts + 1)
        }
        self.operator = Operator(self)
        self._specs: dict[int, tuple[Object, TaskSpec]] = {}

    @property
    def now(self) -> dt.datetime:
        """The time."""
        return BEGIN + dt.timedelta(seconds=self.seconds)

    @property
    def moment(self) -> Moment:
        """The time, by both clocks."""
        return Moment(self.now, self.seconds)

    def parsed(self, obj: Object) -> TaskSpec:
        """Return a Task's spec as the daemon reads it."""
        spec = obj["spec"]
        found = self._specs.get(id(spec))
        if found is None or found[0] is not spec:
            found = self._specs[id(spec)] = (spec, TaskSpec.model_validate(spec))
        return found[1]

    # -- what people do

    def create(self, name: str, **spec: Any) -> None:
        """Create a Task."""
        made = task(name, "default", **spec)
        made["metadata"] |= {"uid": f"u-{name}", "generation": 1}
        self._store(name, {**made, "status": {}})

    def want(self, name: str, **changes: Any) -> None:
        """Change a Task's spec, if the API server lets it."""
        obj = self.tasks.get(name)
        if obj is None:
            return
        if obj["spec"].get("desiredState") == "Killed":
            changes.pop("desiredState", None)  # Killed is final
        if obj["spec"].get("approval", "Approved") != "Pending":
            changes.pop("approval", None)  # decided once
        if changes:
            self._store(name, {**obj, "spec": {**obj["spec"], **changes}})

    def delete(self, name: str) -> None:
        """Delete a Task."""
        self.tasks.pop(name, None)

    # -- the API server

    def write(self, obj: Object, changes: Mapping[str, Any]) -> Object | None:
        """Write a status that was decided on ``obj``; None: refused, as it has changed."""
        name = obj["metadata"]["name"]
        live = self.tasks.get(name)
        if live is None or live["metadata"]["version"] != obj["metadata"]["version"]:
            return None
        merged = {**live["status"], **changes}
        status = {field: value for field, value in merged.items() if value is not None}
        _check(live["status"], status)
        return self._store(name, {**live, "status": status})

    def _store(self, name: str, obj: Object) -> Object:
        new = {**obj, "metadata": {**obj["metadata"], "version": next(self.versions)}}
        self.tasks[name] = new
        return new

    def bound_to(self, host: str) -> list[Object]:
        """Return the unfinished Tasks of a host."""
        return [
            obj
            for obj in self.tasks.values()
            if obj["status"].get("nodeName") == host and "finishedAt" not in obj["status"]
        ]

    def check_exclusive(self, host: str) -> None:
        """Assert that no core and no GPU of a host is two Tasks'."""
        cores = [core for obj in self.bound_to(host) for core in obj["status"].get("cpus") or ()]
        assert len(cores) == len(set(cores)), f"{host}: {cores}"
        gpus = [g["index"] for obj in self.bound_to(host) for g in obj["status"].get("gpus") or ()]
        assert len(gpus) == len(set(gpus)), f"{host}: gpus {gpus}"

    # -- time

    def wait(self, seconds: float) -> None:
        """Let time pass; Leases are renewed, or not."""
        self.seconds += seconds
        for host in self.hosts.values():
            if host.alive and host.online:
                host.heard_at = self.seconds
            host.fence()
        self.operator.watch_hosts()

    def settle(self, rounds: int = 30) -> None:
        """Let everybody see everything and act, until nothing changes; no time passes."""
        before = None
        for _ in range(rounds):
            self.operator.see()
            for name in sorted(self.tasks):
                self.operator.look(name)
            for host in self.hosts.values():
                host.see()
                host.observe_all()
            after = [obj["metadata"]["version"] for obj in self.tasks.values()]
            if after == before:
                return
            before = after


def _check(old: Object, new: Object) -> None:
    """Assert what the CRD guards."""
    run = old.get("runID", 0)
    assert new.get("runID", 0) >= run
    if "nodeName" in old and new.get("nodeName") != old["nodeName"]:
        assert new["runID"] > run
    if "finishedAt" in old:
        assert [old.get(name) for name in _FINAL] == [new.get(name) for name in _FINAL]
    if retry.is_stopped(old):
        assert "finishedAt" not in new, "the daemon gave it back"
    assert new.get("failures", 0) >= old.get("failures", 0)


class Operator:
    """Ledger, placing and what is decided about one Task, as reconcilers put them together."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.restart()

    def restart(self) -> None:
        """Begin anew with what the API server has."""
        self.seen: dict[str, Object] = {}
        self.unknown_since: dict[str, float] = getattr(self, "unknown_since", {})
        self.ledger = Ledger()
        for name in self.world.hosts:
            self._set_host(name)
        self.see()

    def see(self, name: str | None = None) -> None:
        """Hear of a Task, or of all."""
        if name is None:
            for each in self.seen.keys() | self.world.tasks.keys():
                self.see(each)
        elif name in self.world.tasks:
            self.seen[name] = self.world.tasks[name]
            self._account(name)
        elif self.seen.pop(name, None) is not None:
            self.ledger.release(f"u-{name}")

    def watch_hosts(self) -> None:
        """Call hosts unknown whose Lease is old, and known again when they say so."""
        for name, host in self.world.hosts.items():
            lost = self.world.seconds - host.heard_at > LEASE_SECONDS
            if lost and name not in self.unknown_since:
                self.unknown_since[name] = self.world.seconds
                self._set_host(name)
            elif not lost and self.unknown_since.pop(name, None) is not None:
                self._set_host(name)

    def look(self, name: str) -> None:
        """Bring a Task one step nearer to its spec."""
        obj = self.seen.get(name)
        if obj is None:
            return
        now = self.world.now
        standing = self._account(name)
        if standing is Standing.STOPPED:
            self._write(obj, task_status.unbound(obj, now))
        elif standing is Standing.BOUND:
            self._look_at_host(obj)
        elif (end := end_of(standing)) is not None:
            self._write(obj, task_status.ended(obj, end, now))
        elif standing is Standing.PENDING:
            self._place(name, obj)

    def _look_at_host(self, obj: Object) -> None:
        host = obj["status"]["nodeName"]
        since = self.unknown_since.get(host)
        lost = None if since is None else self.world.seconds - since
        action = lost_verdict(obj["spec"], lost).action
        if action is not LostAction.WAIT:
            self._check_fenced(obj)
        if action is LostAction.UNBIND:
            self._write(obj, task_status.unbound(obj, self.world.now, lost=True))
        elif action is LostAction.END:
            end = End(Reason.HOST_LOST, f"its host {host} was lost")
            self._write(obj, task_status.ended(obj, end, self.world.now))

    def _check_fenced(self, obj: Object) -> None:
        """Assert that a host that lives has stopped what is taken from it.

        Of a Task that is deleted nothing is taken: the write is refused, and its container goes
        when the host can ask the API server again.
        """
        if obj["metadata"]["name"] not in self.world.tasks:
            return
        host = self.world.hosts[obj["status"]["nodeName"]]
        container = host.containers.get(names.container_name(*run_of(obj)))
        if host.is_awake and container is not None:
            assert not container.alive, f"{container.seen.name} still runs"

    def _place(self, name: str, obj: Object) -> None:
        request = request_of(obj)
        found = place(request, self.ledger.known_hosts())
        if found is None:
            return
        uid = obj["metadata"]["uid"]
        self.ledger.hold(uid, Allocation(found.holding(request), owner_of(obj), "Task"))
        self._write(obj, task_status.bound(obj, found, self.world.now))
        self.world.check_exclusive(found.host)

    def _account(self, name: str) -> Standing:
        """Bring the ledger in step with what was seen, as the scheduler does."""
        obj = self.seen[name]
        standing = standing_of(obj, self.world.now)
        if standing in (Standing.BOUND, Standing.STOPPED):
            held = Allocation(holding_of(obj), owner_of(obj), "Task")
            self.ledger.hold(obj["metadata"]["uid"], held)
        else:
            self.ledger.release(obj["metadata"]["uid"])
        return standing

    def _write(self, obj: Object, changes: Mapping[str, Any]) -> None:
        self.world.write(obj, changes)
        self.see(obj["metadata"]["name"])  # the reply, or after a conflict the object as it is

    def _set_host(self, name: str) -> None:
        facts = self.world.hosts[name].facts
        obstacles = (Obstacle.NOT_READY,) if name in self.unknown_since else ()
        self.ledger.set_host(name, replace(facts, obstacles=obstacles))
