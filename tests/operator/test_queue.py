"""The order in which waiting Tasks are tried."""

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from support.ledgers import cpu
from weir_crds.demand import Request
from weir_operator.scheduling.queue import Pending, PendingQueue, Spare
from weir_operator.scheduling.workload import WorkloadKey


def pending(uid: str, **fields: Any) -> Pending:
    """Return a waiting Task."""
    return Pending(
        **{
            "uid": uid,
            "key": WorkloadKey("Task", "default", uid),
            "owner": "namespace:default",
            "priority": 0,
            "created": "2026-11-22T10:00:00Z",
            "request": cpu(1),
            **fields,
        }
    )


def no_share(_owner: str) -> tuple[float, int]:
    return (0.0, 0)


def drain(queue: PendingQueue, share: Any = no_share) -> list[str]:
    """Return the uids in the order in which they are tried, each taken out when it is."""
    order: list[str] = []
    while (chosen := queue.next_untried(share)) is not None:
        order.append(chosen.uid)
        queue.remove(chosen.uid)
    return order


def drain_for(queue: PendingQueue, host: str, share: Any, fits: Any) -> list[str]:
    """As ``drain``, for a host that got room."""
    order: list[str] = []
    while chosen := queue.next_for_host(host, share, Spare(), fits):
        order.append(chosen.uid)
        queue.remove(chosen.uid)
    return order


def queue_of(*items: Pending) -> PendingQueue:
    queue = PendingQueue()
    for item in items:
        queue.add(item)
    return queue


def test_priority_then_age_then_arrival() -> None:
    queue = queue_of(
        pending("second"),
        pending("third"),
        pending("older", created="2026-11-22T09:00:00Z"),
        pending("urgent", priority=10),
        pending("idle", priority=-1),
    )
    assert drain(queue) == ["urgent", "older", "second", "third", "idle"]


def test_who_has_less_goes_first() -> None:
    queue = queue_of(
        pending("a1", owner="a", created="2026-11-22T09:00:00Z"),
        pending("b1", owner="b"),
        pending("a2", owner="a", priority=1),
    )
    shares = {"a": (0.5, 3), "b": (0.25, 9)}
    assert drain(queue, shares.__getitem__) == ["a2", "b1", "a1"]


def test_shares_that_grow_with_each_bind_take_turns() -> None:
    queue = queue_of(
        *(pending(f"a{n}", owner="a", created="2026-11-22T09:00:00Z") for n in range(3)),
        *(pending(f"b{n}", owner="b") for n in range(3)),
    )
    counts = {"a": 0, "b": 0}
    order = []
    while chosen := queue.next_untried(lambda owner: (0.0, counts[owner])):
        counts[chosen.owner] += 1
        order.append(chosen.uid)
        queue.remove(chosen.uid)
    assert order == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_what_fits_nowhere_holds_up_nobody() -> None:
    queue = queue_of(pending("large", priority=5, request=cpu(64)), pending("small"))
    queue.refuse(cpu(64))
    assert drain(queue) == ["small"]
    assert "large" in queue


def test_what_was_refused_is_refused_for_whoever_asks_for_the_same_until_none_waits() -> None:
    queue = queue_of(pending("a"), pending("b", owner="b"), pending("c", request=cpu(2)))
    assert [head.uid for head in queue.refuse(cpu(1))] == ["a", "b"]
    queue.add(pending("d", owner="d", priority=9))
    assert drain(queue) == ["c"]
    for uid in ("a", "b", "d"):
        assert queue.is_refused(cpu(1))
        queue.remove(uid)
    assert not queue.is_refused(cpu(1))
    assert not queue.has_refused
    queue.add(pending("e"))
    assert drain(queue) == ["e"]


def test_nothing_is_refused_that_does_not_wait() -> None:
    queue = queue_of(pending("a"))
    queue.refuse(cpu(2))
    queue.add(pending("b", request=cpu(2)))
    assert drain(queue) == ["a", "b"]


def test_a_host_that_got_room_gets_what_may_go_there_in_order() -> None:
    queue = queue_of(
        pending("anywhere"),
        pending("here", request=cpu(1, host_name="n1"), priority=1),
        pending("elsewhere", request=cpu(1, host_name="n2"), priority=2),
        pending("large", request=cpu(8), priority=3),
    )
    queue.refuse(cpu(1))
    found = drain_for(queue, "n1", no_share, lambda request: request.cores == 1)
    assert found == ["here", "anywhere"]


def test_a_cheap_test_saves_the_dear_one() -> None:
    queue = queue_of(pending("large", request=cpu(8), priority=3), pending("small"))
    asked: list[Request] = []

    def fits(request: Request) -> bool:
        asked.append(request)
        return True

    chosen = queue.next_for_host("n1", no_share, Spare(cores=4), fits)
    assert (chosen, asked) == (pending("small"), [cpu(1)])


def test_what_left_from_behind_a_blocked_head_is_not_kept() -> None:
    queue = queue_of(pending("head"))
    for number in range(5000):
        queue.add(pending(f"u{number}"))
        queue.remove(f"u{number}")
    assert sum(len(lane.entries) for lane in queue._lanes.values()) < 50


def test_the_oldest_of_each_lane_by_priority() -> None:
    queue = queue_of(
        pending("b"), pending("a"), pending("c", request=cpu(2)), pending("d", priority=1)
    )
    heads = [sorted(one.uid for one in heads) for heads in queue.heads_by_priority()]
    assert heads == [["d"], ["b", "c"]]


def test_a_changed_priority_moves_a_task_and_keeps_its_age() -> None:
    queue = queue_of(pending("a"), pending("b"), pending("c"))
    assert queue.add(pending("c", priority=1))
    assert not queue.add(pending("c", priority=1))
    assert queue.add(pending("c"))
    assert queue.add(pending("a", priority=1))
    assert drain(queue) == ["a", "b", "c"]


def test_a_changed_owner_or_request_moves_it_too() -> None:
    queue = queue_of(pending("a"), pending("b"))
    assert queue.add(pending("a", owner="rich"))
    assert drain(queue, {"rich": (0.5, 1), "namespace:default": (0.0, 0)}.__getitem__) == ["b", "a"]
    queue = queue_of(pending("a"), pending("b"))
    assert queue.add(pending("a", request=cpu(64)))
    queue.refuse(cpu(64))
    assert drain(queue) == ["b"]


def test_what_is_out_is_out() -> None:
    queue = queue_of(pending("a"), pending("b"), pending("c", request=cpu(2)))
    queue.remove("a")
    queue.remove("c")
    queue.remove("never there")
    assert len(queue) == 1
    assert queue.get("b") == pending("b")
    assert queue.get("a") is None


ITEMS = st.builds(
    pending,
    st.sampled_from([f"task-{number}" for number in range(8)]),
    owner=st.sampled_from(["a", "b"]),
    priority=st.integers(0, 2),
    request=st.sampled_from([cpu(1), cpu(2)]),
    created=st.just("2026-11-22T10:00:00Z"),
)


@given(st.lists(st.one_of(ITEMS, st.sampled_from([f"task-{n}" for n in range(8)])), max_size=40))
@settings(max_examples=200)
def test_it_is_a_sorted_list(steps: list[Pending | str]) -> None:
    """Whatever was added, moved and taken out: the order is that of a plain sort."""
    queue = PendingQueue()
    model: dict[str, tuple[Pending, int]] = {}
    arrivals = 0
    for step in steps:
        if isinstance(step, str):
            queue.remove(step)
            model.pop(step, None)
            continue
        queue.add(step)
        if step.uid in model:
            model[step.uid] = (step, model[step.uid][1])
        else:
            arrivals += 1
            model[step.uid] = (step, arrivals)

    def share(owner: str) -> tuple[float, int]:
        return (0.0, 1 if owner == "a" else 2)

    def fits(request: Request) -> bool:
        return request.cores == 1

    expected = sorted(
        (item for item in model.values() if fits(item[0].request)),
        key=lambda item: (-item[0].priority, share(item[0].owner), item[0].created, item[1]),
    )
    uids = [item.uid for item, _ in expected]
    assert drain_for(copy.deepcopy(queue), "n1", share, fits) == uids
    queue.refuse(cpu(2))
    assert drain(queue, share) == uids
    assert len(queue) == len(model) - len(expected)
