"""Which host is kept free, and for how long: on a ledger by hand, without a clock."""

from typing import Any

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
        for _ in self.drainer.review({LARGE.uid: 0.0}, now):
            pass
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


def test_many_that_wait_are_looked_at_step_by_step() -> None:
    desk = Desk(n1=1)
    desk.queue.remove(LARGE.uid)
    since = {}
    for number in range(5000):
        request = Request(cpu_millis=4000, memory_bytes=number)
        key = WorkloadKey("Task", "ns", f"t{number}")
        desk.queue.add(Pending(f"u-{number}", key, "namespace:ns", 1, f"{number:05}", request))
        desk.queue.refuse(request)
        since[f"u-{number}"] = 0.0
    looked: list[int] = []

    class Since(dict[str, float]):
        def get(self, uid: str, default: Any = None) -> Any:
            looked[-1] += 1
            return super().get(uid, default)

    review = desk.drainer.review(Since(since), 100)
    looked.append(0)
    for _ in review:
        looked.append(0)
    assert sum(looked) >= 5000
    assert max(looked) <= 1000
    assert desk.drainer.drain is not None
    assert desk.drainer.drain.pending.uid == "u-0"


def test_one_that_went_while_others_were_looked_at_is_not_drained_for() -> None:
    desk = Desk(n1=1)
    review = desk.drainer.review({LARGE.uid: 0.0}, 100)
    next(review)
    desk.queue.remove(LARGE.uid)
    assert list(review) == []
    assert desk.drainer.drain is None
    assert desk.drained_at(101) is None
