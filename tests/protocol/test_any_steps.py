"""Whatever happens in whatever order: no core has two owners, no run two starts, nothing is stuck.

A hundred thousand random steps, with operator and daemons as their pure decisions.
"""

from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from support.protocol import World
from support.protocol_host import Host

EXAMPLES = 50
STEPS = 2000
LIVING = 10

RESOURCES: list[dict[str, Any]] = [
    {"cpu": 1},
    {"cpu": 1, "gpus": {"count": 1}},
    {"cpu": 2, "memory": "2Gi"},
    {"cpu": 3},
    {"cpu": "500m", "gpus": {"count": 2}},
    {"cpu": 0},
]
WISHES: list[dict[str, Any]] = [
    {"suspend": True},
    {"suspend": False},
    {"suspend": False},
    {"desiredState": "Paused"},
    {"desiredState": "Running"},
    {"desiredState": "Running"},
    {"desiredState": "Killed"},
]


class Story:
    """A world, and what happens to it by chance."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed=seed)
        self.dice = self.world.dice
        self.made = 0
        self.limits: dict[str, int] = {}
        self.events = {
            self.create: 8,
            self.wish: 6,
            self.operator_sees: 15,
            self.operator_looks: 25,
            self.daemon_sees: 15,
            self.daemon_looks: 30,
            self.container_ends: 4,
            self.time_passes: 14,
            self.daemon_sweeps: 3,
            self.daemon_fails: 3,
            self.daemon_returns: 4,
            self.delete: 2,
            self.container_is_removed: 1,
            self.operator_restarts: 1,
        }

    def play(self, steps: int) -> None:
        chosen = self.dice.choices(list(self.events), list(self.events.values()), k=steps)
        for event in chosen:
            event()

    # -- what may happen

    def create(self) -> None:
        if len(self.world.tasks) >= LIVING:
            return
        self.made += 1
        limit = self.dice.choice([0, 0, 1, 3])
        self.limits[f"t{self.made}"] = limit
        self.world.create(
            f"t{self.made}",
            resources=self.dice.choice(RESOURCES),
            retry={"limit": limit, "backoffSeconds": self.dice.choice([0, 5, 20])},
            onHostLost=self.dice.choice(["Wait", "Restart", "Restart", "Fail"]),
            hostLostGraceSeconds=self.dice.choice([0, 10, 60]),
            stopGraceSeconds=self.dice.choice([0, 5, 120]),
            **self.dice.choice([{}] * 4 + [{"timeoutSeconds": 30}, {"suspend": True}]),
        )

    def wish(self) -> None:
        if name := self._some_task():
            self.world.want(name, **self.dice.choice(WISHES))

    def delete(self) -> None:
        if name := self._some_task():
            self.world.delete(name)

    def operator_sees(self) -> None:
        if name := self._some_task():
            self.world.operator.see(name)

    def operator_looks(self) -> None:
        if self.world.operator.seen:
            self.world.operator.look(self.dice.choice(sorted(self.world.operator.seen)))

    def operator_restarts(self) -> None:
        self.world.operator.restart()

    def daemon_sees(self) -> None:
        self._some_host().see()

    def daemon_looks(self) -> None:
        host = self._some_host()
        if host.seen:
            host.look(self.dice.choice(sorted(host.seen)))

    def daemon_sweeps(self) -> None:
        self._some_host().sweep()

    def container_ends(self) -> None:
        host = self._some_host()
        for container in list(host.containers.values()):
            if container.alive and container.seen.state == "running":
                host.exit(container, self.dice.choice([0, 0, 1, 137, 143]))
                return

    def container_is_removed(self) -> None:
        host = self._some_host()
        if host.containers:
            del host.containers[self.dice.choice(sorted(host.containers))]

    def time_passes(self) -> None:
        self.world.wait(self.dice.choice([0.1, 1, 3, 10, 25]))

    def daemon_fails(self) -> None:
        host = self._some_host()
        match self.dice.randrange(4):
            case 0:
                host.alive = False
            case 1:
                host.restart()
            case _:
                host.online = False

    def daemon_returns(self) -> None:
        host = self._some_host()
        if not host.alive:
            host.restart()
        elif self.dice.random() < 0.3:
            host.online = True

    def _some_task(self) -> str | None:
        return self.dice.choice(sorted(self.world.tasks)) if self.world.tasks else None

    def _some_host(self) -> Host:
        return self.dice.choice(list(self.world.hosts.values()))

    # -- the end

    def heal(self) -> None:
        """Let everything work and every program end, and see that every Task does."""
        world = self.world
        for name in sorted(world.tasks):
            world.want(name, suspend=False, desiredState="Running")
        for _ in range(60):
            for host in world.hosts.values():
                host.online = True
                if not host.alive:
                    host.restart()
                for container in host.containers.values():
                    if container.seen.state == "running":
                        host.exit(container, 0)
            world.wait(20)
            world.settle()
            if all("finishedAt" in obj["status"] for obj in world.tasks.values()):
                break

    def check_rest(self) -> None:
        """Assert that nothing is stuck, and nothing left."""
        world = self.world
        for name, obj in world.tasks.items():
            status = obj["status"]
            assert "finishedAt" in status, (name, obj)
            assert status.get("failures", 0) <= self.limits[name]
            assert status["phase"] in ("Succeeded", "Failed", "Killed")
        for host in world.hosts.values():
            if not host.alive:
                host.restart()
            host.see()
            for _ in range(4):
                host.observe_all()
            assert host.containers == {}
        assert not any(state.holdings for state in world.operator.ledger.hosts.values())


@settings(
    max_examples=EXAMPLES,
    phases=[Phase.reuse, Phase.generate],  # a seed does not get smaller
    print_blob=True,
)
@given(seed=st.integers(0, 2**32))
def test_a_hundred_thousand_steps(seed: int) -> None:
    story = Story(seed)
    story.play(STEPS)
    story.heal()
    story.check_rest()
