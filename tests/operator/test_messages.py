"""What people read about placing."""

import pytest

from support.ledgers import cpu, facts, hold, ledger_of
from weir_crds.capacity import Gpu
from weir_crds.conditions import Reason
from weir_crds.demand import Request
from weir_crds.facts import HostFacts
from weir_operator.scheduling.explainer import Explainer
from weir_operator.scheduling.messages import WaitReport, bound_message, ranges
from weir_operator.scheduling.place import Placement


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([], ""), ([3], "3"), ([2, 3, 4, 5], "2-5"), ([8, 2, 3], "2-3,8"), ([0, 2, 4], "0,2,4")],
)
def test_ranges(numbers: list[int], text: str) -> None:
    assert ranges(numbers) == text


@pytest.mark.parametrize(
    ("placement", "message"),
    [
        (Placement("n1", (2, 3, 4, 5), 0, nodes=(0,)), "n1, cores 2-5 (NUMA 0)"),
        (Placement("n1", (7,), 1, nodes=(1,)), "n1, core 7 (NUMA 1)"),
        (Placement("n1", (0, 1, 4), None, nodes=(0, 1)), "n1, cores 0-1,4 (NUMA 0-1)"),
        (Placement("n1"), "n1, shared cores"),
        (Placement("n1", (2,), 0, (Gpu(0, "GPU-a"),), (0,)), "n1, core 2 (NUMA 0), gpu 0"),
    ],
)
def test_bound(placement: Placement, message: str) -> None:
    assert bound_message(placement) == message


def waiting(request: Request, *hosts: HostFacts, full: tuple[str, ...] = ()) -> WaitReport:
    ledger = ledger_of(*hosts)
    for number, name in enumerate(full):
        hold(ledger, f"t{number}", name, *range(8))
    return Explainer(ledger).compute(request)


def test_hosts_are_counted_by_reason_most_first() -> None:
    said = waiting(
        cpu(2), facts("n1"), facts("n2"), facts("n3", unavailable="cordoned"), full=("n1", "n2")
    )
    assert said == WaitReport(
        Reason.INSUFFICIENT_CAPACITY, "0/3 hosts: 2 lack cpu (n1, n2), 1 cordoned (n3)"
    )


def test_five_are_named() -> None:
    said = waiting(cpu(99), *(facts(f"n{number}") for number in range(7)))
    assert said == WaitReport(
        Reason.UNSCHEDULABLE, "0/7 hosts: 7 too few cores (n0, n1, n2, n3, n4, …)"
    )


@pytest.mark.parametrize(
    ("request_", "hosts", "full", "reason"),
    [
        pytest.param(cpu(1), [], (), Reason.NO_HOSTS, id="none"),
        pytest.param(
            cpu(1), [facts("n1", unavailable="not ready")], (), Reason.NO_HOSTS, id="none ready"
        ),
        pytest.param(
            cpu(9),
            [facts("n1"), facts("n2", cores=8, unavailable="not ready")],
            (),
            Reason.NO_HOSTS,
            id="the only one that is large enough is not ready",
        ),
        pytest.param(cpu(9), [facts("n1")], (), Reason.UNSCHEDULABLE, id="too large for any"),
        pytest.param(
            cpu(1, host_name="n9"), [facts("n1")], (), Reason.UNSCHEDULABLE, id="no such host"
        ),
        pytest.param(
            cpu(1, host_name="n1"),
            [facts("n1"), facts("n2")],
            ("n1",),
            Reason.INSUFFICIENT_CAPACITY,
            id="the one asked for is full",
        ),
    ],
)
def test_reason(
    request_: Request, hosts: list[HostFacts], full: tuple[str, ...], reason: Reason
) -> None:
    assert waiting(request_, *hosts, full=full).reason == reason


def test_a_host_that_is_not_there_is_named() -> None:
    assert waiting(cpu(1, host_name="n9"), facts("n1")).message == ("there is no Host n9")
