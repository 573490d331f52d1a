"""Which hosts live: heard, silent or lost, by what this process saw."""

import pytest

from support.host_desk import HostDesk
from weir_crds.host import LEASE_SECONDS
from weir_crds.kinds import HOST
from weir_kube.errors import ApiUnavailableError
from weir_kube.kinds import LEASE
from weir_kube.store import Key
from weir_operator.host.liveness import HOLD_SECONDS

UNKNOWN = ("Unknown", "LeaseExpired")
ALIVE = ("True", "x")


async def listening(desk: HostDesk, *names: str) -> None:
    """Let these hosts be known, approved and heard."""
    for name in names:
        desk.put(name, approval="Approved")
        desk.renew(name)
        await desk.look_until_quiet(name)


class TestSilence:
    async def test_forty_seconds_of_it_make_a_host_unknown(self) -> None:
        desk = HostDesk()
        await listening(desk, "n1")
        assert await desk.look(39) == 1
        assert desk.said("Ready") == ALIVE
        assert await desk.look(1) is None
        assert desk.said("Ready") == UNKNOWN
        facts = desk.scheduler.ledger.hosts["n1"].facts
        assert facts is not None
        assert facts.obstacles == ("not ready",)
        writes = len(desk.api.writes)
        await desk.look(1000)
        assert len(desk.api.writes) == writes

    async def test_a_renewal_counts_from_when_we_saw_it(self) -> None:
        desk = HostDesk()
        await listening(desk, "n1")
        await desk.look(30)
        desk.renew()
        assert await desk.look(30) == 10
        assert desk.said("Ready") == ALIVE

    async def test_a_lease_seen_twice_is_not_newer(self) -> None:
        desk = HostDesk()
        await listening(desk, "n1")
        desk.pass_time(30)
        desk.reconciler.observe_lease(Key("weir-system", "n1"))
        assert await desk.look() == 10

    async def test_a_lease_that_is_deleted_is_not_renewed(self) -> None:
        desk = HostDesk()
        await listening(desk, "n1")
        desk.pass_time(30)
        desk.api.remove(LEASE, Key("weir-system", "n1"))
        await desk.look(10)
        assert desk.said("Ready") == UNKNOWN

    async def test_a_host_that_never_had_a_lease_has_as_long(self) -> None:
        desk = HostDesk()
        desk.put(approval="Approved")
        await desk.look()
        await desk.look(39)
        assert desk.said("Ready") == ALIVE
        await desk.look(1)
        assert desk.said("Ready") == UNKNOWN

    async def test_an_unready_host_becomes_unknown_too(self) -> None:
        desk = HostDesk()
        await listening(desk, "n1")
        desk.put(ready="False", approval="Approved")
        await desk.look(40)
        assert desk.said("Ready") == UNKNOWN

    async def test_what_the_daemon_says_again_stands(self) -> None:
        """Even if its Lease is yet to come by our watch."""
        desk = HostDesk()
        await listening(desk, "n1")
        await desk.look(40)
        desk.put(approval="Approved")
        assert await desk.look() == 40
        assert desk.said("Ready") == ALIVE

    async def test_what_was_not_heard_while_nobody_could_be_does_not_count(self) -> None:
        """After an outage each daemon has the time to renew: as long as its Lease lasts."""
        desk = HostDesk()
        await listening(desk, "n1", "n2")
        desk.leases.is_open = desk.api.available = False
        desk.pass_time(45)
        for name in ("n1", "n2"):
            with pytest.raises(ApiUnavailableError):
                await desk.look(name=name)
        desk.pass_time(0.1)
        desk.leases.is_open = desk.api.available = True
        assert (await desk.look(name="n1")) == (await desk.look(name="n2")) == 10
        desk.pass_time(1)
        desk.renew("n1")
        await desk.look(39, name="n2")
        assert desk.lost() == ["n2"]

    async def test_a_watch_that_stands_still_costs_no_living_host(self) -> None:
        desk = HostDesk()
        await listening(desk, "n1")
        desk.leases.is_open = False
        for _ in range(20):
            desk.renew()
            await desk.look(10)
        assert desk.said("Ready") == ALIVE

    async def test_a_dead_host_is_found_though_the_watch_stands_still(self) -> None:
        """Its Lease is read until it was seen unchanged for as long as it lasts."""
        desk = HostDesk()
        await listening(desk, "n1")
        desk.leases.is_open = False
        desk.pass_time(40)
        for _ in range(4):
            assert await desk.look() == 10
            desk.pass_time(10)
        await desk.look()
        assert desk.said("Ready") == UNKNOWN

    async def test_no_read_while_the_host_is_heard(self) -> None:
        desk = HostDesk()
        await listening(desk, "n1")
        desk.api.forbidden.add(("Lease", "weir-system"))
        for _ in range(10):
            desk.renew()
            await desk.look(10)

    async def test_few_that_fall_silent_together_are_lost(self) -> None:
        desk = HostDesk()
        names = ["n1", "n2", "n3", "n4"]
        await listening(desk, *names)
        desk.pass_time(40)
        desk.renew("n3")
        desk.renew("n4")
        for name in names:
            await desk.look(name=name)
        assert desk.lost() == ["n1", "n2"]

    async def test_most_of_them_are_given_more_time(self) -> None:
        """More likely than three dead machines is a dead switch between them and the API server."""
        desk = HostDesk()
        names = ["n1", "n2", "n3", "n4"]
        await listening(desk, *names)
        desk.pass_time(40)
        desk.renew("n4")
        for name in names[:3]:
            assert await desk.look(name=name) == 10
        assert desk.lost() == []
        desk.renew("n1")
        desk.renew("n2")
        await desk.look(name="n3")
        assert desk.lost() == ["n3"]

    async def test_but_not_for_ever(self) -> None:
        desk = HostDesk()
        names = ["n1", "n2", "n3"]
        await listening(desk, *names)
        desk.pass_time(HOLD_SECONDS - 1)
        for name in names:
            assert await desk.look(name=name) == pytest.approx(1)
        desk.pass_time(1)
        for name in names:
            await desk.look(name=name)
        assert desk.lost() == names

    async def test_external_hosts_have_nothing_to_do_with_it(self) -> None:
        """All of them are silent when the facade is away, which speaks for them."""
        desk = HostDesk()
        await listening(desk, "n1")
        for name in ("e1", "e2", "e3"):
            desk.put(name, approval="Approved", external=True)
            await desk.look(name=name)
        desk.pass_time(40)
        await desk.look(name="n1")
        await desk.look(name="e1")
        assert desk.lost() == ["n1"]


class TestLost:
    """Since when a host is lost: from then on its Tasks' grace counts."""

    @staticmethod
    def desk(ready: str | None = "Unknown") -> HostDesk:
        desk = HostDesk()
        desk.put(ready=ready, approval="Approved")
        return desk

    @pytest.mark.parametrize("ready", ["True", "False"])
    def test_a_host_that_says_something_is_not_lost(self, ready: str) -> None:
        assert self.desk(ready).liveness.lost_seconds("n1") is None

    def test_it_counts_from_when_we_saw_it(self) -> None:
        desk = self.desk()
        assert desk.liveness.observe_host("n1")
        assert not desk.liveness.observe_host("n1")
        desk.pass_time(7)
        assert desk.liveness.lost_seconds("n1") == 7

    def test_a_new_process_counts_anew_whatever_the_one_before_wrote(self) -> None:
        """Its clock may have been wrong, and the daemon's fence needs the grace to be real."""
        desk = self.desk()
        desk.api.change_status(
            HOST,
            Key("", "n1"),
            conditions=[
                {"type": "Ready", "status": "Unknown", "reason": "LeaseExpired",
                 "lastTransitionTime": "2001-01-01T00:00:00Z"}
            ],
        )  # fmt: skip
        desk.sync()
        assert desk.liveness.lost_seconds("n1") == 0

    def test_one_that_is_back_begins_anew(self) -> None:
        desk = self.desk()
        desk.liveness.observe_host("n1")
        desk.put(ready="True")
        assert desk.liveness.observe_host("n1")
        desk.pass_time(100)
        desk.put(ready="Unknown")
        assert desk.liveness.lost_seconds("n1") == 0

    @pytest.mark.parametrize("there", [True, False])
    def test_without_a_word_of_its_own_its_lease_is_waited_for(self, there: bool) -> None:
        desk = self.desk(None) if there else HostDesk()
        assert desk.liveness.lost_seconds("n1") == -LEASE_SECONDS
        desk.pass_time(LEASE_SECONDS + 3)
        assert desk.liveness.lost_seconds("n1") == 3

    def test_a_renewed_lease_begins_the_count_anew(self) -> None:
        desk = self.desk()
        desk.liveness.observe_lease("n1", "5")
        desk.liveness.observe_host("n1")
        desk.pass_time(30)
        desk.liveness.observe_lease("n1", "5")
        assert desk.liveness.lost_seconds("n1") == 30
        desk.liveness.observe_lease("n1", "6")
        assert desk.liveness.lost_seconds("n1") == -LEASE_SECONDS

    def test_a_lease_met_for_the_first_time_is_no_renewal(self) -> None:
        """It may be as old as the host's silence: a new operator reads them one by one."""
        desk = self.desk()
        desk.liveness.observe_host("n1")
        desk.pass_time(30)
        desk.liveness.observe_lease("n1", "5")
        assert desk.liveness.lost_seconds("n1") == 30

    async def test_what_is_bound_there_is_looked_at_once(self) -> None:
        desk = HostDesk()
        await listening(desk, "n1", "n2")
        desk.bind("here", "n1")
        desk.bind("there", "n2")
        desk.renew("n2")
        await desk.look(40)
        desk.renew("n2")
        await desk.look(40)
        assert desk.requeued == ["here"]
        desk.put(approval="Approved")
        await desk.look()
        await desk.look()
        assert desk.requeued == ["here", "here"]


class TestForgetting:
    """A fleet whose hosts come and go under new names for years."""

    async def leave(self, desk: HostDesk, name: str) -> float | None:
        gone = desk.host(name)
        desk.api.remove(HOST, Key("", name))
        desk.hosts.apply("DELETED", gone)
        return await desk.look(name=name)

    async def drop_lease(self, desk: HostDesk, name: str) -> None:
        key = Key("weir-system", name)
        lease = desk.leases.store.get(key)
        assert lease is not None
        desk.leases.store.apply("DELETED", lease)
        desk.reconciler.observe_lease(key)

    @pytest.mark.parametrize("lease_goes_first", [True, False])
    async def test_a_host_that_is_gone_is_forgotten(self, lease_goes_first: bool) -> None:
        desk = HostDesk()
        for name in ("n1", "n2", "n3"):
            await listening(desk, name)
            if lease_goes_first:
                await self.drop_lease(desk, name)
            assert await self.leave(desk, name) is None
            if not lease_goes_first:
                desk.renew(name)  # its daemon goes on for a while
                await self.drop_lease(desk, name)
        assert len(desk.liveness) == 0

    async def test_not_before_all_that_was_bound_there_is_gone_too(self) -> None:
        desk = HostDesk()
        await listening(desk, "n1")
        desk.bind("here", "n1")
        assert await self.leave(desk, "n1") is not None
        assert await desk.look(100) is not None
        assert desk.liveness.lost_seconds("n1") == 100 - LEASE_SECONDS
        bound = desk.tasks.get(Key("ns", "here"))
        assert bound is not None
        desk.tasks.apply("DELETED", bound)
        assert await desk.look() is None
        assert len(desk.liveness) == 0
