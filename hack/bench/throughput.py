"""How long many Tasks take that are there at once, against raw Docker with four threads."""

import asyncio
import time
from statistics import median

import docker

from bench import raw_docker
from bench.polling import until_no_container
from bench.report import Figure, Report, Table
from bench.sizes import Size
from bench.system import OPERATOR, System
from bench.tasks import Followed, create_all, followed, make_namespace, task
from bench.usage import cpu_seconds, own_cpu_seconds, peak_rss_mib
from devcluster.console import say
from weir_kube.api import Api
from weir_kube.connect import connect

_NAMESPACE = "throughput"
_RAW_THREADS = 4
_DEADLINE_SECONDS = 600.0


async def run(system: System, size: Size) -> Report:
    """Run rounds of raw containers and of Tasks in turns; both count until all is removed."""
    (host,) = system.host_names(1)
    client = system.docker_client()
    system.start_operator()
    system.start_docker_daemon(host)
    daemon = system.pid_of_daemon(host)
    rows: list[tuple[int, float, float, float]] = []
    raw_cpu: list[float] = []
    daemon_cpu: list[float] = []
    async with await connect(str(system.cluster.admin_kubeconfig)) as api:
        await make_namespace(api, _NAMESPACE)
        async with followed(api, _NAMESPACE) as tasks:
            await _run_tasks(api, tasks, client, host, ["warm-up"])
            body = raw_docker.body_of(tasks.last["warm-up"], system.raw_host, _pool(client))
            for number in range(size.batch_rounds):
                raw = 0.0
                names = [f"round-{number}-{index}" for index in range(size.batch)]
                turns = ["weir", "raw"] if number % 2 else ["raw", "weir"]
                for turn in turns:
                    if turn == "raw":
                        before = own_cpu_seconds()
                        raw = await asyncio.to_thread(
                            raw_docker.run_many, client, body, size.batch, _RAW_THREADS
                        )
                        raw_cpu.append(1000 * (own_cpu_seconds() - before) / size.batch)
                    else:
                        before = cpu_seconds(daemon)
                        told, removed = await _run_tasks(api, tasks, client, host, names)
                        daemon_cpu.append(1000 * (cpu_seconds(daemon) - before) / size.batch)
                rows.append((number + 1, raw, told, removed))
                say(f"round {number + 1}: raw {raw:.1f} s, Tasks {removed:.1f} s")
    client.close()
    ratio = median(raw / removed for _, raw, _, removed in rows)
    return Report(
        "throughput",
        size.name,
        figures=[
            Figure(
                f"{size.batch} at once, to raw Docker with {_RAW_THREADS} threads",
                ratio,
                "x",
                at_least=0.95,
            ),
            Figure("the same, until the last end is told", median(r[1] / r[2] for r in rows), "x"),
            Figure("Tasks", size.batch / median(row[3] for row in rows), "1/s"),
            Figure("raw containers", size.batch / median(row[1] for row in rows), "1/s"),
            Figure("CPU time of the daemon for a Task", median(daemon_cpu), "ms"),
            Figure("CPU time of the SDK for a raw container", median(raw_cpu), "ms"),
            Figure("daemon's memory", peak_rss_mib(daemon), "MiB", at_most=150),
            Figure(
                "operator's memory", peak_rss_mib(system.process(OPERATOR).pid), "MiB", at_most=150
            ),
        ],
        tables=[
            Table(
                f"seconds for {size.batch}",
                ("ROUND", "RAW", "TASKS TOLD", "TASKS REMOVED"),
                list(rows),
            )
        ],
    )


async def _run_tasks(
    api: Api, tasks: Followed, client: docker.APIClient, host: str, names: list[str]
) -> tuple[float, float]:
    """Return the seconds until the last end is told, and until the last container is gone."""
    began = time.perf_counter()
    await create_all(api, _NAMESPACE, [task(name, ["true"], cpu=0) for name in names])
    await tasks.wait_finished(names, _DEADLINE_SECONDS)
    told = time.perf_counter() - began
    await until_no_container(client, host)
    failed = [name for name in names if tasks.last[name]["status"].get("exitCode") != 0]
    if failed:
        raise RuntimeError(f"did not succeed: {tasks.last[failed[0]]['status']}")
    return told, time.perf_counter() - began


def _pool(client: docker.APIClient) -> tuple[int, ...]:
    return tuple(range(client.info()["NCPU"]))
