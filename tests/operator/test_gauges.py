"""Every gauge of the operator is what the objects say, at the moment of the scrape."""

from collections.abc import Callable
from typing import Any

from prometheus_client import REGISTRY

from support.aio import until
from support.operator_rig import NAMESPACE, OperatorApi, OperatorRig, running
from support.scheduling_rig import SchedulingRig
from weir_crds.kinds import HOST, TASK
from weir_kube.errors import ForbiddenError
from weir_kube.kinds import LEASE
from weir_kube.store import Key, Object

PREFIXES = ("weir_operator_", "weir_queue_", "weir_reflector_")
ELSEWHERE = {"weir_operator_leader"}  # of the process: tests/operator/test_leading.py
Gauges = dict[tuple[str, str], float]


def scraped() -> Gauges:
    """Return every gauge's samples by name and label; of kinds and queues those of an operator."""
    found: Gauges = {}
    for family in REGISTRY.collect():
        if family.type == "gauge" and family.name.startswith(PREFIXES):
            found |= {(one.name, "".join(one.labels.values())): one.value for one in family.samples}
    return found


def waits(task: Object) -> bool:
    spec, status = task["spec"], task.get("status") or {}
    return (
        "nodeName" not in status
        and "finishedAt" not in status
        and not spec.get("suspend")
        and spec.get("approval", "Approved") == "Approved"
        and spec.get("desiredState", "Running") != "Killed"
    )


def state_of(host: Object) -> str:
    conditions = host.get("status", {}).get("conditions", [])
    ready = [one["status"] for one in conditions if one["type"] == "Ready"] == ["True"]
    if host["spec"].get("approval") != "Approved":
        return "unapproved"
    if not ready:
        return "not_ready"
    return "cordoned" if host["spec"].get("unschedulable") else "ready"


def told(api: OperatorApi) -> Gauges:
    """Return what the gauges have to be, by the objects of the API server."""
    tasks, hosts = api.objects(TASK).values(), api.objects(HOST).values()
    states = [state_of(host) for host in hosts]
    return {
        ("weir_operator_pending_tasks", ""): sum(waits(task) for task in tasks),
        ("weir_operator_binds_in_flight", ""): api.patches_under_way,
        **{
            ("weir_operator_hosts", state): states.count(state)
            for state in ("ready", "cordoned", "not_ready", "unapproved")
        },
        **{
            ("weir_reflector_objects", kind.kind): len(api.objects(kind))
            for kind in (HOST, TASK, LEASE)
        },
        ("weir_queue_depth", "tasks"): 0,
        ("weir_queue_depth", "hosts"): 0,
    }


async def agree(rig: OperatorRig) -> None:
    """Wait until the gauges are what the objects say."""

    def differing() -> dict[tuple[str, str], tuple[float | None, float]]:
        seen = scraped()
        wanted = told(rig.api)
        return {one: (seen.get(one), wanted[one]) for one in wanted if seen.get(one) != wanted[one]}

    await rig.settle()
    try:
        await until(lambda: not differing(), "they agree")
    except AssertionError:
        assert differing() == {}
        raise


async def test_each_gauge_is_what_the_objects_say_after_each_change() -> None:
    api = OperatorApi()
    async with running(api) as rig:
        names = {name for name, _ in told(api)} | ELSEWHERE
        assert {name for name, _ in scraped()} == names  # a new gauge needs a line above

        def host(name: str, **spec: Any) -> None:
            api.change_spec(HOST, Key("", name), **spec)

        def end_all() -> None:
            for key, task in api.objects(TASK).items():
                if task.get("status", {}).get("nodeName"):
                    rig.end(key.name)

        def unready(name: str) -> None:
            lost = {"type": "Ready", "status": "Unknown", "reason": "LeaseExpired", "message": ""}
            api.change_status(HOST, Key("", name), conditions=[lost])

        def refuse_all() -> None:
            api.refuse = lambda kind, _: ForbiddenError("no", status=403) if kind is TASK else None

        def refuse_none() -> None:
            api.refuse = lambda _kind, _key: None

        async def one_more(name: str) -> None:
            await rig.add_host(name, cores=1)

        steps: list[Callable[[], Any]] = [
            lambda: rig.add_task("lonely"),
            lambda: api.remove(TASK, Key(NAMESPACE, "lonely")),  # the last one that waited
            lambda: one_more("n1"),
            lambda: [rig.add_task(f"t{number}") for number in range(4)],
            lambda: rig.change("t3", suspend=True),
            lambda: rig.change("t2", desiredState="Killed"),
            lambda: rig.change("t3", suspend=False),
            lambda: rig.add_task("asks", approval="Pending"),
            lambda: rig.change("asks", approval="Rejected"),
            end_all,
            lambda: one_more("n2"),
            lambda: host("n2", unschedulable=True),
            lambda: host("n2", unschedulable=False),
            end_all,
            refuse_all,
            lambda: rig.add_task("refused"),
            refuse_none,
            lambda: unready("n2"),
            lambda: api.remove(HOST, Key("", "n2")),
            lambda: [api.remove(TASK, key) for key in [*api.objects(TASK)]],
        ]
        for step in steps:
            made = step()
            if hasattr(made, "__await__"):
                await made
            await agree(rig)


async def test_a_bind_in_flight_is_counted_while_it_is_under_way() -> None:
    api = OperatorApi()
    seen: list[Gauges] = []
    api.before_write = lambda kind: seen.append(scraped()) if kind is TASK else None
    async with running(api) as rig:
        await rig.add_host(cores=1)
        rig.add_task("a")
        await rig.bound("a")
        await agree(rig)
    assert seen[0]["weir_operator_binds_in_flight", ""] == 1
    assert seen[0]["weir_operator_pending_tasks", ""] == 1  # its object has no host yet


async def test_a_task_that_asks_for_nonsense_meanwhile_does_not_end_the_scrape() -> None:
    rig = SchedulingRig()
    rig.gate.clear()
    rig.add_host("n1")
    for name in ("a", "b"):
        rig.add_task(name)
    rig.turns(4)
    rig.change("a", resources={"cpu": 1, "memory": "much"})
    assert scraped()["weir_operator_pending_tasks", ""] == 1
    rig.scheduler._binder.close()
