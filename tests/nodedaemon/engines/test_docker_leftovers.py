"""What is found of a start that Docker's death has cut off."""

from pathlib import Path

import pytest

from weir_nodedaemon.engines.docker.leftovers import Leftover, find
from weir_nodedaemon.engines.docker.refusals import is_leftover, may_pass

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
