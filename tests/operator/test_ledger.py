"""Who holds what."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from support.ledgers import GIB, cpu, facts, hold, ledger_of, put, refused
from weir_crds.demand import Request
from weir_crds.fit import lacks
from weir_crds.host_state import HostState
from weir_operator.scheduling.ledger import Allocation, Ledger
from weir_operator.scheduling.place import place


def test_what_is_noted_twice_counts_once() -> None:
    ledger = ledger_of(facts("n1"))
    for _ in range(2):
        hold(ledger, "a", "n1", 0, 1, memory_bytes=GIB)
    state = ledger.hosts["n1"]
    assert (state.cores_free, state.memory_free) == (6, 63 * GIB)


def test_a_core_with_two_holders_is_free_when_both_are_gone() -> None:
    ledger = ledger_of(facts("n1", nodes=1, cores=1))
    hold(ledger, "a", "n1", 0)
    hold(ledger, "b", "n1", 0)
    ledger.release("a")
    assert refused(ledger, cpu(1)) == {"n1": "lack cpu"}
    ledger.release("b")
    assert refused(ledger, cpu(1)) == {}


def test_tasks_on_a_host_that_is_not_known_yet_hold_their_cores() -> None:
    ledger = Ledger()
    hold(ledger, "a", "n1", 0)
    ledger.set_host("n1", facts("n1", nodes=1, cores=2))
    assert put(ledger, "b", cpu(1)).cpus == (1,)


def test_a_host_that_is_gone_keeps_its_tasks() -> None:
    ledger = ledger_of(facts("n1", nodes=1, cores=2))
    hold(ledger, "a", "n1", 0)
    ledger.set_host("n1", None)
    assert ledger.known_hosts() == []
    ledger.set_host("n1", facts("n1", nodes=1, cores=2))
    assert put(ledger, "b", cpu(1)).cpus == (1,)


def test_a_host_that_is_gone_and_empty_is_forgotten() -> None:
    ledger = ledger_of(facts("n1"))
    ledger.set_host("n1", None)
    assert ledger.hosts == {}


def test_a_host_that_shrank_gives_nothing_away() -> None:
    ledger = ledger_of(facts("n1", nodes=1, cores=4))
    hold(ledger, "a", "n1", 2, 3, memory_bytes=60 * GIB)
    ledger.set_host("n1", facts("n1", nodes=1, cores=2, memory_gib=32))
    assert refused(ledger, cpu(1, memory_bytes=GIB)) == {"n1": "lack memory"}
    assert put(ledger, "b", cpu(2)).cpus == (0, 1)


def test_what_one_holds_may_change_on_its_host() -> None:
    ledger = ledger_of(facts("n1"))
    hold(ledger, "a", "n1", 0, 1, memory_bytes=GIB)
    hold(ledger, "a", "n1", 2, memory_bytes=2 * GIB)
    state = ledger.hosts["n1"]
    assert (state.cores_free, state.memory_free, state.cores_held) == (7, 62 * GIB, 1)
    assert ledger.share("namespace:a") == (1 / 8, 1)
    assert ledger.count("n1", "Task") == 1


def test_only_what_makes_room_counts_as_room() -> None:
    ledger = ledger_of(facts("n1"))
    ledger.freed.clear()
    hold(ledger, "a", "n1", 0)
    assert not ledger.set_host("n1", facts("n1"))
    assert not ledger.freed
    ledger.release("a")
    assert [*ledger.freed] == ["n1"]


def test_a_share_is_the_largest_fraction() -> None:
    ledger = ledger_of(facts("n1", nodes=1, cores=4, memory_gib=8, gpus=2))
    hold(ledger, "a", "n1", 0, memory_bytes=GIB, gpus=(0,))
    assert ledger.share("namespace:a") == (0.5, 1)
    assert ledger.share("namespace:b") == (0.0, 0)
    ledger.release("a")
    assert ledger.share("namespace:a") == (0.0, 0)


def test_each_change_is_told() -> None:
    told: list[str] = []
    ledger = Ledger(on_change=told.append)
    ledger.set_host("n1", facts("n1"))
    hold(ledger, "a", "n1", 0)
    hold(ledger, "a", "n1", 0)
    ledger.release("a")
    assert told == ["n1", "n1", "n1"]


HOSTS = (
    facts("n1", nodes=2, cores=3, memory_gib=8, gpus=2),
    facts("n2", nodes=1, cores=2, memory_gib=4),
    facts("n3", nodes=3, cores=2, memory_gib=16, gpus=3),
)
REQUESTS = st.builds(
    Request,
    cpu_millis=st.sampled_from([0, 1, 250, 500, 999, 1000, 1500, 2000, 2500, 3000, 4000, 6000]),
    memory_bytes=st.sampled_from([0, GIB, 3 * GIB]),
    gpu_count=st.sampled_from([0, 0, 0, 1, 2]),
    numa_node=st.sampled_from([None, None, None, 0, 1, 2]),
    host_name=st.sampled_from([None, None, None, "n1", "n2", "n3"]),
)


def assert_consistent(state: HostState) -> None:
    """Assert that a host's account is what its allocations add up to, and overcommits nothing."""
    assert state.facts is not None
    allocations = state.holdings.values()
    held = [core for one in allocations for core in one.cpus]
    assert len(held) == len(set(held)), "two owners of a core"
    assert set(held) | {core for free in state.free.values() for core in free} == {
        core for cores in state.facts.numa.values() for core in cores
    }
    gpus = [gpu for one in allocations for gpu in one.gpus]
    assert len(gpus) == len(set(gpus)), "two owners of a GPU"
    shared = [one for one in allocations if one.shared_millis is not None]
    assert sum(one.shared_millis or 0 for one in shared) <= 1000 * state.cores_free
    assert state.cores_free or not shared, "nothing left to share"
    for node, free in state.free.items():
        tied = [one for one in shared if one.numa_node == node]
        assert sum(one.shared_millis or 0 for one in tied) <= 1000 * len(free)
        assert free or not tied
    assert state.memory_free == state.facts.memory_bytes - sum(
        one.memory_bytes for one in allocations
    )
    assert state.memory_free >= 0


class Books(RuleBasedStateMachine):
    """Binds and ends in any order, hosts that go and come back."""

    uids: Bundle[str] = Bundle("uids")

    def __init__(self) -> None:
        super().__init__()
        self.ledger = ledger_of(*HOSTS)
        self.freed_since: dict[Request, set[str]] = {}
        self.count = 0

    @rule(target=uids, request=REQUESTS)
    def bind(self, request: Request) -> str:
        self.count += 1
        uid = f"task-{self.count}"
        states = self.ledger.known_hosts()
        result = place(request, states)
        assert result == place(request, list(reversed(states))), "not deterministic"
        if result is not None:
            # What was refused everywhere fits only where there has been room since.
            assert result.host in self.freed_since.get(request, {result.host})
            assert not lacks(request, self.ledger.hosts[result.host])
            allocation = Allocation(result.holding(request), "owner:a", "Task")
            self.ledger.hold(uid, allocation)
            assert self.ledger.allocation(uid) == allocation
            if allocation.holding.cpus:
                assert len(allocation.holding.cpus) == request.cores
        else:
            self.freed_since[request] = set()
            assert all(lacks(request, state) for state in states)
        return uid

    @rule(uid=consumes(uids))
    def end(self, uid: str) -> None:
        self.ledger.release(uid)

    @rule(number=st.integers(0, len(HOSTS) - 1))
    def lose(self, number: int) -> None:
        self.ledger.set_host(HOSTS[number].name, None)

    @rule(number=st.integers(0, len(HOSTS) - 1))
    def regain(self, number: int) -> None:
        self.ledger.set_host(HOSTS[number].name, HOSTS[number])

    @invariant()
    def room_is_told(self) -> None:
        for hosts in self.freed_since.values():
            hosts.update(self.ledger.freed)
        self.ledger.freed.clear()

    @invariant()
    def the_books_are_right(self) -> None:
        for state in self.ledger.known_hosts():
            assert_consistent(state)

    def teardown(self) -> None:
        for uid in [uid for state in self.ledger.hosts.values() for uid in state.holdings]:
            self.ledger.release(uid)
        for host in HOSTS:
            self.ledger.set_host(host.name, None)
        assert self.ledger.hosts == {}
        assert self.ledger.total.cpu_millis == self.ledger.total.memory_bytes == 0


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=60, stateful_step_count=40)


@given(st.lists(st.tuples(st.integers(0, 5), REQUESTS), max_size=40))
@settings(max_examples=50)
def test_what_was_bound_and_ended_leaves_no_trace(steps: list[tuple[int, Request]]) -> None:
    """An account after many changes is that of a ledger which saw only what is left."""
    ledger = ledger_of(*HOSTS)
    left: dict[str, Allocation] = {}
    for number, request in steps:
        uid = f"task-{number}"
        ledger.release(uid)
        left.pop(uid, None)
        result = place(request, ledger.known_hosts())
        if result is not None:
            left[uid] = Allocation(result.holding(request), "owner:a", "Task")
            ledger.hold(uid, left[uid])
    fresh = ledger_of(*HOSTS)
    for uid, allocation in left.items():
        fresh.hold(uid, allocation)
    for state in ledger.known_hosts():
        other = fresh.hosts[state.name]
        assert (state.free, state.memory_free, state.shared, state.gpus_held()) == (
            other.free,
            other.memory_free,
            other.shared,
            other.gpus_held(),
        )
    assert ledger.share("owner:a") == fresh.share("owner:a")
