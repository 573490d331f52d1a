"""An engine is one folder and one line in a list: one that only this test knows is used as all."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from support.aio import until
from support.daemon_rig import HOST_NAME, Rig
from weir_crds.conditions import ConditionType
from weir_nodedaemon import settings
from weir_nodedaemon.engines.docker.engine import DOCKER, DockerEngine
from weir_nodedaemon.engines.engine_type import EngineSettings, EngineType
from weir_nodedaemon.engines.fake.engine import FAKE, FakeEngine
from weir_nodedaemon.engines.registry import ENGINES
from weir_nodedaemon.machine import cgroup
from weir_nodedaemon.machine.gpus.nvml_probe import NvmlProbe
from weir_nodedaemon.machine.gpus.port import GpuProbe, NoGpus
from weir_nodedaemon.settings import Settings
from weir_nodedaemon.wiring import watch_capacity, watch_gpus


def make(chosen: EngineSettings) -> FakeEngine:
    return FakeEngine(f"{chosen.host_name} of crates")


CRATES = EngineType(
    name="crates",
    ready_condition=ConditionType.DOCKER_READY,
    make=make,
    peer=lambda _: 4711,
    uses_gpus=True,
)


def chosen(tmp_path: Path, *argv: str, engine: EngineType = CRATES) -> Settings:
    """Return the settings of a daemon that has this engine, too."""
    given = ["--state-dir", str(tmp_path), "--engine", engine.name, *argv]
    return settings.parse(given, {}, engines=(*ENGINES, CRATES))


async def test_it_is_chosen_by_its_name_and_made_from_the_settings(tmp_path: Path) -> None:
    found = chosen(tmp_path, "--host-name", "n7")
    assert found.engine is CRATES
    engine = found.engine.make(found)
    assert isinstance(engine, FakeEngine)
    assert await engine.observe() == {}
    await engine.close()


def test_the_command_line_names_every_engine(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        settings.parse(["--help"], {}, engines=(*ENGINES, CRATES))
    assert "{docker,fake,crates}" in capsys.readouterr().out


def test_no_two_engines_have_one_name() -> None:
    names = [engine.name for engine in ENGINES]
    assert len(names) == len(set(names))


def test_its_process_bounds_the_capacity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int | None] = []

    def limits(pid: int | None, **_: object) -> cgroup.CgroupLimits:
        asked.append(pid)
        return cgroup.CgroupLimits()

    monkeypatch.setattr(cgroup, "shared_limits", limits)
    for engine in (CRATES, FAKE):
        assert watch_capacity(chosen(tmp_path, engine=engine)).current.cpus
    assert asked == [4711, None]


@pytest.mark.parametrize(
    ("engine", "argv", "probe"),
    [
        (CRATES, (), NvmlProbe),
        (CRATES, ("--gpus", "none"), NoGpus),
        (FAKE, (), NoGpus),
        (DOCKER, (), NvmlProbe),
    ],
    ids=["uses them", "may use none", "the fake has no use for any", "docker"],
)
def test_gpus_are_looked_at_for_engines_that_use_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: EngineType,
    argv: tuple[str, ...],
    probe: type[GpuProbe],
) -> None:
    used: list[GpuProbe] = []
    monkeypatch.setattr(
        "weir_nodedaemon.wiring.GpuWatch", lambda found, *_, **__: used.append(found)
    )
    watch_gpus(chosen(tmp_path, *argv, engine=engine), "boot")
    assert [type(one) for one in used] == [probe]


async def test_a_docker_elsewhere_has_no_process_here() -> None:
    remote = SimpleNamespace(host_name="n1", docker_host="tcp://127.0.0.1:1")
    assert DOCKER.peer(remote) is None
    engine = DOCKER.make(remote)
    assert isinstance(engine, DockerEngine)
    await engine.close()


async def test_its_host_says_that_it_is_ready_and_tasks_run(tmp_path: Path) -> None:
    async with Rig(tmp_path) as rig:
        rig.engine_type = replace(CRATES, make=lambda _: FakeEngine(HOST_NAME, rig.world))
        rig.start()
        await until(lambda: rig.host_told("DockerReady") == ("True", "EngineReady"))
        host = rig.host()
        assert host is not None
        assert [engine["name"] for engine in host["status"]["engines"]] == ["crates"]
        assert (await rig.finished(rig.bind("t", command=["true"])))["exitCode"] == 0
