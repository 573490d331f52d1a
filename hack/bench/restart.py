"""What an operator needs that starts where there are many Tasks: time, writes, memory."""

import asyncio
import time
from collections import Counter

from bench.finished import make_finished
from bench.polling import until
from bench.report import Figure, Report, Table
from bench.sizes import Size
from bench.system import OPERATOR, System
from bench.tasks import Object, create_all, make_namespace, task
from bench.usage import cpu_seconds, peak_rss_mib, rss_mib
from devcluster.cluster import READ_VERBS
from devcluster.console import say
from devcluster.rest import RestError
from weir_crds.kinds import TASK
from weir_kube.api import Api
from weir_kube.connect import connect

_FINISHED, _WAITING = "finished", "waiting"
_CORES = 4
_LOOK_SECONDS = 0.05


async def run(system: System, size: Size) -> Report:
    """Fill the API server, let all be told, kill the operator, and start it again."""
    (host,) = system.host_names(1)
    async with await connect(str(system.cluster.admin_kubeconfig)) as api:
        await make_namespace(api, _FINISHED)
        done = [task(f"done-{n}", ["true"], cpu=1, memory="64Mi") for n in range(size.finished)]
        await make_finished(api, _FINISHED, done)
        say(f"made {size.finished} finished Tasks")
        system.start_operator()
        system.start_fake_daemons([host], _CORES)
        await make_namespace(api, _WAITING)
        holders = [task(f"holder-{n}", ["sleep", "30d"], cpu=1) for n in range(_CORES)]
        await create_all(api, _WAITING, holders)
        await until(lambda: _told(api, "Started", "True", _CORES), 1.0)
        waiting = [task(f"waits-{n}", ["true"], cpu=1) for n in range(size.waiting)]
        await create_all(api, _WAITING, waiting)
        await until(lambda: _told(api, "Scheduled", "False", size.waiting), 1.0)
        say(f"{size.waiting} Tasks wait, and say why")
        await until(lambda: _is_quiet(system, size.quiet_seconds), 0.0)

        operator = system.process(OPERATOR)
        operator.kill()
        before = system.cluster.requests()
        began = time.monotonic()
        operator.start()
        await until(lambda: _leads(system), _LOOK_SECONDS)
        ready = time.monotonic() - began
        await until(lambda: _has_looked(system), _LOOK_SECONDS)
        looked = time.monotonic() - began
        looked_cpu = cpu_seconds(operator.pid)
        await asyncio.sleep(size.watch_seconds)
        made = system.cluster.requests() - before
    writes = Counter({key: n for key, n in made.items() if key[2] not in READ_VERBS})
    objects = f"{size.finished} finished and {size.waiting} waiting Tasks"
    return Report(
        "restart",
        size.name,
        figures=[
            Figure(f"ready with {objects}", ready, "s", at_most=15),
            Figure("every Task looked at", looked, "s"),
            Figure("CPU time until then", looked_cpu, "s"),
            Figure(
                f"writes until {size.watch_seconds:.0f} s later, life signs left out",
                sum(n for (_, resource, _), n in writes.items() if resource != "leases"),
                at_most=0,
            ),
            Figure("operator's memory", rss_mib(operator.pid), "MiB", at_most=250),
            Figure("operator's memory at its peak", peak_rss_mib(operator.pid), "MiB"),
        ],
        tables=[
            Table(
                "requests by all, since the start",
                ("REQUEST", "COUNT"),
                [
                    (f"{verb} {resource}", count)
                    for (_, resource, verb), count in made.most_common()
                    if verb != "WATCH"
                ],
            )
        ],
    )


async def _told(api: Api, type: str, status: str, count: int) -> bool:
    """Tell whether so many waiting Tasks, or holders, have that condition."""
    tasks = (await api.list(TASK, _WAITING)).items
    return count == sum(_has(obj, type, status) for obj in tasks)


def _has(obj: Object, type: str, status: str) -> bool:
    told = obj.get("status", {}).get("conditions", [])
    return any(one["type"] == type and one["status"] == status for one in told)


async def _is_quiet(system: System, seconds: float) -> bool:
    """Tell whether nothing is written for so long."""
    before = system.cluster.writes(TASK.group)
    await asyncio.sleep(seconds)
    return system.cluster.writes(TASK.group) == before


async def _leads(system: System) -> bool:
    """Tell whether the operator decides; one that waits for the Lease is ready, too."""
    try:
        leader = system.metrics(OPERATOR)["weir_operator_leader"]
    except RestError:
        return False
    return leader == 1 and system.is_ready(OPERATOR)


async def _has_looked(system: System) -> bool:
    return system.metrics(OPERATOR)['weir_queue_depth{queue="tasks"}'] == 0
