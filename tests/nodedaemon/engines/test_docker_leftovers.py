"""What is found of a start or an end that Docker's death has cut off."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from weir_nodedaemon.engines.docker.leftovers import Leftover, Leftovers, find
from weir_nodedaemon.engines.docker.refusals import is_leftover, may_pass
from weir_nodedaemon.engines.port import InstanceState, ObservedInstance

ID = "f36e2587c74c3147b575d062b3f4f12b406b9a53c6c5bfcaca168fb345f854db"
INSIDE = f"12:cpuset:/weir/{ID}\n0::/weir/{ID}\n"
ELSEWHERE = "12:cpuset:/system\n0::/system\n"
SHIM = f"/usr/bin/containerd-shim-runc-v2\0-namespace\0moby\0-id\0{ID}\0-address\0/x.sock\0"
INIT = "/sbin/docker-init\0--\0sleep\0600\0"

# case, processes (command line and cgroup) by pid, what is found
CASES: list[tuple[str, dict[int, tuple[str, str]], Leftover]] = [
    ("nothing", {}, Leftover((), begun=False)),
    ("a shim alone", {7: (SHIM, ELSEWHERE)}, Leftover((7,), begun=False)),
    ("a program that has not begun", {7: (SHIM, ELSEWHERE), 8: ("runc\0init\0", INSIDE)},
     Leftover((7, 8), begun=False)),
    ("a program that has begun", {7: (SHIM, ELSEWHERE), 8: (INIT, INSIDE)},
     Leftover((7, 8), begun=True)),
    ("one that has just ended", {7: (SHIM, ELSEWHERE), 8: ("", INSIDE)},
     Leftover((7,), begun=False)),
    ("of another container", {7: (SHIM.replace("f", "e"), ELSEWHERE)}, Leftover((), begun=False)),
    ("somebody who speaks of it", {7: (f"docker\0start\0{ID}\0", ELSEWHERE)},
     Leftover((), begun=False)),
]  # fmt: skip


@pytest.mark.parametrize(("_", "processes", "expected"), CASES, ids=[case[0] for case in CASES])
def test_the_processes_of_a_container(
    tmp_path: Path, _: str, processes: dict[int, tuple[str, str]], expected: Leftover
) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "6").mkdir()  # it ended while we looked
    for pid, (command, cgroup) in processes.items():
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cmdline").write_text(command)
        (tmp_path / str(pid) / "cgroup").write_text(cgroup)
    found = find(ID, tmp_path)
    assert (sorted(found.pids), found.begun) == (sorted(expected.pids), expected.begun)


@pytest.mark.parametrize(
    "words",
    [
        f"task {ID}: already exists",
        "id already in use",
        f"failed to start shim: mkdir /run/moby/{ID}: file exists: unknown",
    ],
)
def test_the_words_that_docker_has_for_it(words: str) -> None:
    assert is_leftover(words)
    assert may_pass(words)
    assert not is_leftover("endpoint with name a already exists in network bridge")


@pytest.fixture
def shim() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A process that looks as the shim of a container, and that container's id."""
    container_id = uuid4().hex * 2
    words = ["containerd-shim-runc-v2", "-c", "import time; time.sleep(600)", "-id", container_id]
    with subprocess.Popen(words, executable=sys.executable) as process:
        yield container_id, process
        process.kill()


@pytest.mark.parametrize(
    ("state", "exit_code", "is_cleared"),
    [
        (InstanceState.CREATED, None, True),
        (InstanceState.EXITED, 255, True),
        (InstanceState.EXITED, 0, False),  # not even looked for: that costs a look at all of /proc
        (InstanceState.RUNNING, None, False),
    ],
    ids=["a start cut off", "an end that Docker lost", "an end", "it runs"],
)
async def test_the_shim_of_a_container_that_docker_lost_ends_with_it(
    shim: tuple[str, subprocess.Popen[bytes]],
    state: InstanceState,
    exit_code: int | None,
    is_cleared: bool,
) -> None:
    container_id, process = shim
    left = Leftovers()
    left.note(container_id, ObservedInstance("weir-a-1", {}, state, exit_code))
    found = await left.clear("weir-a-1")
    assert found.pids == ((process.pid,) if is_cleared else ())
    assert not found.begun
    assert (process.poll() is not None) is is_cleared
    assert (await left.clear("weir-a-1")).pids == ()
