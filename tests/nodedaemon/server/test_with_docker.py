import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.aio import until_async
from weir_crds.names import (
    LABEL_HOST,
    LABEL_KIND,
    LABEL_NAME,
    LABEL_NAMESPACE,
    LABEL_RUN,
    LABEL_UID,
)
from weir_nodedaemon.engines.docker.engine import DockerEngine
from weir_nodedaemon.engines.port import ContainerSpec, InstanceState
from weir_nodedaemon.logs import LogStore
from weir_nodedaemon.server.output import Run, read_run

pytestmark = pytest.mark.docker
HOST = f"host-{uuid.uuid4().hex[:8]}"


@pytest.fixture
async def engine(docker_host: str) -> AsyncIterator[DockerEngine]:
    engine = DockerEngine(HOST, docker_host)
    yield engine
    for name in await engine.observe():
        await engine.remove(name)
    await engine.close()


async def start(engine: DockerEngine, image: str, command: str) -> Run:
    run = Run(str(uuid.uuid4()), 1)
    labels = {LABEL_UID: run.uid, LABEL_RUN: "1", LABEL_HOST: HOST, LABEL_KIND: "Task"}
    labels |= {LABEL_NAMESPACE: "default", LABEL_NAME: "train"}
    argv = ("sh", "-c", command)
    await engine.create(ContainerSpec(run.container, image, labels, argv, network_mode="None"))
    await engine.start(run.container)
    return run


async def ended(engine: DockerEngine, run: Run) -> None:
    async def look() -> bool:
        seen = await engine.inspect(run.container)
        return seen is not None and seen.state is InstanceState.EXITED

    await until_async(look, "the container has ended", timeout=30)


async def test_follow_includes_the_very_last_words(
    engine: DockerEngine, busybox_image: str, tmp_path: Path
) -> None:
    logs = LogStore(tmp_path, 10**7)
    run = await start(engine, busybox_image, "seq 1 20000; printf end")
    got = [chunk.data async for chunk in read_run(engine, logs, run, follow=True)]
    expected = b"".join(b"%d\n" % number for number in range(1, 20001)) + b"end"
    assert b"".join(got) == expected


async def test_a_slow_reader_gets_all_though_the_container_is_removed_meanwhile(
    engine: DockerEngine, busybox_image: str, tmp_path: Path
) -> None:
    logs = LogStore(tmp_path, 10**8)
    run = await start(engine, busybox_image, "seq 1 900000; printf end")
    reading = read_run(engine, logs, run, follow=True)
    got = [(await anext(reading)).data]
    await ended(engine, run)
    await logs.archive(run.uid, run.run_id, engine.logs(run.container))
    await engine.remove(run.container)
    got += [chunk.data async for chunk in reading]
    whole = b"".join(got)
    assert whole.endswith(b"\n900000\nend")
    assert len(whole) == sum(len(b"%d\n" % number) for number in range(1, 900001)) + 3
