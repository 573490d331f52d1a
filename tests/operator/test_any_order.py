"""Whatever happens in whatever order: nobody shares a core, and nothing is stuck."""

import asyncio
import datetime as dt
import random
from collections import Counter
from typing import Any

import pytest
from prometheus_client import REGISTRY

from support.aio import until
from support.madeup import numa_capacity
from support.operator_rig import NAMESPACE, OperatorApi, OperatorRig, running
from weir_crds.demand import request_of
from weir_crds.kinds import HOST, TASK, Kind
from weir_kube.errors import ApiError, ApiUnavailableError, ForbiddenError, TooManyRequestsError
from weir_kube.store import Key
from weir_operator.host.decide import STATES, state_of
from weir_operator.scheduling.place import place
from weir_operator.task.decide import Standing, standing_of

HOSTS = {
    "n1": numa_capacity(2, 3, memory_gib=8, gpus=2),
    "n2": numa_capacity(1, 2, memory_gib=4),
    "n3": numa_capacity(2, 2, memory_gib=16),
}
RESOURCES: list[dict[str, Any]] = [
    {"cpu": 1},
    {"cpu": 2, "memory": "1Gi"},
    {"cpu": 3},
    {"cpu": 4},
    {"cpu": "500m"},
    {"cpu": "1500m", "memory": "3Gi"},
    {"cpu": 0},
    {"cpu": 1, "gpus": {"count": 1}},
    {"cpu": 99},
]


class Chaos:
    """Does random things to a rig, from one seed."""

    def __init__(self, rig: OperatorRig, seed: int) -> None:
        self.rig = rig
        self.api = rig.api
        self.dice = random.Random(seed)
        self.made = 0
        self.lost: set[str] = set()

    def tasks(self, *standings: Standing) -> list[str]:
        """Return the Tasks of these standings, by name."""
        found = self.api.objects(TASK).values()
        now = dt.datetime.now(dt.UTC)
        return sorted(
            one["metadata"]["name"] for one in found if standing_of(one, now) in standings
        )

    def step(self) -> None:
        """Do one random thing."""
        self.dice.choices(
            [self.add, self.end, self.verb, self.delete, self.host, self.trouble],
            weights=[40, 30, 12, 6, 4, 8],
        )[0]()

    def add(self) -> None:
        self.made += 1
        spec: dict[str, Any] = {"resources": self.dice.choice(RESOURCES)}
        if self.dice.random() < 0.2:
            spec["priority"] = self.dice.choice([-5, 5])
        if self.dice.random() < 0.1:
            spec["placement"] = {"hostName": self.dice.choice(["n1", "n2", "n9"])}
        spec |= self.dice.choice([{}] * 8 + [{"suspend": True}, {"approval": "Pending"}])
        # A name that was there before is another Task.
        name = f"t{self.made if self.dice.random() < 0.8 else self.dice.randint(1, self.made)}"
        if self.api.peek(TASK, Key(NAMESPACE, name)) is None:
            self.rig.add_task(name, **spec)

    def end(self) -> None:
        if bound := self.tasks(Standing.BOUND):
            self.rig.end(self.dice.choice(bound))

    def verb(self) -> None:
        names = self.tasks(Standing.PENDING, Standing.SUSPENDED, Standing.AWAITING_APPROVAL)
        if not names:
            return
        name = self.dice.choice(names)
        spec = self.rig.task(name)["spec"]
        choices: list[dict[str, Any]] = [
            {"desiredState": "Killed"},
            {"suspend": not spec.get("suspend", False)},
            {"priority": self.dice.randint(-5, 5)},
        ]
        if spec.get("approval") == "Pending":
            choices += [{"approval": "Approved"}, {"approval": "Rejected"}]
        self.rig.change(name, **self.dice.choice(choices))

    def delete(self) -> None:
        if names := self.tasks(*Standing):
            self.api.remove(TASK, Key(NAMESPACE, self.dice.choice(names)))

    def host(self) -> None:
        name = self.dice.choice(sorted(HOSTS))
        if name in self.lost:
            self.lost.discard(name)
            self.ready(name, "True")
        else:
            self.lost.add(name)
            self.ready(name, "Unknown")

    def ready(self, name: str, status: str) -> None:
        """Let a host be known to live, or not."""
        conditions = self.rig.host(name)["status"]["conditions"]
        changed = [
            {**one, "status": status} if one["type"] == "Ready" else one for one in conditions
        ]
        self.api.change_status(HOST, Key("", name), conditions=changed)

    def trouble(self) -> None:
        """Have some of the next writes fail, before or after they took effect."""
        before, after = self.dice.random() * 0.5, self.dice.random() * 0.3
        errors: list[ApiError] = [
            ApiUnavailableError("away"),
            TooManyRequestsError("slow", status=429, retry_after_seconds=0.01),
            ForbiddenError("no", status=403),
        ]

        def refuse(kind: Kind, _key: Key) -> ApiError | None:
            return self.dice.choice(errors) if self.dice.random() < before else None

        def lose(kind: Kind, _key: Key) -> ApiError | None:
            return errors[0] if self.dice.random() < after else None

        self.api.refuse, self.api.lose_answer = refuse, lose

    def calm(self) -> None:
        """Let every write succeed."""
        self.api.refuse = self.api.lose_answer = lambda _kind, _key: None


def assert_exclusive(api: OperatorApi) -> None:
    """Assert that no core and no GPU is two Tasks'."""
    held: Counter[tuple[str, str, int]] = Counter()
    for one in api.objects(TASK).values():
        if standing_of(one, dt.datetime.now(dt.UTC)) is Standing.BOUND:
            status = one["status"]
            held.update((status["nodeName"], "core", core) for core in status["cpus"])
            held.update((status["nodeName"], "gpu", gpu["index"]) for gpu in status["gpus"])
    assert not held or max(held.values()) == 1


def assert_gauges(rig: OperatorRig) -> None:
    """Assert that a scrape now shows what the operator's caches show now."""
    now = dt.datetime.now(dt.UTC)
    standings = [standing_of(one, now) for one in rig.store(TASK).list()]
    assert sample("weir_operator_pending_tasks") == standings.count(Standing.PENDING)
    states = Counter(state_of(one) for one in rig.store(HOST).list())
    for state in STATES:
        assert sample("weir_operator_hosts", state=state) == states[state]
    for kind in (TASK, HOST):
        count = sample("weir_reflector_objects", kind=kind.kind)
        assert count == len(rig.store(kind))
    assert sample("weir_operator_binds_in_flight") == len(rig.scheduler._binder)


def sample(name: str, **labels: str) -> float | None:
    """Return what a gauge shows to Prometheus."""
    return REGISTRY.get_sample_value(name, labels)


@pytest.mark.parametrize("seed", range(8))
async def test_any_order(seed: int) -> None:
    api = OperatorApi()
    async with running(api) as rig:
        for name, capacity in HOSTS.items():
            nodes = len(capacity["numa"])
            await rig.add_host(
                name,
                nodes=nodes,
                cores=capacity["cpus"] // nodes,
                memory_gib=int(capacity["memory"].removesuffix("Gi")),
                gpus=len(capacity["gpus"]),
            )
        chaos = Chaos(rig, seed)
        for _ in range(150):
            chaos.step()
            for _ in range(chaos.dice.randint(0, 12)):
                await asyncio.sleep(0)
            assert_exclusive(api)
            assert_gauges(rig)
        chaos.calm()
        for name in sorted(chaos.lost):
            chaos.ready(name, "True")
        # What fits is bound, what was killed has ended, once the back-offs are over.
        scheduler = rig.scheduler

        def at_rest() -> bool:
            if chaos.tasks(Standing.KILLED, Standing.REJECTED) or len(scheduler._binder):
                return False
            hosts = scheduler.ledger.known_hosts()
            return not any(
                place(request_of(rig.task(name)), hosts) is not None
                for name in chaos.tasks(Standing.PENDING)
            )

        await until(at_rest, "at rest")
        assert_gauges(rig)
        assert_exclusive(api)
        held = {uid for state in scheduler.ledger.hosts.values() for uid in state.holdings}
        bound = chaos.tasks(Standing.BOUND)
        assert held == {rig.task(name)["metadata"]["uid"] for name in bound}
        for state in scheduler.ledger.hosts.values():
            assert state.memory_free >= 0
