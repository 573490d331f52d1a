"""The limits of the cgroups that hold both the daemon and Docker, from made-up trees."""

import os
import socket
from pathlib import Path

import pytest

from weir_nodedaemon.machine.cgroup import CgroupLimits, peer_of, shared_limits

GIB = 2**30
NONE = CgroupLimits()


class Tree:
    """Builds the parts of sysfs and procfs that tell of cgroups; Docker is process 7."""

    def __init__(self, root: Path) -> None:
        self.sysfs, self.procfs = root / "sys", root / "proc"

    def process(self, pid: str, groups: str, namespace: str = "cgroup:[1]") -> "Tree":
        folder = self.procfs / pid
        (folder / "ns").mkdir(parents=True)
        (folder / "cgroup").write_text(groups)
        (folder / "ns/cgroup").symlink_to(namespace)
        return self

    def group(self, path: str, **files: str) -> "Tree":
        folder = self.sysfs / "fs/cgroup" / path
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name.replace("_", ".", 1)).write_text(f"{text}\n")
        return self

    def limits(self, pid: int | None = 7) -> CgroupLimits:
        return shared_limits(pid, self.procfs, self.sysfs)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def version_2(tree: Tree) -> Tree:
    """Both in one slice, each in a unit of its own."""
    tree.process("self", "0::/weir.slice/daemon.service\n")
    tree.process("7", "0::/weir.slice/docker.service\n")
    tree.group("", **{"cpuset_cpus.effective": "0-7"})
    tree.group("weir.slice", **{"cpuset_cpus.effective": "2-5", "memory_max": str(4 * GIB)})
    tree.group("weir.slice/daemon.service", memory_max=str(GIB // 4))
    return tree.group("weir.slice/docker.service", memory_max=str(GIB))


def test_the_group_that_holds_both_counts_and_not_that_of_one(tree: Tree) -> None:
    assert version_2(tree).limits() == CgroupLimits(frozenset({2, 3, 4, 5}), 4 * GIB)


def test_an_outer_group_with_less_memory_counts(tree: Tree) -> None:
    assert version_2(tree).group("", memory_max=str(GIB)).limits().memory_bytes == GIB


def test_max_is_no_limit(tree: Tree) -> None:
    assert version_2(tree).group("weir.slice", memory_max="max").limits().memory_bytes is None


def test_version_1_has_a_tree_for_each_controller(tree: Tree) -> None:
    groups = "4:memory:/box/{0}\n3:cpuset:/box\n2:cpu,cpuacct:/x\n1:name=systemd:/\n0::/\n"
    tree.process("self", groups.format("daemon")).process("7", groups.format("docker"))
    tree.group("cpuset/box", cpuset_cpus="0,2")
    tree.group("memory", memory_limit_in_bytes="9223372036854771712")
    tree.group("memory/box", memory_limit_in_bytes=str(GIB))
    tree.group("unified")
    assert tree.limits() == CgroupLimits(frozenset({0, 2}), GIB)


def test_a_daemon_in_a_pod_of_its_own_says_nothing_about_docker(tree: Tree) -> None:
    tree.process("self", "0::/\n", "cgroup:[2]").process("7", "0::/\n")
    tree.group("", **{"cpuset_cpus.effective": "0", "memory_max": str(GIB)})
    assert tree.limits() == NONE


def test_a_docker_that_cannot_be_seen_says_nothing(tree: Tree) -> None:
    version_2(tree)
    assert tree.limits(None) == NONE
    assert tree.limits(8) == NONE


def test_who_listens_on_a_socket_is_known(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()
        assert peer_of(path) == os.getpid()
    assert peer_of(path) is None
    assert peer_of(str(tmp_path / "none")) is None


def test_this_machine() -> None:
    found = shared_limits(os.getpid())
    assert found.cpus is None or found.cpus >= os.sched_getaffinity(0)
    assert found.memory_bytes is None or found.memory_bytes > 0
