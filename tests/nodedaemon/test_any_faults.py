"""Whatever happens in whatever order: every Task reaches its one right end, nothing runs twice."""

import asyncio
import random
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from support.aio import until
from support.daemon_rig import Jittery, Rig
from weir_crds.kinds import TASK
from weir_kube.store import Key
from weir_nodedaemon.engines.port import ContainerEngine

PROGRAMS = [
    "exit 0",
    "exit 3",
    "sleep 0.01; exit 4",
    "sleep 0.05",
    "trap '' TERM; sleep 0.1; exit 5",
]
CODES = [0, 3, 4, 0, 5]
CORES: list[tuple[int, ...]] = [(), (0,), (1,), (0, 1)]
STEPS = [
    "bind", "bind", "bind", "pause", "run", "kill", "delete", "touch",
    "daemon dies", "daemon starts", "api away", "api back", "engine away", "engine back",
    "somebody pauses",
]  # fmt: skip

step = st.tuples(st.sampled_from(STEPS), st.integers(0, 2**16), st.integers(0, 30))


@dataclass
class Expected:
    """What a Task may end as."""

    program: int
    killed: bool = False
    deleted: bool = False


@dataclass
class Story:
    """A rig, and what was done to it."""

    rig: Rig
    engine: Jittery
    tasks: dict[Key, Expected] = field(default_factory=dict)

    async def do(self, what: str, number: int) -> None:
        """Do one thing."""
        rig = self.rig
        match what:
            case "bind":
                program = number % len(PROGRAMS)
                spec: dict[str, Any] = {"stopGraceSeconds": 0 if number % 2 else 1}
                if number % 7 == 0:
                    spec["image"] = f"localhost/new-{number}:1"
                key = rig.bind(
                    f"t{len(self.tasks)}",
                    command=["sh", "-c", PROGRAMS[program]],
                    cpus=CORES[number % len(CORES)],
                    **spec,
                )
                self.tasks[key] = Expected(program)
            case "daemon dies":
                await rig.kill()
            case "daemon starts":
                await rig.kill()
                rig.start()
            case "api away" | "api back":
                rig.api.available = what == "api back"
            case "engine away" | "engine back":
                rig.world.available = what == "engine back"
            case "somebody pauses":
                for container in rig.world.containers.values():
                    if container.seen.state == "running":
                        container.pause()
                        break
            case _:
                self._change(what, number)

    def _change(self, what: str, number: int) -> None:
        there = [key for key, task in self.tasks.items() if not task.deleted]
        if not there:
            return
        key = there[number % len(there)]
        task = self.tasks[key]
        if what == "delete":
            task.deleted = True
            self.rig.api.remove(TASK, key)
        elif what == "touch":
            self.rig.api.change_status(TASK, key, scheduledAt=f"2026-11-22T10:00:{number % 60:02}Z")
        elif what == "kill":
            task.killed = True
            self.rig.want(key, desiredState="Killed")
        elif not task.killed:
            self.rig.want(key, desiredState="Paused" if what == "pause" else "Running")

    async def heal(self) -> None:
        """Repair everything, let all run, and wait for the ends."""
        rig = self.rig
        rig.api.available = rig.world.available = True
        rig.api.loses = lambda: False
        self.engine.failing = False
        await rig.kill()
        rig.start()
        for key, task in self.tasks.items():
            if not task.deleted and not task.killed:
                rig.want(key, desiredState="Running")
        for key, task in self.tasks.items():
            if not task.deleted:
                await rig.finished(key)
        await until(lambda: not rig.world.containers, "all containers are gone")
        await until(rig.is_ready, "the Host is ready")

    def check(self) -> None:
        """Assert that each end is a right one."""
        assert self.rig.world.violations == []
        for key, task in self.tasks.items():
            if task.deleted:
                continue
            status = self.rig.status(key)
            reason = self.rig.told(key, "Succeeded")[1]
            right = {"Completed" if CODES[task.program] == 0 else "NonZeroExit"}
            if task.killed:
                right.add("Killed")
            assert reason in right, (key, status)
            if reason != "Killed":
                assert status["exitCode"] == CODES[task.program]
                assert self.rig.told(key, "Started")[0] == "True"


@settings(
    max_examples=25,
    phases=[Phase.reuse, Phase.generate],  # to make a failure smaller takes minutes
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
@given(steps=st.lists(step, min_size=3, max_size=30), seed=st.integers(0, 2**32))
def test_any_sequence_of_faults_ends_as_a_run_without_faults(
    steps: list[tuple[str, int, int]], seed: int
) -> None:
    async def play() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with Rig(Path(folder)) as rig:
                chance = random.Random(seed)
                rig.api.loses = lambda: chance.random() < 0.04
                jittery = Jittery(rig.engine, chance)
                rig.engine = cast(ContainerEngine, jittery)
                story = Story(rig, jittery)
                rig.start()
                for what, number, turns in steps:
                    await story.do(what, number)
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    if turns > 25:
                        await asyncio.sleep(turns / 1000)
                await story.heal()
                story.check()
                await rig.quiet(0.1)

    asyncio.run(play())
