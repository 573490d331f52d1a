"""Capacity, read from made-up machines and from this one."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from weir_crds.host import Capacity as CapacityModel
from weir_nodedaemon.machine.capacity import CapacityWatch, MachineCapacity, Share, capacity
from weir_nodedaemon.machine.cgroup import CgroupLimits
from weir_nodedaemon.machine.cores import CapacityUnknownError
from weir_nodedaemon.machine.numa import NumaNode

GIB = 2**30
KIB = 2**10


class Machine:
    """Builds the parts of sysfs and procfs that tell a machine's capacity."""

    def __init__(self, root: Path, *, online: str, memory_bytes: int) -> None:
        self.sysfs, self.procfs = root / "sys", root / "proc"
        self._write(self.sysfs / "devices/system/cpu/online", f"{online}\n")
        self._write(
            self.procfs / "meminfo",
            f"MemTotal:       {memory_bytes // KIB} kB\nMemFree:        1 kB\n",
        )

    def with_nodes(self, *nodes: NumaNode) -> "Machine":
        folder = self.sysfs / "devices/system/node"
        self._write(folder / "online", ",".join(str(node.id) for node in nodes) + "\n")
        for node in nodes:
            own = folder / f"node{node.id}"
            self._write(own / "cpulist", ",".join(map(str, node.cpus)) + "\n")
            self._write(
                own / "meminfo",
                f"Node {node.id} MemTotal:       {node.memory_bytes // KIB} kB\n"
                f"Node {node.id} MemFree:        1 kB\n",
            )
            if node.distances:
                self._write(own / "distance", " ".join(map(str, node.distances)) + "\n")
        return self

    def with_threads(self, *groups: Sequence[int]) -> "Machine":
        """Let the cores of each group be threads of one physical core."""
        for group in groups:
            for cpu in group:
                path = f"devices/system/cpu/cpu{cpu}/topology/core_cpus_list"
                self._write(self.sysfs / path, ",".join(map(str, group)) + "\n")
        return self

    def with_file(self, path: str, text: str) -> "Machine":
        self._write(self.sysfs / path, f"{text}\n")
        return self

    def capacity(
        self,
        limit_cpus: Sequence[int] | None = None,
        limit_memory: int | None = None,
        *,
        smt: bool = True,
        **limits: Any,
    ) -> MachineCapacity:
        share = Share(limit_cpus, limit_memory, smt=smt)
        return capacity(self.sysfs, self.procfs, share, **limits)

    @staticmethod
    def _write(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_one_node(tmp_path: Path) -> None:
    node = NumaNode(0, (0, 1, 2, 3), 8 * GIB, (10,))
    machine = Machine(tmp_path, online="0-3", memory_bytes=8 * GIB).with_nodes(node)
    assert machine.capacity() == MachineCapacity((0, 1, 2, 3), 8 * GIB, (node,))


def test_two_nodes_with_hardware_threads_of_one_core_far_apart_in_number(tmp_path: Path) -> None:
    nodes = (
        NumaNode(0, (0, 1, 4, 5), 32 * GIB, (10, 21)),
        NumaNode(1, (2, 3, 6, 7), 32 * GIB, (21, 10)),
    )
    machine = Machine(tmp_path, online="0-7", memory_bytes=64 * GIB).with_nodes(*nodes)
    assert machine.capacity() == MachineCapacity(tuple(range(8)), 64 * GIB, nodes)


def test_four_nodes_with_their_distances_and_numbers_that_are_not_in_a_row(tmp_path: Path) -> None:
    nodes = (
        NumaNode(0, (0, 1), 16 * GIB, (10, 12, 32, 32)),
        NumaNode(1, (2, 3), 16 * GIB, (12, 10, 32, 32)),
        NumaNode(8, (4, 5), 16 * GIB, (32, 32, 10, 12)),
        NumaNode(9, (6, 7), 16 * GIB, (32, 32, 12, 10)),
    )
    machine = Machine(tmp_path, online="0-7", memory_bytes=64 * GIB).with_nodes(*nodes)
    assert machine.capacity().numa == nodes


def test_a_node_without_memory_and_one_without_cores_are_nodes(tmp_path: Path) -> None:
    nodes = (
        NumaNode(0, (0, 1), 16 * GIB, (10, 20, 20)),
        NumaNode(1, (2, 3), 0, (20, 10, 20)),
        NumaNode(2, (), 48 * GIB, (20, 20, 10)),
    )
    machine = Machine(tmp_path, online="0-3", memory_bytes=64 * GIB).with_nodes(*nodes)
    assert machine.capacity().numa == nodes
    assert machine.capacity().memory_nodes == {0, 2}


def test_cores_that_are_offline_do_not_count(tmp_path: Path) -> None:
    nodes = (NumaNode(0, (0, 1), 8 * GIB, (10, 20)), NumaNode(1, (2, 3), 8 * GIB, (20, 10)))
    machine = Machine(tmp_path, online="0,2", memory_bytes=16 * GIB).with_nodes(*nodes)
    found = machine.capacity()
    assert found.cpus == (0, 2)
    assert [node.cpus for node in found.numa] == [(0,), (2,)]


def test_a_kernel_without_numa_is_one_node(tmp_path: Path) -> None:
    machine = Machine(tmp_path, online="0-1", memory_bytes=4 * GIB)
    assert machine.capacity().numa == (NumaNode(0, (0, 1), 4 * GIB, (10,)),)


def test_distances_that_the_firmware_does_not_tell_are_the_kernels_own(tmp_path: Path) -> None:
    nodes = (NumaNode(0, (0,), GIB, ()), NumaNode(1, (1,), GIB, ()))
    machine = Machine(tmp_path, online="0-1", memory_bytes=2 * GIB).with_nodes(*nodes)
    assert [node.distances for node in machine.capacity().numa] == [(10, 20), (20, 10)]


def test_a_limit_leaves_cores_and_memory_to_others(tmp_path: Path) -> None:
    nodes = (
        NumaNode(0, (0, 1), 48 * GIB, (10, 20)),
        NumaNode(1, (2, 3), 16 * GIB, (20, 10)),
    )
    machine = Machine(tmp_path, online="0-3", memory_bytes=64 * GIB).with_nodes(*nodes)
    found = machine.capacity(limit_cpus=[1, 2, 7], limit_memory=8 * GIB)
    assert found == MachineCapacity(
        (1, 2),
        8 * GIB,
        (NumaNode(0, (1,), 6 * GIB, (10, 20)), NumaNode(1, (2,), 2 * GIB, (20, 10))),
    )


def test_a_limit_above_what_the_machine_has_is_no_promise(tmp_path: Path) -> None:
    machine = Machine(tmp_path, online="0", memory_bytes=GIB)
    assert machine.capacity(limit_memory=8 * GIB).memory_bytes == GIB


def test_a_nodes_own_figure_does_not_hide_memory_that_was_added_later(tmp_path: Path) -> None:
    node = NumaNode(0, (0,), 8 * GIB, (10,))
    machine = Machine(tmp_path, online="0", memory_bytes=24 * GIB).with_nodes(node)
    assert machine.capacity().numa[0].memory_bytes == 24 * GIB


def test_a_limit_to_cores_that_are_not_there_is_an_error(tmp_path: Path) -> None:
    machine = Machine(tmp_path, online="0-1", memory_bytes=GIB)
    with pytest.raises(CapacityUnknownError, match="none of the cores"):
        machine.capacity(limit_cpus=[8])


@pytest.mark.parametrize("missing", ["sys/devices/system/cpu/online", "proc/meminfo"])
def test_a_machine_that_does_not_tell_is_an_error(tmp_path: Path, missing: str) -> None:
    machine = Machine(tmp_path, online="0-1", memory_bytes=GIB)
    (tmp_path / missing).unlink()
    with pytest.raises(CapacityUnknownError, match="cannot tell"):
        machine.capacity()


def test_the_status_has_the_shape_of_the_resource(tmp_path: Path) -> None:
    nodes = (NumaNode(0, (0, 1), 8 * GIB, (10, 21)), NumaNode(1, (2, 3), 8 * GIB, (21, 10)))
    machine = Machine(tmp_path, online="0-3", memory_bytes=16 * GIB).with_nodes(*nodes)
    assert machine.capacity().as_status() == {
        "cpus": 4,
        "memory": "16Gi",
        "numa": [
            {"id": 0, "cpus": [0, 1], "memory": "8Gi", "distances": [10, 21]},
            {"id": 1, "cpus": [2, 3], "memory": "8Gi", "distances": [21, 10]},
        ],
    }


def test_threads_of_one_physical_core_are_told(tmp_path: Path) -> None:
    machine = Machine(tmp_path, online="0-3", memory_bytes=GIB).with_threads((0, 2), (1, 3))
    found = machine.capacity()
    assert found.cpus == (0, 1, 2, 3)
    assert found.thread_siblings == ((0, 2), (1, 3))
    assert found.as_status()["threadSiblings"] == [[0, 2], [1, 3]]
    CapacityModel.model_validate(found.as_status())


def test_a_thread_whose_sibling_is_not_ours_or_offline_has_none(tmp_path: Path) -> None:
    machine = Machine(tmp_path, online="0-2", memory_bytes=GIB).with_threads((0, 2), (1, 3))
    assert machine.capacity().thread_siblings == ((0, 2),)
    assert machine.capacity([0, 1]).thread_siblings == ()


def test_cores_that_are_no_threads_of_each_other_are_not_told_apart(tmp_path: Path) -> None:
    machine = Machine(tmp_path, online="0-1", memory_bytes=GIB).with_threads((0,), (1,))
    assert "threadSiblings" not in machine.capacity().as_status()


def test_without_smt_one_thread_of_each_physical_core_is_for_work(tmp_path: Path) -> None:
    node = NumaNode(0, (0, 1, 2, 3), 8 * GIB, (10,))
    machine = Machine(tmp_path, online="0-3", memory_bytes=8 * GIB).with_nodes(node)
    found = machine.with_threads((0, 2), (1, 3)).capacity(smt=False)
    assert found.cpus == found.numa[0].cpus == (0, 1)
    assert found.thread_siblings == ()
    assert machine.capacity([2, 3], smt=False).cpus == (2, 3)  # each the only one that is ours


@pytest.mark.parametrize(
    "files",
    [
        {"devices/cpu_core/cpus": "0-1", "devices/cpu_atom/cpus": "2-3"},
        {f"devices/system/cpu/cpu{n}/cpu_capacity": str(1024 - 600 * (n > 1)) for n in range(4)},
    ],
    ids=["Intel tells two makes", "device trees tell strengths"],
)
def test_slower_cores_are_told(tmp_path: Path, files: dict[str, str]) -> None:
    machine = Machine(tmp_path, online="0-3", memory_bytes=GIB)
    for path, text in files.items():
        machine.with_file(path, text)
    found = machine.capacity()
    assert found.efficiency_cpus == (2, 3)
    assert found.as_status()["efficiencyCpus"] == [2, 3]
    assert machine.capacity([0, 1]).efficiency_cpus == ()
    CapacityModel.model_validate(found.as_status())


def test_isolated_cores_are_left_alone_unless_they_are_asked_for(tmp_path: Path) -> None:
    machine = Machine(tmp_path, online="0-3", memory_bytes=GIB)
    machine.with_file("devices/system/cpu/isolated", "2-3")
    assert machine.capacity().cpus == (0, 1)
    assert machine.capacity([1, 2]).cpus == (1, 2)


def test_what_the_cgroup_and_the_engine_have_not_is_not_for_work(tmp_path: Path) -> None:
    node = NumaNode(0, (0, 1, 2, 3), 8 * GIB, (10,))
    machine = Machine(tmp_path, online="0-3", memory_bytes=8 * GIB).with_nodes(node)
    limits = CgroupLimits(frozenset({1, 2, 3}), 2 * GIB)
    found = machine.capacity(cgroup=limits, engine_cpus=(0, 1, 2))
    assert found.cpus == found.numa[0].cpus == (1, 2)
    assert found.memory_bytes == found.numa[0].memory_bytes == 2 * GIB
    with pytest.raises(CapacityUnknownError, match="engine has none"):
        machine.capacity(engine_cpus=(7,))
    with pytest.raises(CapacityUnknownError, match="cgroup has none"):
        machine.capacity([0], cgroup=limits)


def test_a_core_that_goes_offline_is_seen_and_one_that_comes_back(tmp_path: Path) -> None:
    machine = Machine(tmp_path, online="0-1", memory_bytes=GIB)
    watch = CapacityWatch(lambda engine: machine.capacity(engine_cpus=engine))
    assert not watch.look((0, 1))
    machine.with_file("devices/system/cpu/online", "0")
    assert watch.look((0, 1))
    assert watch.current.cpus == (0,)
    machine.with_file("devices/system/cpu/online", "0-1")
    assert watch.look((0, 1))
    assert watch.current.cpus == (0, 1)


def test_a_machine_that_does_not_tell_for_a_while_has_what_it_had(tmp_path: Path) -> None:
    machine = Machine(tmp_path, online="0-1", memory_bytes=GIB)
    watch = CapacityWatch(lambda engine: machine.capacity(engine_cpus=engine))
    assert not watch.look((7,))
    (tmp_path / "sys/devices/system/cpu/online").unlink()
    assert not watch.look(None)
    assert watch.current.cpus == (0, 1)


def test_this_machine() -> None:
    found = capacity()
    assert set(found.cpus) >= os.sched_getaffinity(0)
    assert found.memory_bytes > 0
    assert sorted(cpu for node in found.numa for cpu in node.cpus) == list(found.cpus)
    assert sum(node.memory_bytes for node in found.numa) <= found.memory_bytes
    assert all(len(node.distances) == len(found.numa) for node in found.numa)
    CapacityModel.model_validate(found.as_status())
