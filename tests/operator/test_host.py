"""One Host is approved, and accounted; test_liveness.py has whether it lives."""

from typing import Any

import pytest

from support.host_desk import NOW, HostDesk
from support.ledgers import hold
from weir_crds.kinds import HOST
from weir_kube.store import Key, Object
from weir_operator import metrics
from weir_operator.host.decide import STATES, Verdict, decide, state_of

KEY = Key("", "n1")
EMPTY = {"cpus": 0, "memory": "0", "gpus": [], "tasks": 0, "vpses": 0}


class TestApproval:
    async def test_it_is_given_where_the_cluster_says_so(self) -> None:
        desk = HostDesk()
        desk.put()
        await desk.look_until_quiet()
        assert desk.host()["spec"]["approval"] == "Approved"
        assert desk.said("Approved") == ("True", "Approved")
        assert desk.said("Ready") == ("True", "x")
        await desk.look_until_quiet()
        assert len(desk.api.writes) == 2

    async def test_it_is_awaited_otherwise(self) -> None:
        desk = HostDesk(approve=False)
        desk.put()
        await desk.look_until_quiet()
        assert desk.host()["spec"]["approval"] == "Pending"
        assert desk.said("Approved") == ("False", "Pending")

    async def test_a_refusal_stands(self) -> None:
        desk = HostDesk()
        desk.put(approval="Rejected")
        await desk.look_until_quiet()
        assert desk.host()["spec"]["approval"] == "Rejected"
        assert desk.said("Approved") == ("False", "Rejected")

    async def test_a_host_that_was_written_meanwhile_is_looked_at_again(self) -> None:
        desk = HostDesk()
        desk.put()
        desk.api.change_status(HOST, KEY, orphans=["uid"])
        assert await desk.look() == 0
        await desk.look_until_quiet()
        assert desk.said("Approved") == ("True", "Approved")
        assert desk.host()["status"]["orphans"] == ["uid"]

    async def test_a_host_that_is_gone_is_let_go(self) -> None:
        desk = HostDesk()
        desk.put()
        desk.api.remove(HOST, KEY)
        await desk.look_until_quiet()
        assert len(desk.hosts) == 0


class TestAllocated:
    async def test_it_is_told_at_most_every_ten_seconds(self) -> None:
        desk = HostDesk()
        desk.put(approval="Approved")
        await desk.look()
        assert desk.host()["status"]["allocated"] == EMPTY
        hold(desk.scheduler.ledger, "a", "n1", 0, 1, numa_node=0, memory_bytes=2**30, gpus=(0,))
        assert await desk.look(3) == 7
        hold(desk.scheduler.ledger, "b", "n1", shared_millis=500)
        assert await desk.look(7) == pytest.approx(30)
        assert desk.host()["status"]["allocated"] == {
            "cpus": 2,
            "memory": "1Gi",
            "gpus": [0],
            "tasks": 2,
            "vpses": 0,
        }
        writes = len(desk.api.writes)
        await desk.look(100)
        assert len(desk.api.writes) == writes + 1  # Ready, by then


@pytest.mark.parametrize(
    ("spec", "ready", "word"),
    [
        ({"approval": "Pending"}, "True", "unapproved"),
        ({"approval": "Approved"}, "Unknown", "not_ready"),
        ({"approval": "Approved", "unschedulable": True}, "True", "cordoned"),
        ({"approval": "Approved"}, "True", "ready"),
    ],
)
def test_state_of(spec: Object, ready: str, word: str) -> None:
    status = {"conditions": [{"type": "Ready", "status": ready}]}
    assert state_of({"spec": spec, "status": status}) == word


async def test_the_metrics_count_the_hosts_that_there_are() -> None:
    """At the moment of the scrape, whatever was reconciled since."""
    desk = HostDesk(approve=False)
    for name, more in {
        "a": {"approval": "Approved"},
        "b": {"approval": "Approved"},
        "c": {"approval": "Approved", "unschedulable": True},
        "d": {"approval": "Approved", "ready": "False"},
        "e": {},
    }.items():
        desk.put(name, **more)

    def counted() -> dict[str, float]:
        (family,) = metrics.HOSTS.collect()
        return {sample.labels["state"]: sample.value for sample in family.samples}

    assert counted() == {"ready": 2, "cordoned": 1, "not_ready": 1, "unapproved": 1}
    desk.put("a", ready="Unknown", approval="Approved")
    desk.hosts.apply("DELETED", desk.host("e"))
    assert counted() == {"ready": 1, "cordoned": 1, "not_ready": 2, "unapproved": 0}
    assert set(counted()) == set(STATES)


def quiet_host(**status: Any) -> Object:
    return {
        "metadata": {"name": "n1", "generation": 3},
        "spec": {"approval": "Approved"},
        "status": {
            "allocated": EMPTY,
            "conditions": [
                {"type": "Approved", "status": "True", "reason": "Approved"},
                {"type": "Ready", "status": "True", "reason": "DaemonReady"},
            ],
            **status,
        },
    }


def test_a_quiet_host_needs_nothing() -> None:
    verdict = decide(
        quiet_host(),
        approve_pending=True,
        expires_in_seconds=35,
        allocated=EMPTY,
        allocated_age_seconds=None,
        now=NOW,
    )
    assert not verdict.changes
    assert not verdict.approve
    assert verdict.look_again_seconds == 35


def judged(
    allocated: dict[str, Any], age: float | None, *, expires: float = 35, **status: Any
) -> Verdict:
    return decide(
        quiet_host(**status),
        approve_pending=True,
        expires_in_seconds=expires,
        allocated=allocated,
        allocated_age_seconds=age,
        now=NOW,
    )


USED = {**EMPTY, "cpus": 2, "tasks": 1}


@pytest.mark.parametrize(
    ("age", "expires", "written", "again"),
    [
        pytest.param(None, 35, True, 35, id="never written by this process: at once"),
        pytest.param(10, 35, True, 35, id="written ten seconds ago: now"),
        pytest.param(9.5, 35, False, 0.5, id="written just before: later"),
        pytest.param(2, 35, False, 8, id="the next write comes before its Lease expires"),
        pytest.param(2, 3, False, 3, id="its Lease expires before the next write"),
        pytest.param(2, 0, True, None, id="another write is due anyway: with it"),
    ],
)
def test_when_what_is_allocated_is_written(
    age: float | None, expires: float, written: bool, again: float | None
) -> None:
    verdict = judged(USED, age, expires=expires)
    assert ("allocated" in verdict.changes) == written
    assert verdict.look_again_seconds == again


def test_a_host_that_is_unknown_is_looked_at_again_for_its_account_alone() -> None:
    unknown = [
        {"type": "Approved", "status": "True", "reason": "Approved"},
        {"type": "Ready", "status": "Unknown", "reason": "LeaseExpired"},
    ]
    assert judged(EMPTY, None, expires=-5, conditions=unknown) == Verdict()
    assert judged(USED, 4, expires=-5, conditions=unknown).look_again_seconds == 6


def test_a_host_that_is_kept_free_says_so_for_as_long_as_it_is() -> None:
    def decided(host: Object, kept_free_for: str | None) -> Verdict:
        return decide(
            host,
            approve_pending=True,
            expires_in_seconds=10,
            allocated=EMPTY,
            allocated_age_seconds=0,
            kept_free_for=kept_free_for,
            now=NOW,
        )

    host = quiet_host()
    before = host["status"]["conditions"]
    changes = decided(host, "ns/large").changes
    assert [
        (c["type"], c["status"], c["message"]) for c in changes["conditions"][len(before) :]
    ] == [("KeptFree", "True", "ns/large")]
    host["status"] |= changes
    assert decided(host, "ns/large").changes == {}
    assert decided(host, None).changes["conditions"] == before
