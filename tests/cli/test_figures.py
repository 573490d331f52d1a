import math
from typing import Any

import pytest

from weir_cli.figures import (
    Answers,
    Silence,
    Used,
    by_use,
    gpu_figures,
    gpu_json,
    gpus_table,
    host_figures,
    host_json,
    hosts_table,
    is_readable,
    task_figures,
    task_json,
    tasks_table,
)

MEMORY = {"totalBytes": 64 * 2**30, "availableBytes": 48 * 2**30}


def row(name: str, run: int = 1, **figures: Any) -> dict[str, Any]:
    return {"namespace": "default", "name": name, "uid": f"uid-{name}", "run": run, **figures}


def looked(cpu: float, at: float, **more: Any) -> dict[str, Any]:
    return {"cpuSeconds": cpu, "sampledSeconds": at, "memoryBytes": 2**30, "pids": 3, **more}


def stats(*tasks: dict[str, Any]) -> dict[str, Any]:
    host = {"cpus": 16, "cpuPercent": 25.0, "load": [4.126, 3.0, 2.0], "memory": MEMORY}
    return {"host": host, "tasks": list(tasks)}


def task(name: str, host: str = "n1", run: int = 1, **resources: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "default", "name": name, "uid": f"uid-{name}"},
        "spec": {"resources": resources},
        "status": {"nodeName": host, "runID": run},
    }


def used_by(first: dict[str, Any], second: dict[str, Any]) -> Used:
    (figures,) = task_figures([task("a")], {"n1": Answers(stats(first), stats(second))})
    return figures.used


def test_cores_used_are_cpu_time_over_time() -> None:
    used = used_by(row("a", **looked(10.0, 100.0)), row("a", **looked(16.3, 102.1)))
    assert used == Used(cpu_cores=pytest.approx(3.0), memory_bytes=2**30, pids=3)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (row("b", **looked(1, 100)), row("a", **looked(2, 102))),  # started in between
        (row("a", run=2, **looked(1, 100)), row("a", **looked(2, 102))),  # another run
        (row("a", **looked(1, 100)), row("a", **looked(1, 100))),  # one and the same look
        (row("a"), row("a", **looked(2, 102))),  # the engine did not tell
    ],
)
def test_cores_that_were_not_seen_twice_are_not_made_up(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    assert used_by(first, second) == Used(None, 2**30, 3)


def test_nothing_is_known_of_what_the_host_does_not_tell() -> None:
    assert used_by(row("b", **looked(1, 100)), row("b", **looked(2, 102))) == Used()
    (figures,) = task_figures([task("a")], {"n1": Silence("gone")})
    assert figures.used == Used()
    (figures,) = task_figures([task("a")], {})
    assert figures.used == Used()


def test_the_tables() -> None:
    seen = {
        "n1": Answers(
            stats(row("own", **looked(10, 100)), row("small", **looked(0, 100))),
            stats(
                row("own", **looked(17, 102)),
                row("small", **looked(0.5, 102, memoryBytes=300 * 2**20, pids=1)),
            ),
        ),
        "n2": Silence("cannot reach it"),
    }
    hosts = [host_figures(name, answers) for name, answers in seen.items()]
    assert hosts_table(hosts).splitlines() == [
        "HOST   CPU         MEMORY      LOAD        PIDS        TASKS       ERROR",
        "n1     4.00/16     16Gi/64Gi   4.13        4           2           <none>",
        "n2     <unknown>   <unknown>   <unknown>   <unknown>   <unknown>   cannot reach it",
    ]
    assert hosts_table(hosts[:1]).splitlines() == [
        "HOST   CPU       MEMORY      LOAD   PIDS   TASKS",
        "n1     4.00/16   16Gi/64Gi   4.13   4      2",
    ]
    tasks = [
        task("own", cpu=4, memory="8Gi"),
        task("small", cpu="500m"),
        task("away", "n2", memory="1Gi"),
    ]
    figures = task_figures(tasks, seen)
    assert tasks_table(by_use(figures, "name")).splitlines() == [
        "NAMESPACE   TASK    HOST   CPU           MEMORY          PIDS",
        "default     away    n2     <unknown>/1   <unknown>/1Gi   <unknown>",
        "default     own     n1     3.50/4        1Gi/8Gi         3",
        "default     small   n1     0.25/500m     300Mi           1",
    ]


def test_gpus_have_a_table_of_their_own() -> None:
    busy = {
        "index": 1,
        "uuid": "GPU-1",
        "name": "NVIDIA H200",
        "memory": {"totalBytes": 140 * 2**30, "usedBytes": 3 * 2**30},
        "utilisationPercent": 97,
        "temperatureCelsius": 61,
    }
    silent = {"index": 0, "uuid": "GPU-0", "name": "GPU", "memory": {"totalBytes": 2**30}}
    seen = {"n1": Answers(stats(), stats() | {"gpus": [busy, silent]}), "n2": Silence("gone")}
    rows = gpu_figures(seen)
    assert gpus_table(rows).splitlines() == [
        "HOST   GPU   LOAD        MEMORY          TEMP        NAME",
        "n1     0     <unknown>   <unknown>/1Gi   <unknown>   GPU",
        "n1     1     97%         3Gi/140Gi       61C         NVIDIA H200",
    ]
    assert gpu_json(rows[0])["memoryBytes"] is None
    assert gpu_json(rows[1])["memoryBytes"] == 3 * 2**30


def test_the_greatest_come_first_and_the_unknown_last() -> None:
    seen = {
        "n1": Answers(
            stats(row("a", **looked(0, 100)), row("b", **looked(0, 100))),
            stats(
                row("a", **looked(0, 102, memoryBytes=5, pids=1)),
                row("b", **looked(1, 102, memoryBytes=1, pids=2)),
            ),
        )
    }
    rows = task_figures([task("c", "n2"), task("b"), task("a")], seen)
    order = {by: "".join(row.name for row in by_use(rows, by)) for by in ("name", "cpu", "memory")}
    assert order == {"name": "abc", "cpu": "bac", "memory": "abc"}
    assert [row.name for row in by_use(rows, "pids")] == ["b", "a", "c"]


def test_json_says_null_for_what_is_not_known() -> None:
    (figures,) = task_figures([task("a", memory="1Gi")], {"n1": Silence("gone")})
    assert task_json(figures) == {
        "namespace": "default",
        "name": "a",
        "uid": "uid-a",
        "run": 1,
        "host": "n1",
        "cpuCores": None,
        "memoryBytes": None,
        "pids": None,
        "asked": {"cpuMillis": 1000, "memoryBytes": 2**30},
    }
    assert host_json(host_figures("n1", Silence("gone"))) == {"name": "n1", "error": "gone"}


HOST_STATS: dict[str, Any] = {
    "cpuPercent": 50.0,
    "cpus": 4,
    "load": [1.0, 1.0, 1.0],
    "memory": {"totalBytes": 100, "availableBytes": 40},
}
GPU_STATS = {"index": 0, "uuid": "u", "name": "g", "memory": {"totalBytes": 5}}
TASK_STATS = {"uid": "u", "run": 1, "cpuSeconds": 1.0, "sampledSeconds": 1.0}


@pytest.mark.parametrize(
    ("answer", "readable"),
    [
        ({"host": HOST_STATS, "tasks": [TASK_STATS]}, True),
        ({"host": HOST_STATS, "tasks": [], "gpus": [{"index": 0}]}, False),
        ({"host": HOST_STATS}, False),
        ({"host": HOST_STATS, "tasks": ["x"]}, False),
        ({"host": HOST_STATS, "tasks": [{}]}, False),
        ({"host": {}, "tasks": []}, False),
        ({"host": {**HOST_STATS, "load": []}, "tasks": []}, False),
        ({"host": {**HOST_STATS, "cpus": "4"}, "tasks": []}, False),
        ({"host": {**HOST_STATS, "load": ["1"]}, "tasks": []}, False),
        ({"host": {**HOST_STATS, "cpuPercent": math.nan}, "tasks": []}, False),
        ({"host": {**HOST_STATS, "cpus": True}, "tasks": []}, False),
        ({"host": {**HOST_STATS, "cpus": 10**400}, "tasks": []}, False),
        ({"host": HOST_STATS, "tasks": [TASK_STATS | {"memoryBytes": "5"}]}, False),
        ({"host": HOST_STATS, "tasks": [TASK_STATS | {"pids": []}]}, False),
        ({"host": HOST_STATS, "tasks": [TASK_STATS | {"pids": math.inf}]}, False),
        ({"host": HOST_STATS, "tasks": [], "gpus": [GPU_STATS]}, True),
        (
            {
                "host": HOST_STATS,
                "tasks": [],
                "gpus": [GPU_STATS | {"memory": {"totalBytes": "5"}}],
            },
            False,
        ),
        (
            {"host": HOST_STATS, "tasks": [], "gpus": [GPU_STATS | {"utilisationPercent": "5"}]},
            False,
        ),
        ({"host": HOST_STATS, "tasks": [], "gpus": [GPU_STATS | {"name": 5}]}, False),
        ([], False),
        ("", False),
        (None, False),
    ],
)
def test_a_daemon_that_answers_anything_else_is_told_apart(answer: Any, readable: bool) -> None:
    assert is_readable("n1", Answers(answer, answer)) is readable
