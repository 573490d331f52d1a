"""What Docker really does with what the engine tells it."""

import asyncio
import itertools
import os
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import aiohttp
import docker
import pytest

from support.engine_rig import Rig, until
from weir_crds.errors import WeirError
from weir_nodedaemon.engines.docker.engine import DockerEngine
from weir_nodedaemon.engines.docker.objects import IMPOSSIBLE_BODY
from weir_nodedaemon.engines.port import (
    ContainerEngine,
    CreateRefusedError,
    InstanceGoneError,
    InstanceState,
    Mount,
    Stream,
)
from weir_nodedaemon.instances.probe import StartProbe

pytestmark = pytest.mark.docker

MIB = 2**20


@pytest.fixture
def rig(docker_rig: Rig) -> Rig:
    """Real Docker only."""
    return docker_rig


@pytest.fixture
def client(docker_host: str) -> Iterator[Any]:
    """Docker as others see it."""
    api = docker.APIClient(docker_host, version="auto")
    yield api
    api.close()


async def test_cores_and_memory_nodes_are_the_kernels_own_limits(rig: Rig) -> None:
    lines = await rig.lines(
        "grep -E '^(Cpus|Mems)_allowed_list' /proc/self/status", cpus=(1,), memory_nodes=(0,)
    )
    assert [line.split() for line in lines] == [
        ["Cpus_allowed_list:", "1"],
        ["Mems_allowed_list:", "0"],
    ]


async def test_a_gpu_that_docker_cannot_give_is_a_failed_start(rig: Rig) -> None:
    """As without NVIDIA's toolkit, and with it of an unknown device: for good, not tried again."""
    name = await rig.create(gpu_uuids=("GPU-00000000-0000-0000-0000-000000000000",))
    assert (await rig.seen(name)).gpu_uuids == ("GPU-00000000-0000-0000-0000-000000000000",)
    with pytest.raises(CreateRefusedError):
        await rig.engine.start(name)
    assert (await rig.seen(name)).state is InstanceState.CREATED


@pytest.mark.parametrize(
    ("millis", "micros_of_100000"), [(500, 50_000), (1500, 150_000), (1, 1_000)]
)
async def test_a_quota_is_the_kernels_own_limit(
    rig: Rig, millis: int, micros_of_100000: int
) -> None:
    files = "/sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max"  # cgroup v1, v2
    lines = await rig.lines(f"cat {files} 2>/dev/null", cpu_millis=millis)
    assert lines[0].split()[0] == str(micros_of_100000)


async def test_memory_without_swap_and_shared_memory_are_limited(rig: Rig, client: Any) -> None:
    spec = rig.spec("df -k /dev/shm | tail -1", memory_bytes=64 * MIB, shm_bytes=8 * MIB)
    lines = await rig.lines("df -k /dev/shm | tail -1", name=spec.name, shm_bytes=8 * MIB)
    assert lines[0].split()[1] == str(8 * 1024)
    limited = await rig.create(memory_bytes=64 * MIB)
    host = client.inspect_container(limited)["HostConfig"]
    assert host["Memory"] == 64 * MIB
    assert host["MemorySwap"] in {64 * MIB, -1}  # -1: this kernel counts no swap


async def test_a_container_that_forks_without_end_is_refused_further_processes(rig: Rig) -> None:
    script = "for n in $(seq 40); do sleep 60 & done; cat /sys/fs/cgroup/pids.max"
    name = await rig.run(f"({script}) 2>&1; echo on", pids_limit=16)
    lines = b"".join((await rig.output(name)).values()).decode()
    assert "an't fork" in lines
    usage = await rig.engine.usage(name)
    assert usage is None or usage.pids <= 16


async def test_the_least_number_of_processes_is_enough_to_start(rig: Rig) -> None:
    assert (await rig.result("exit 3", pids_limit=16)).exit_code == 3


async def test_docker_tells_which_cores_it_has_and_where_it_keeps_all(
    rig: Rig, client: Any
) -> None:
    """What it tells is what it holds a container to: the next core is refused."""
    info = await rig.engine.info()
    assert info.version == client.version()["Version"]
    assert info.cpus is not None
    assert set(info.cpus) >= os.sched_getaffinity(0)
    assert info.root_dir == client.info()["DockerRootDir"]
    made = [each["Image"] for each in client.containers(all=True)]
    assert IMPOSSIBLE_BODY["Image"] not in made
    await rig.create(cpus=(max(info.cpus),))
    with pytest.raises(WeirError, match="CPUs are not available"):
        await rig.create(cpus=(max(info.cpus) + 1,))


async def test_a_running_container_moves_to_other_cores(rig: Rig, client: Any) -> None:
    name = await rig.run("sleep 60", cpus=(0,))
    pid = client.inspect_container(name)["State"]["Pid"]
    assert os.sched_getaffinity(pid) == {0}
    await rig.engine.update_cpus(name, (0, 1))
    assert os.sched_getaffinity(pid) == {0, 1}
    assert (await rig.seen(name)).cpus == (0, 1)


async def test_a_container_is_kept_with_raw_logs_and_an_init(rig: Rig, client: Any) -> None:
    name = await rig.run("cat /proc/1/comm", log_buffer_bytes=MIB, stop_grace_seconds=7)
    assert (await rig.output(name))[Stream.STDOUT] == b"docker-init\n"
    seen = client.inspect_container(name)
    host = seen["HostConfig"]
    assert host["AutoRemove"] is False
    assert host["RestartPolicy"]["Name"] == "no"
    assert host["LogConfig"] == {
        "Type": "local",
        "Config": {"max-size": str(MIB // 8), "max-file": "8", "compress": "false"},
    }
    assert seen["Config"]["StopTimeout"] == 7


async def test_of_a_flood_that_nobody_followed_the_newest_is_there_and_the_rest_is_a_gap(
    rig: Rig,
) -> None:
    buffer = 256 * 1024
    name = await rig.run("yes 0123456789 | head -c 3000000; echo the end", log_buffer_bytes=buffer)
    await rig.ended(name)
    chunks = [chunk async for chunk in rig.engine.follow(name)]
    assert [chunk.gap for chunk in chunks if chunk.gap] == [True]
    kept = b"".join(chunk.data for chunk in chunks)
    assert kept.endswith(b"the end\n")
    # Docker's own words about each line take room, more than the line itself when it is short.
    assert buffer / 4 <= len(kept) <= 4 * buffer


@pytest.mark.parametrize(
    ("command", "args", "said"),
    [
        (None, None, "entrypoint default"),
        (None, ("args",), "entrypoint args"),
        (("echo", "command"), None, "command"),
        (("echo", "command"), ("args",), "command args"),
    ],
)
async def test_command_and_args_mean_what_they_mean_in_kubernetes(
    rig: Rig,
    image_with_entrypoint: str,
    command: tuple[str, ...] | None,
    args: tuple[str, ...] | None,
    said: str,
) -> None:
    name = await rig.run(None, image=image_with_entrypoint, command=command, args=args)
    assert (await rig.output(name))[Stream.STDOUT].decode().strip() == said


@pytest.fixture
def image_with_entrypoint(client: Any, busybox_image: str) -> Iterator[str]:
    """An image that says "entrypoint default" when nothing else is asked of it."""
    name = f"localhost/weir-test-{uuid.uuid4().hex[:8]}:1"
    container = client.create_container(busybox_image, ["true"])["Id"]
    changes = ['ENTRYPOINT ["echo", "entrypoint"]', 'CMD ["default"]']
    repository, tag = name.rsplit(":", 1)
    client.commit(container, repository, tag, changes=changes)
    client.remove_container(container)
    yield name
    client.remove_image(name, force=True)


async def test_a_file_that_is_no_program_is_named(rig: Rig) -> None:
    seen = await rig.result(None, command=("/tmp",))
    assert (seen.exit_code, seen.error) == (126, "exec /tmp failed: Permission denied")


async def test_a_program_that_speaks_as_the_init_does_is_not_taken_for_it(rig: Rig) -> None:
    line = "[FATAL tini (7)] exec /x failed: No such file or directory"
    assert (await rig.result(f"echo before >&2; echo '{line}' >&2; exit 127")).error == ""


async def test_a_start_that_docker_refuses_is_told_and_stays_to_be_seen(rig: Rig) -> None:
    name = await rig.create(mounts=(Mount("/tmp", "/proc/self"),))
    with pytest.raises(CreateRefusedError) as caught:
        await rig.engine.start(name)
    seen = await rig.seen(name)
    assert seen.state is InstanceState.CREATED
    assert seen.error
    assert seen.error in str(caught.value)


async def test_mounts_are_there_and_read_only_where_asked(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_text("given\n")
    (tmp_path / "out").mkdir()
    lines = await rig.lines(
        "cat /in/file; touch /in/x 2>&1; echo made > /out/file",
        mounts=(
            Mount(str(tmp_path / "in"), "/in", read_only=True),
            Mount(str(tmp_path / "out"), "/out"),
        ),
    )
    assert lines == ["given", "touch: /in/x: Read-only file system"]
    assert (tmp_path / "out" / "file").read_text() == "made\n"


async def test_networks_are_what_they_are_called(rig: Rig) -> None:
    script = "readlink /proc/self/ns/net; ls /sys/class/net"
    none, *of_none = await rig.lines(script, network_mode="None")
    bridge, *of_bridge = await rig.lines(script, network_mode="Bridge")
    host, *_ = await rig.lines(script, network_mode="Host")
    # Not by its interfaces: containers come and go on this machine.
    assert host == _own_network()
    assert len({none, bridge, host}) == 3
    assert of_none == ["lo"]
    assert "eth0" in of_bridge


def _own_network() -> str:
    return str(Path("/proc/self/ns/net").readlink())


async def test_privileged_reaches_docker_only_when_asked_for(rig: Rig, client: Any) -> None:
    # Not every machine that runs tests can start one.
    asked = client.inspect_container(await rig.create(privileged=True))
    assert asked["HostConfig"]["Privileged"] is True
    plain = client.inspect_container(await rig.create())
    assert plain["HostConfig"]["Privileged"] is False


async def test_a_container_without_our_label_is_neither_seen_nor_touched(
    rig: Rig, client: Any, busybox_image: str
) -> None:
    name = f"foreign-{uuid.uuid4().hex[:8]}"
    client.create_container(busybox_image, ["sleep", "60"], name=name)
    try:
        client.start(name)
        assert await rig.engine.inspect(name) is None
        assert await rig.engine.observe() == {}
        await rig.engine.remove(name)
        assert client.inspect_container(name)["State"]["Running"]
    finally:
        client.remove_container(name, force=True)


async def test_what_another_engine_started_is_adopted(rig: Rig, docker_host: str) -> None:
    name = await rig.run("trap 'exit 3' TERM; echo up; sleep 60 & wait")
    await rig.says(name, b"up\n")
    later: ContainerEngine = rig.engine_of((await rig.seen(name)).labels["weir.dev/host"])
    rig.engines.append(later)
    assert (await later.observe())[name].state is InstanceState.RUNNING
    await later.signal(name, signal.SIGTERM)

    async def ended() -> bool:
        return (await later.observe())[name].exit_code == 3

    await until(ended, "its exit code is seen")
    assert (await later.observe())[name] == (await rig.seen(name))


async def test_what_somebody_runs_from_a_committed_container_is_not_ours(
    rig: Rig, client: Any
) -> None:
    """``docker commit`` puts the labels of the container on the image, and so on what it runs."""
    name = await rig.run("sleep 60")
    image = f"localhost/debug-{name}"
    client.commit(name, image, "1")
    theirs = f"my-own-work-{uuid.uuid4().hex[:8]}"
    quiet = client.create_host_config(network_mode="none")
    client.create_container(f"{image}:1", ["sleep", "60"], name=theirs, host_config=quiet)
    try:
        client.start(theirs)
        labels = client.inspect_container(theirs)["Config"]["Labels"]
        assert labels["weir.dev/uid"] == (await rig.seen(name)).labels["weir.dev/uid"]
        assert await rig.engine.inspect(theirs) is None
        assert (await rig.engine.observe()).keys() == {name}
        await rig.engine.signal(theirs, signal.SIGKILL)
        await rig.engine.remove(theirs)
        with pytest.raises(InstanceGoneError):
            await rig.engine.update_cpus(theirs, (0,))
        assert client.inspect_container(theirs)["State"]["Running"]
    finally:
        client.remove_container(theirs, force=True)
        client.remove_image(f"{image}:1", force=True)


async def test_one_of_ours_that_is_renamed_gets_its_name_back(rig: Rig, client: Any) -> None:
    """And what somebody runs from an image of it keeps the name that they gave it."""
    name = await rig.run("sleep 60")
    image, theirs = f"localhost/debug-{name}", f"my-own-work-{uuid.uuid4().hex[:8]}"
    client.commit(name, image, "1")
    client.create_container(f"{image}:1", ["sleep", "60"], name=theirs)
    renamed = f"mine-{uuid.uuid4().hex[:8]}"
    try:
        async with aclosing(rig.engine.events()) as events:
            assert (await anext(events)).action == ""
            client.rename(name, renamed)
            told = await asyncio.wait_for(anext(events), 60)
            assert (told.name, told.action) == ("", "")  # look at all
        assert await rig.engine.inspect(name) is None

        for _ in range(2):
            seen = await rig.engine.observe()
            assert {one: found.state for one, found in seen.items()} == {
                name: InstanceState.RUNNING
            }
        assert await rig.engine.inspect(name) == seen[name]
        assert client.inspect_container(theirs)["Name"] == f"/{theirs}"
    finally:
        client.remove_container(theirs, force=True)
        client.remove_image(f"{image}:1", force=True)


async def test_one_of_ours_whose_name_is_taken_hides_no_other(rig: Rig, client: Any) -> None:
    name, other = await rig.run("sleep 60"), await rig.run("sleep 60")
    renamed = f"mine-{uuid.uuid4().hex[:8]}"
    client.rename(name, renamed)
    client.create_container(rig.image, ["sleep", "60"], name=name)
    try:
        assert (await rig.engine.observe()).keys() == {other}
        client.remove_container(name, force=True)
        assert (await rig.engine.observe()).keys() == {name, other}
    finally:
        for left in (name, renamed):
            with suppress(docker.errors.NotFound):
                client.remove_container(left, force=True)


async def test_an_image_that_we_keep_has_the_files_and_none_of_our_labels(
    rig: Rig, client: Any
) -> None:
    name = await rig.run("echo work > /result; sleep 60", labels={"mine": "yes"})
    await until(lambda: _wrote(client, name), "it has written")
    image = f"localhost/kept-{name}:1"
    await rig.engine.commit(name, image)
    try:
        labels = client.inspect_image(image)["Config"]["Labels"]
        assert {key: value for key, value in labels.items() if value} == {"mine": "yes"}
        assert await rig.lines("cat /result", image=image) == ["work"]
    finally:
        client.remove_image(image, force=True)


async def _wrote(client: Any, name: str) -> bool:
    return any(change["Path"] == "/result" for change in client.diff(name) or ())


async def test_a_quiet_world_is_observed_with_one_request(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.gather(*(rig.run("sleep 60") for _ in range(4)))
    await rig.engine.observe()
    requests = itertools.count()
    call = aiohttp.ClientSession._request

    async def counted(*args: Any, **kwargs: Any) -> Any:
        next(requests)
        return await call(*args, **kwargs)

    monkeypatch.setattr(aiohttp.ClientSession, "_request", counted)
    assert len(await rig.engine.observe()) == 4
    assert next(requests) == 1


async def test_what_a_container_writes_is_limited_or_measured(rig: Rig) -> None:
    """Whichever this Docker's storage can: a limit that it does not know stops no start."""
    limit = 4 * MIB
    script = "head -c 8000000 /dev/zero > /big; sync; sleep 60"
    for _ in range(2):  # the second time it is known whether Docker can
        name = await rig.run(script, layer_bytes=limit)

    async def written() -> int | None:
        size = await rig.engine.layer_bytes(name)
        return size if size and size >= limit // 2 else None

    size = await until(written, "it has written")
    assert size <= 8_100_000
    assert await rig.engine.layer_bytes(f"weir-{uuid.uuid4()}-1") is None


async def test_a_probe_of_starts_leaves_nothing(rig: Rig, client: Any, docker_host: str) -> None:
    """Docker starts it, although its program is in no image."""
    host = f"probed-{uuid.uuid4().hex[:8]}"
    engine = DockerEngine(host, docker_host)
    probe = StartProbe(engine, host, pool=lambda: (0,), free_gpus=lambda gpus: gpus)
    probe.like = rig.spec(memory_bytes=64 * MIB)
    began = time.time()
    await probe()
    await engine.close()
    filters = {"label": [f"weir.dev/host={host}"]}
    assert client.containers(all=True, filters=filters) == []
    events = client.events(since=began, until=time.time() + 1, filters=filters, decode=True)
    assert {"create", "start", "destroy"} <= {event["Action"] for event in events}
