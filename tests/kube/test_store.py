"""The cache: never back in time, no resurrection, indexes that follow."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir_kube.store import Key, Store, key_of, version_number


def obj(name: str = "a", version: int | str = 1, uid: str = "u1", **more: Any) -> dict[str, Any]:
    metadata = {"namespace": "ns", "name": name, "uid": uid, "resourceVersion": str(version)}
    return {"metadata": metadata, **more}


KEY = Key("ns", "a")


def test_key_of_a_cluster_scoped_object_has_no_namespace() -> None:
    assert key_of({"metadata": {"name": "h1"}}) == Key("", "h1")
    assert str(Key("", "h1")) == "h1"
    assert str(KEY) == "ns/a"


@pytest.mark.parametrize(
    ("events", "left"),
    [
        pytest.param([("ADDED", 1)], 1, id="what was added is there"),
        pytest.param([("ADDED", 1), ("MODIFIED", 3)], 3, id="news replaces"),
        pytest.param([("MODIFIED", 3), ("ADDED", 1)], 3, id="an older version is ignored"),
        pytest.param([("ADDED", 9), ("MODIFIED", 10)], 10, id="versions are numbers, not text"),
        pytest.param([("ADDED", 1), ("DELETED", 2)], None, id="what was deleted is gone"),
        pytest.param([("ADDED", 2), ("DELETED", 2)], None, id="DELETED may carry the old object"),
        pytest.param([("ADDED", 5), ("DELETED", 4)], 5, id="a deletion older than the object"),
        pytest.param([("ADDED", 1), ("DELETED", 4), ("MODIFIED", 3)], None, id="no resurrection"),
        pytest.param([("DELETED", 4), ("MODIFIED", 3)], None, id="no resurrection if unseen"),
        pytest.param([("ADDED", 1), ("DELETED", 4), ("ADDED", 5)], 5, id="made again"),
        pytest.param([(None, 1), (None, 2)], 2, id="kopf's listing has no type"),
    ],
)
def test_events_in_any_order(events: list[tuple[str | None, int]], left: int | None) -> None:
    store = Store()
    for event_type, version in events:
        store.apply(event_type, obj(version=version))
    assert store.get(KEY) == (None if left is None else obj(version=left))


def test_apply_returns_the_key_only_when_something_changed() -> None:
    store = Store()
    assert store.apply("ADDED", obj(version=1)) == KEY
    assert store.apply("MODIFIED", obj(version=1)) is None
    assert store.apply("DELETED", obj(version=2)) == KEY
    assert store.apply("DELETED", obj(version=2)) is None
    assert store.apply("MODIFIED", obj(version=1)) is None


def test_an_object_made_again_under_its_name_replaces_the_old_one_without_a_deletion() -> None:
    store = Store()
    store.apply("ADDED", obj(version=1, uid="old"))
    assert store.apply("ADDED", obj(version=3, uid="new")) == KEY
    assert store.apply("MODIFIED", obj(version=2, uid="old")) is None
    assert store.list() == [obj(version=3, uid="new")]


def test_opaque_versions_are_taken_as_they_come() -> None:
    store = Store()
    assert version_number("x7") is None
    assert store.apply("ADDED", obj(version="x7")) == KEY
    assert store.apply("MODIFIED", obj(version="x7")) is None
    assert store.apply("MODIFIED", obj(version="x3")) == KEY
    assert store.apply("DELETED", obj(version="x9")) == KEY


def test_a_list_drops_what_it_lacks_and_adds_what_is_new() -> None:
    store = Store()
    store.apply("ADDED", obj("a", 1))
    store.apply("ADDED", obj("b", 2))
    changed = store.replace([obj("b", 2), obj("c", 3)], "5")
    assert changed == {Key("ns", "a"), Key("ns", "c")}
    assert store.keys() == {Key("ns", "b"), Key("ns", "c")}
    assert store.has_synced
    assert store.resource_version == "5"


def test_an_older_list_takes_nothing_back() -> None:
    store = Store()
    store.apply("MODIFIED", obj("a", 9))  # the reply to our write
    store.apply("ADDED", obj("b", 8))  # made after the list
    store.apply("ADDED", obj("c", 1))
    store.apply("DELETED", obj("c", 7))
    assert store.replace([obj("a", 2), obj("c", 1)], "5") == set()
    assert store.list() == [obj("a", 9), obj("b", 8)]


def test_what_a_list_dropped_does_not_come_back_late() -> None:
    store = Store()
    store.apply("ADDED", obj("a", 1))
    store.replace([], "5")
    assert store.apply("MODIFIED", obj("a", 4)) is None
    assert store.apply("ADDED", obj("a", 6)) == KEY


def test_the_version_reached_never_goes_back_and_own_writes_do_not_move_it() -> None:
    store = Store()
    store.replace([], "5")
    store.apply("MODIFIED", obj(version=9))
    assert store.resource_version == "5"
    store.advance("12")
    store.advance("7")
    assert store.resource_version == "12"


def test_tombstones_go_after_a_while() -> None:
    now = [0.0]
    store = Store(clock=lambda: now[0])
    store.apply("DELETED", obj("a", 4))
    now[0] = 119.0
    store.apply("DELETED", obj("b", 5))
    assert store.apply("MODIFIED", obj("a", 3)) is None
    now[0] = 121.0
    store.apply("DELETED", obj("c", 6))
    assert store.apply("MODIFIED", obj("a", 3)) == KEY
    assert store.apply("MODIFIED", obj("b", 3)) is None


def test_what_is_outside_of_the_selection_counts_as_deleted() -> None:
    store = Store(accepts=lambda it: it.get("node") == "n1")
    store.apply("ADDED", obj(version=1, node="n1"))
    assert store.apply("MODIFIED", obj(version=2, node="n2")) == KEY
    assert store.get(KEY) is None
    assert store.apply("MODIFIED", obj(version=1, node="n1")) is None
    assert store.apply("ADDED", obj(version=3, node="n1")) == KEY
    assert store.replace([obj(version=4, node="n2")], "4") == {KEY}


def test_an_index_follows_additions_changes_and_deletions() -> None:
    store = Store()
    store.apply("ADDED", obj("a", 1, tags=["x", "y"]))
    store.add_index("tag", lambda it: it.get("tags", ()))
    store.apply("ADDED", obj("b", 2, tags=["y"]))
    assert [it["metadata"]["name"] for it in store.by_index("tag", "y")] == ["a", "b"]
    store.apply("MODIFIED", obj("a", 3, tags=["z"]))
    assert store.by_index("tag", "x") == []
    assert store.by_index("tag", "z") == [obj("a", 3, tags=["z"])]
    store.apply("MODIFIED", obj("b", 4, tags=["y"]))
    assert store.by_index("tag", "y") == [obj("b", 4, tags=["y"])]
    store.apply("DELETED", obj("a", 5))
    store.replace([], "9")
    assert [store.by_index("tag", tag) for tag in "xyz"] == [[], [], []]


EVENTS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(["ADDED", "MODIFIED", "DELETED"])),
    min_size=1,
    max_size=12,
)


@given(history=EVENTS, data=st.data())
def test_any_order_of_a_history_ends_as_the_history_did(
    history: list[tuple[str, str]], data: st.DataObject
) -> None:
    """Events lost, doubled and shuffled, and lists of any moment, lead to the end of the last list.

    That one is among them, early or late, as after a watch that has missed something.
    """
    world: dict[str, dict[str, Any]] = {}
    steps: list[tuple[str, Any]] = []
    for version, (name, event_type) in enumerate(history, start=1):
        it = obj(name, version)
        steps.append(("event", (event_type, it)))
        if event_type == "DELETED":
            world.pop(name, None)
        else:
            world[name] = it
        steps.append(("list", ([*world.values()], str(version))))
    seen = data.draw(st.lists(st.sampled_from(steps), max_size=20))
    seen.insert(data.draw(st.integers(0, len(seen))), steps[-1])
    store = Store()
    store.add_index("name", lambda it: [it["metadata"]["name"]])
    for what, argument in seen:
        store.apply(*argument) if what == "event" else store.replace(*argument)
    assert {it["metadata"]["name"]: it for it in store.list()} == world
    for name in "ab":
        assert store.by_index("name", name) == ([world[name]] if name in world else [])


def test_what_a_full_list_did_not_show_is_not_taken_from_an_older_one() -> None:
    store = Store()
    store.replace([], "5")
    assert store.replace([obj("a", 2)], "3") == set()
    assert store.apply("MODIFIED", obj("a", 4)) is None
    assert store.apply("ADDED", obj("a", 6)) == KEY


class TestRestoredFromABackup:
    """Versions go back: nothing may be held against what is older but true."""

    @staticmethod
    def store_at(version: int) -> Store:
        store = Store()
        store.add_index("x", lambda it: [it.get("x", "none")])
        store.replace([obj("a", version, x="new"), obj("b", version - 1)], str(version))
        return store

    def test_a_consistent_get_may_go_back(self, caplog: pytest.LogCaptureFixture) -> None:
        store = self.store_at(1000)
        seen = store.get(KEY)
        assert store.confirm(obj("a", 50, x="old"), seen=seen) == KEY
        assert store.get(KEY) == obj("a", 50, x="old")
        assert store.by_index("x", "new") == []
        assert "went back" in caplog.text
        assert store.apply("MODIFIED", obj("a", 51)) == KEY

    def test_a_get_that_was_overtaken_may_not(self) -> None:
        store = self.store_at(1000)
        seen = store.get(KEY)
        store.apply("MODIFIED", obj("a", 1001))  # while the GET was under way
        assert store.confirm(obj("a", 1000), seen=seen) is None
        assert store.get(KEY) == obj("a", 1001)

    def test_a_get_that_shows_what_is_known_tells_nothing(self) -> None:
        store = self.store_at(1000)
        assert store.confirm(obj("a", 1000, x="new"), seen=store.get(KEY)) is None
        assert store.confirm(obj("a", 1001), seen=store.get(KEY)) == KEY

    def test_a_get_does_not_bring_back_what_was_deleted_meanwhile(self) -> None:
        store = self.store_at(1000)
        seen = store.get(KEY)
        store.apply("DELETED", obj("a", 1002))
        assert store.confirm(obj("a", 1000), seen=seen) is None
        assert store.get(KEY) is None

    def test_a_consistent_list_may_go_back(self, caplog: pytest.LogCaptureFixture) -> None:
        store = self.store_at(1000)
        store.apply("DELETED", obj("c", 1001))
        changed = store.replace([obj("a", 40, x="old"), obj("c", 30)], "50", newest=store.newest)
        assert store.list() == [obj("a", 40, x="old"), obj("c", 30)]
        assert {key.name for key in changed} == {"a", "b", "c"}
        assert store.resource_version == "50"
        assert [it["metadata"]["name"] for it in store.by_index("x", "old")] == ["a"]
        assert "went back" in caplog.text
        assert store.apply("MODIFIED", obj("a", 51)) == KEY
        assert store.apply("MODIFIED", obj("d", 50)) is None  # the new list did not show it
        assert store.replace([], "60", newest=store.newest) == {KEY, Key("ns", "c")}

    def test_a_list_that_was_overtaken_is_only_old(self) -> None:
        store = self.store_at(1000)
        newest = store.newest
        store.apply("MODIFIED", obj("a", 1005))
        assert store.replace([obj("a", 1000), obj("b", 999)], "1002", newest=newest) == set()
        assert store.get(KEY) == obj("a", 1005)

    @pytest.mark.parametrize("event_type", ["MODIFIED", "DELETED"])
    def test_an_event_alone_takes_nothing_back(self, event_type: str) -> None:
        store = self.store_at(1000)
        assert store.apply(event_type, obj("a", 50)) is None
        assert store.get(KEY) is not None


def test_ten_thousand_objects_are_applied_in_a_fraction_of_a_second() -> None:
    store = Store()
    store.add_index("node", lambda it: [it["node"]])
    objects = [obj(f"t{number}", number, node=number % 10) for number in range(1, 10_001)]
    started = time.process_time()
    for it in objects:
        store.apply("ADDED", it)
    store.replace(objects, "10000")
    assert time.process_time() - started < 2.0  # measured: 0.05 s
    assert len(store.by_index("node", 3)) == 1000
