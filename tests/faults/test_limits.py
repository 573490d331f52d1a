"""Too much of everything: the daemon stays small, and says what is the matter."""

import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.extra_host import ExtraHost
from support.faulty_system import FaultySystem
from support.polling import eventually
from support.tasks import condition, task

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

QUICK = 500
MOST_RSS_MIB = 150.0
_MIB = 2**20


@contextmanager
def small_disk(folder: Path, size_mib: int) -> Iterator[Path]:
    """Mount a disk of that size at a folder."""
    folder.mkdir()
    size = f"size={size_mib}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "weir-test", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _fill(path: Path) -> None:
    try:
        with path.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 65536)
    except OSError:
        return


def test_a_full_disk_loses_output_and_no_verdict(
    system: FaultySystem, own_docker: str, faulty_namespace: str, tmp_path: Path
) -> None:
    """The Host says so and gets no new work; what runs ends as it should; then all is well."""
    gate = _made(tmp_path / "gate")
    with (
        small_disk(tmp_path / "disk", 8) as disk,
        ExtraHost(
            system, "full", disk, system.docker.url, "--min-free-disk=4Mi", "--log-limit=1Mi"
        ) as host,
    ):
        here = {"placement": {"hostName": host.name}, "resources": {"cpu": 0}}
        mounts = [{"hostPath": str(gate), "mountPath": "/gate"}]
        opens = "while [ ! -e /gate/open ]; do sleep 0.2; done"
        command = ["sh", "-c", f"{opens}; yes 0123456789 | head -c 300000; exit 3"]
        system.create(task("runs", faulty_namespace, command=command, mounts=mounts, **here))
        system.wait_condition(faulty_namespace, "runs", "Started", "True")
        _fill(disk / "filler")
        system.loop.call(system.docker.cut)  # who loses Docker looks at everything
        eventually(lambda: host.told("DiskPressure") == "True", "the Host says so")
        (gate / "open").touch()
        system.create(task("waits", faulty_namespace, command=["echo", "out"], **here))

        ran = system.wait_finished(faulty_namespace, "runs")
        waiting = system.wait_condition(faulty_namespace, "waits", "Scheduled", "False")

        assert condition(ran, "Succeeded")["reason"] == "NonZeroExit"
        assert ran["status"]["exitCode"] == 3
        assert ran["status"]["logs"]["truncated"] is True
        assert host.metric('weir_daemon_logs_lost_total{reason="DiskFull"}') == 1
        assert host.metric('weir_daemon_disk_free_bytes{disk="state"}') < 4 * _MIB
        assert "disk full" in waiting["message"]

        (disk / "filler").unlink()
        system.loop.call(system.docker.cut)
        eventually(lambda: host.told("DiskPressure") == "False", "the Host has room again")
        waited = system.wait_finished(faulty_namespace, "waits")
        assert condition(waited, "Succeeded")["reason"] == "Completed"
        assert waited["status"]["logs"] == {
            "stdoutBytes": 4,
            "stderrBytes": 0,
            "truncated": False,
        }


def test_a_flood_of_output_keeps_the_newest_and_costs_no_memory(
    system: FaultySystem, own_docker: str, faulty_namespace: str, tmp_path: Path
) -> None:
    """200 MB in one go: the status says that not all is kept, the archive keeps its limit."""
    line = "0123456789abcdef" * 60
    printed = 200_000_000
    with ExtraHost(system, "flooded", _made(tmp_path / "state"), own_docker) as host:
        with _most(host) as most:
            script = f"yes {line} | head -c {printed}; echo; echo last"
            here = {"placement": {"hostName": host.name}, "resources": {"cpu": 0}}
            system.create(task("flood", faulty_namespace, command=["sh", "-c", script], **here))
            seen = system.wait_finished(faulty_namespace, "flood", 300)

        assert condition(seen, "Succeeded")["reason"] == "Completed"
        logs = seen["status"]["logs"]
        assert logs["truncated"] is True
        assert 32 * _MIB <= logs["stdoutBytes"] <= printed + 6
        kept = sum(path.stat().st_size for path in (host.folder / "logs").rglob("*.frames"))
        assert 32 * _MIB <= kept <= 1.3 * 32 * _MIB
        newest = system.kubectl_weir("logs", "-n", faulty_namespace, "--tail", "1", "flood")
        assert newest == b"last\n"
        assert host.metric("weir_daemon_logs_truncated_total") == 1
        assert most["rss"] < MOST_RSS_MIB, most


def test_five_hundred_quick_starts_and_stops(
    system: FaultySystem, own_docker: str, faulty_namespace: str, tmp_path: Path
) -> None:
    """Nothing grows with the number of Tasks that were, and nothing stays when they are deleted."""
    folder = _made(tmp_path / "state")
    with ExtraHost(system, "quick", folder, own_docker, "--engine=fake") as host:
        before = (host.rss_mib(), host.threads(), host.files())
        with _most(host) as most, ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: _quick(system, faulty_namespace, number), range(QUICK)))
            eventually(
                lambda: _ends(system, faulty_namespace).total() == QUICK, timeout=400, every=1
            )
        assert _ends(system, faulty_namespace) == {"Completed": QUICK // 2, "Killed": QUICK // 2}
        ended = {
            reason: host.metric(f'weir_daemon_runs_ended_total{{reason="{reason}"}}')
            for reason in ("Completed", "Killed")
        }
        unbound = sum("nodeName" not in one["status"] for one in system.list(faulty_namespace))
        assert ended["Completed"] == QUICK // 2
        assert ended["Killed"] == QUICK // 2 - unbound  # those were the operator's to end

        path = f"/apis/weir.dev/v1alpha1/namespaces/{faulty_namespace}/tasks"
        system.cluster.admin.request("DELETE", path, timeout_seconds=60)
        eventually(lambda: not list((folder / "runs").iterdir()), "no note is left", 60)
        eventually(lambda: not list((folder / "logs").glob("[!.]*")), "no log is left")
        after = (host.rss_mib(), host.threads(), host.files())

    assert most["rss"] < MOST_RSS_MIB, (before, most, after)
    assert most["threads"] <= 64, (before, most, after)
    assert most["files"] <= 128, (before, most, after)
    assert after[0] - before[0] < 40, (before, most, after)


def _quick(system: FaultySystem, namespace: str, number: int) -> None:
    killed = number % 2 == 1
    system.create(
        task(
            f"quick-{number}",
            namespace,
            command=["sleep", "600"] if killed else ["true"],
            placement={"hostName": "quick"},
            resources={"cpu": 0},
        )
    )
    if killed:
        system.patch_spec(namespace, f"quick-{number}", desiredState="Killed")


def _ends(system: FaultySystem, namespace: str) -> Counter[str]:
    return Counter(
        condition(one, "Succeeded")["reason"]
        for one in system.list(namespace)
        if "finishedAt" in one.get("status", {})
    )


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@contextmanager
def _most(host: ExtraHost) -> Iterator[dict[str, Any]]:
    """Return the most that a daemon takes meanwhile."""
    most: dict[str, Any] = {"rss": 0.0, "threads": 0, "files": 0}
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            most["rss"] = max(most["rss"], host.rss_mib())
            most["threads"] = max(most["threads"], host.threads())
            most["files"] = max(most["files"], host.files())
            time.sleep(0.1)

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield most
    finally:
        over.set()
        looking.join()
