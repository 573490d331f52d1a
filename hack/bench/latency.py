"""How long one Task takes that does nothing, against the same container by the Docker SDK alone."""

import asyncio
import time
from dataclasses import dataclass
from statistics import median

from bench import raw_docker
from bench.polling import until_no_container
from bench.report import Figure, Report, Table, spread
from bench.sizes import Size
from bench.system import OPERATOR, System
from bench.tasks import Followed, Object, create_all, followed, make_namespace, task
from bench.usage import rss_mib
from weir_crds.times import parse_time
from weir_kube.api import Api
from weir_kube.connect import connect

_NAMESPACE = "latency"
_DEADLINE_SECONDS = 60.0
_STAGES = ("submit→bound", "bound→process started", "process ran", "ended→told", "submit→told")


@dataclass(frozen=True)
class Sample:
    """One Task's life in seconds since it was sent to the API server."""

    bound: float
    started: float
    ended: float
    told: float

    @property
    def stages(self) -> tuple[float, ...]:
        """How long each stage took, and all of it."""
        return (
            self.bound,
            self.started - self.bound,
            self.ended - self.started,
            self.told - self.ended,
            self.told,
        )


async def run(system: System, size: Size) -> Report:
    """Run Tasks and raw containers in turns, and compare the medians."""
    (host,) = system.host_names(1)
    client = system.docker_client()
    system.start_operator()
    system.start_docker_daemon(host)
    weir: list[Sample] = []
    raw: list[raw_docker.RawTimes] = []
    async with await connect(str(system.cluster.admin_kubeconfig)) as api:
        await make_namespace(api, _NAMESPACE)
        async with followed(api, _NAMESPACE) as tasks:
            await _run_task(api, tasks, "warm-up")
            body = raw_docker.body_of(tasks.last["warm-up"], system.raw_host, ())
            await asyncio.to_thread(raw_docker.run_one, client, body)
            for number in range(size.pairs):
                turns = ["weir", "raw"] if number % 2 else ["raw", "weir"]
                for turn in turns:
                    await until_no_container(client, host)
                    if turn == "weir":
                        weir.append(await _run_task(api, tasks, f"task-{number}"))
                    else:
                        raw.append(await asyncio.to_thread(raw_docker.run_one, client, body))
    report = _report(size, weir, raw)
    report.figures += [
        Figure("daemon's memory", rss_mib(system.pid_of_daemon(host)), "MiB", at_most=150),
        Figure("operator's memory", rss_mib(system.process(OPERATOR).pid), "MiB", at_most=150),
    ]
    report.environment["docker"] = client.version()["Version"]
    client.close()
    return report


async def _run_task(api: Api, tasks: Followed, name: str) -> Sample:
    sent = time.time()
    await create_all(api, _NAMESPACE, [task(name, ["true"], cpu=1)])
    await tasks.wait_finished([name], _DEADLINE_SECONDS)
    status = tasks.last[name]["status"]
    if status.get("exitCode") != 0:
        raise RuntimeError(f"{name} did not succeed: {status}")
    return Sample(
        bound=_time(tasks.last[name], "scheduledAt") - sent,
        started=_time(tasks.last[name], "startedAt") - sent,
        ended=_time(tasks.last[name], "finishedAt") - sent,
        told=tasks.finished[name] - sent,
    )


def _time(obj: Object, field: str) -> float:
    return parse_time(obj["status"][field]).timestamp()


def _report(size: Size, weir: list[Sample], raw: list[raw_docker.RawTimes]) -> Report:
    raw_total = median(one.total for one in raw)
    raw_start = median(one.to_start for one in raw)
    told, started = median(one.told for one in weir), median(one.started for one in weir)
    stages = list(zip(_STAGES, zip(*(one.stages for one in weir), strict=True), strict=True))
    calls = [
        (name, [getattr(one, name) for one in raw])
        for name in ("create", "start", "wait", "remove", "total")
    ]
    columns = ("SECONDS", "MEDIAN", "P10", "P90")
    return Report(
        "latency",
        size.name,
        figures=[
            Figure("submit to finished, to raw Docker", told / raw_total, "x", at_most=1.1),
            Figure("submit to process started, to raw create+start", started / raw_start, "x"),
            Figure("submit to finished", told, "s"),
            Figure("raw create+start+wait+remove", raw_total, "s"),
        ],
        tables=[
            Table("Task", columns, [(name, *spread(values)) for name, values in stages]),
            Table("raw Docker", columns, [(name, *spread(values)) for name, values in calls]),
        ],
        samples={
            "weir": [dict(zip(_STAGES, one.stages, strict=True)) for one in weir],
            "raw": [vars(one) for one in raw],
        },
    )
