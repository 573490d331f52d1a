"""Many daemons asked at once: one that fails costs its own row, and nothing takes for ever."""

import threading
import time
from typing import Any

import pytest

from weir_cli.figures import Answers, Silence
from weir_cli.kubectl import KubectlError
from weir_cli.stats import read_stats
from weir_crds.daemon_endpoint import NotContactedError
from weir_kube.errors import DaemonBrokeOffError, DaemonRefusedError, DaemonUnavailableError
from weir_kube.store import Object

READY = {"type": "Ready", "status": "True", "reason": "DaemonReady"}
MEMORY = {"totalBytes": 2, "availableBytes": 1}
STATS: dict[str, Any] = {
    "host": {"cpus": 1, "cpuPercent": 0.0, "load": [0.0], "memory": MEMORY},
    "tasks": [],
}


def host(name: str, ready: bool = True) -> Object:
    return {"metadata": {"name": name}, "status": {"conditions": [READY] if ready else []}}


class Fleet:
    """Daemons that do as the test says, by host; the others answer."""

    def __init__(self, **behaviours: Any) -> None:
        self.behaviours = behaviours
        self.asked: list[str] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.stuck = threading.Event()

    def connect(self, host: Object) -> "Fleet.Daemon":
        name = host["metadata"]["name"]
        behaviour = self.behaviours.get(name)
        if isinstance(behaviour, Exception):
            raise behaviour
        return Fleet.Daemon(self, name)

    class Daemon:
        def __init__(self, fleet: "Fleet", name: str) -> None:
            self.fleet, self.name = fleet, name

        def get_json(self, path: str, seconds: float) -> Any:
            fleet = self.fleet
            with fleet.lock:
                fleet.asked.append(self.name)
                fleet.at_once += 1
                fleet.most_at_once = max(fleet.most_at_once, fleet.at_once)
            time.sleep(0.001)
            behaviour = fleet.behaviours.get(self.name)
            if behaviour == "stuck":
                fleet.stuck.wait(60)
            with fleet.lock:
                fleet.at_once -= 1
            return behaviour() if callable(behaviour) else STATS


def read(fleet: Fleet, *hosts: Object, all_seconds: float = 60.0) -> dict[str, Answers | Silence]:
    return read_stats(
        hosts, fleet.connect, answer_seconds=15.0, all_seconds=all_seconds, apart_seconds=0.01
    )


def test_a_thousand_hosts_are_asked_twice_each_a_few_at_once() -> None:
    two = threading.Barrier(2)

    def beside_another() -> dict[str, Any]:
        two.wait(60)
        return STATS

    fleet = Fleet(n0=beside_another, n1=beside_another)
    seen = read(fleet, *(host(f"n{number}") for number in range(1000)))
    assert len(seen) == 1000
    assert all(isinstance(found, Answers) for found in seen.values())
    assert len(fleet.asked) == 2000
    assert fleet.most_at_once <= 32


@pytest.mark.parametrize(
    ("failure", "why"),
    [
        (KubectlError("Unable to connect\nto it"), "Unable to connect"),
        (NotContactedError("host bad is not approved"), "host bad is not approved"),
        (DaemonUnavailableError("cannot reach it"), "cannot reach it"),
        (DaemonBrokeOffError("host bad broke off"), "host bad broke off"),
        (DaemonRefusedError("bad", "NotReady", "soon", 503), "host bad refused (NotReady): soon"),
        (ValueError("no hex"), "host bad states an endpoint that cannot be read"),
        (lambda: {"host": {}}, "host bad answered with what cannot be read"),
        (lambda: [], "host bad answered with what cannot be read"),
    ],
)
def test_a_host_that_fails_costs_its_own_row(failure: Any, why: str) -> None:
    seen = read(Fleet(bad=failure), host("bad"), host("good"))
    assert isinstance(seen["good"], Answers)
    found = seen["bad"]
    assert isinstance(found, Silence)
    assert found.why == why


def test_a_host_that_must_not_be_asked_has_not_failed() -> None:
    seen = read(Fleet(new=NotContactedError("not approved"), bad=KubectlError("no")),
                host("new"), host("bad"))  # fmt: skip
    assert {name: found.failed for name, found in seen.items() if isinstance(found, Silence)} == {
        "new": False,
        "bad": True,
    }


def test_who_may_not_have_a_token_for_one_host_may_have_none_and_is_told_once() -> None:
    forbidden = KubectlError('serviceaccounts "r" is forbidden: no')
    fleet = Fleet(**{f"n{number}": forbidden for number in range(200)})
    with pytest.raises(KubectlError) as error:
        read(fleet, *(host(f"n{number}") for number in range(200)))
    assert error.value is forbidden


def test_daemons_that_are_stuck_do_not_hold_up_the_command_for_ever() -> None:
    fleet = Fleet(**{f"bad{number}": "stuck" for number in range(40)})
    hosts = [host(f"bad{number}", ready=False) for number in range(40)]
    try:
        seen = read(fleet, *hosts, host("good"), all_seconds=5.0)
    finally:
        fleet.stuck.set()
    assert isinstance(seen["good"], Answers)  # whoever is ready is asked first
    late = [found for name, found in seen.items() if name.startswith("bad")]
    assert len(late) == 40
    assert {found.why for found in late if isinstance(found, Silence)} == {
        "no answer within the 5 s that all hosts have together"
    }


def test_no_hosts() -> None:
    assert read(Fleet()) == {}
