"""Every gauge of the daemon is what the host has, at the moment of the scrape."""

from collections import Counter
from collections.abc import Callable

from prometheus_client import REGISTRY

from support.aio import until
from support.daemon_rig import HOST_NAME, Rig
from weir_crds.kinds import HOST, TASK
from weir_kube.store import Key
from weir_nodedaemon.engines.port import InstanceState

# Held to what they tell by tests of their own.
ELSEWHERE = {
    "weir_daemon_gpu_memory_bytes": "machine/test_gpu_watch.py",
    "weir_daemon_gpu_memory_used_bytes": "machine/test_gpu_watch.py",
    "weir_daemon_gpu_power_watts": "machine/test_gpu_watch.py",
    "weir_daemon_gpu_temperature_celsius": "machine/test_gpu_watch.py",
    "weir_daemon_gpu_utilisation_ratio": "machine/test_gpu_watch.py",
    "weir_daemon_gpus": "machine/test_gpu_watch.py",
    "weir_daemon_layers_over_limit": "instances/test_layers.py",
    "weir_daemon_http_streams": "server/test_log_route.py",
    "weir_daemon_logs_followed": "logs/test_collector.py",
}
FREE = 12 * 2**30
Gauges = dict[tuple[str, str], float]


def scraped() -> Gauges:
    """Return the samples of all gauges, by name and label."""
    found: Gauges = {}
    for family in REGISTRY.collect():
        if family.type == "gauge" and family.name.startswith(("weir_daemon_", "weir_reflector_")):
            found |= {(one.name, "".join(one.labels.values())): one.value for one in family.samples}
    return found


def told(rig: Rig) -> Gauges:
    """Return what the gauges have to be, by the engine and the objects of the API server."""
    states = Counter(each.seen.state for each in rig.world.containers.values())
    bound = [
        each for each in rig.api.objects(TASK).values() if each["status"]["nodeName"] == HOST_NAME
    ]
    return {
        ("weir_daemon_engine_ready", ""): rig.world.available,
        ("weir_daemon_disk_free_bytes", "state"): FREE,
        ("weir_reflector_objects", TASK.kind): len(bound),
        ("weir_reflector_objects", HOST.kind): rig.host() is not None,
        **{("weir_daemon_containers", state): states[state] for state in InstanceState},
    }


async def agree(rig: Rig) -> None:
    """Wait until the gauges are what they have to be."""

    def differing() -> dict[tuple[str, str], tuple[float | None, float]]:
        seen, wanted = scraped(), told(rig)
        return {one: (seen.get(one), wanted[one]) for one in wanted if seen.get(one) != wanted[one]}

    try:
        await until(lambda: not differing(), "they agree")
    except AssertionError:
        assert differing() == {}
        raise


async def test_each_gauge_is_what_there_is_after_each_change(rig: Rig) -> None:
    daemon = rig.start()
    daemon._disk._free = lambda path: FREE  # type: ignore[method-assign]
    await agree(rig)
    names = {name for name, _ in told(rig)} | ELSEWHERE.keys()
    assert {name for name, _ in scraped()} <= names  # a new gauge needs a line above

    runs = rig.bind("runs", command=["sleep", "600"])
    other = rig.bind("other", command=["sleep", "600"])

    def remove_behind_its_back() -> None:
        rig.world.containers.pop(rig.name(runs))

    def go_away() -> None:
        rig.world.available = False

    def come_back() -> None:
        rig.world.available = True

    steps: list[tuple[Callable[[], object], Callable[[], object]]] = [
        (
            lambda: None,
            lambda: rig.container(runs) is rig.container(other) is InstanceState.RUNNING,
        ),
        (
            lambda: rig.want(other, desiredState="Paused"),
            lambda: rig.container(other) is InstanceState.PAUSED,
        ),
        (go_away, lambda: True),
        (come_back, lambda: True),
        (remove_behind_its_back, lambda: "finishedAt" in rig.status(runs)),
        (lambda: rig.api.remove(TASK, other), lambda: not rig.world.containers),
        (lambda: rig.api.remove(TASK, runs), lambda: True),
        (lambda: rig.api.remove(HOST, Key("", HOST_NAME)), lambda: rig.host() is not None),
    ]
    for change, done in steps:
        change()
        await until(done)
        await agree(rig)
