"""Which host is kept free, and for how long: on a ledger by hand, without a clock."""

from weir_crds.demand import Holding, Request
from weir_crds.facts import HostFacts
from weir_operator.scheduling.drain import Drainer
from weir_operator.scheduling.ledger import Allocation, Ledger
from weir_operator.scheduling.queue import Pending, PendingQueue
from weir_operator.scheduling.workload import WorkloadKey

LARGE = Pending(
    "u-large", WorkloadKey("Task", "ns", "large"), "namespace:ns", 1, "", Request(cpu_millis=4000)
)


class Desk:
    """Hosts of four cores, each of which somebody holds; one that wants a whole host has waited."""

    def __init__(self, **held: int) -> None:
        self.ledger, self.queue = Ledger(), PendingQueue()
        for name, cores in held.items():
            facts = HostFacts(
                name, numa={0: frozenset(range(4))}, ready_engines=frozenset({"docker"})
            )
            self.ledger.set_host(name, facts)
            for core in range(cores):
                holding = Holding(name, (core,))
                self.ledger.hold(f"{name}/{core}", Allocation(holding, "namespace:other", "Task"))
        self.queue.add(LARGE)
        self.queue.refuse(LARGE.request)
        self.drainer = Drainer(self.ledger, self.queue, after_seconds=10)

    def drained_at(self, now: float) -> str | None:
        self.drainer.review({LARGE.uid: 0.0}, now)
        return self.drainer.drain.host if self.drainer.drain else None


def test_the_host_that_lacks_least_is_drained() -> None:
    desk = Desk(n1=3, n2=1, n3=2)
    assert desk.drained_at(9) is None
    assert desk.drained_at(10) == "n2"


def test_one_that_was_not_tried_yet_needs_no_drain() -> None:
    desk = Desk(n1=1)
    desk.queue.remove(LARGE.uid)
    desk.queue.add(LARGE)
    assert desk.drained_at(100) is None


def test_a_host_stays_drained_for_as_long_as_something_ends_there() -> None:
    desk = Desk(n1=3, n2=4)
    assert desk.drained_at(10) == "n1"
    assert desk.drained_at(129) == "n1"
    desk.ledger.release("n1/0")
    assert desk.drained_at(131) == "n1"
    assert desk.drained_at(250) == "n1"
    assert desk.drained_at(251) == "n2"


def test_hosts_on_which_nothing_ends_take_turns_of_growing_length() -> None:
    desk = Desk(n1=1, n2=2)
    turns = [(host, now) for now in range(10, 2000, 10) if (host := desk.drained_at(now))]
    began = [
        now for (host, now), (other, _) in zip(turns[1:], turns, strict=False) if host != other
    ]
    assert began == [130, 370, 850, 1810]
    assert [host for host, now in turns if now in began] == ["n2", "n1", "n2", "n1"]


def test_a_host_that_takes_no_more_work_is_replaced_at_once() -> None:
    desk = Desk(n1=1, n2=2)
    assert desk.drained_at(10) == "n1"
    desk.ledger.set_host("n1", None)
    assert desk.drained_at(11) == "n2"


def test_a_single_host_stays_drained() -> None:
    desk = Desk(n1=1)
    assert {desk.drained_at(now) for now in range(10, 3000, 10)} == {"n1"}
