"""How the states of a Task that is waited for are read."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from weir_cli.kubectl import KubectlError
from weir_cli.logs import states
from weir_crds.kinds import Kind
from weir_kube.store import Object

Event = tuple[str, Object]


def task(version: str) -> Object:
    return {"metadata": {"name": "train", "resourceVersion": version}}


class ScriptedKubectl:
    """Has a Task that is deleted once all watches of the script are over."""

    namespace = "team"

    def __init__(self, *watches: list[Event]) -> None:
        self._watches = list(watches)
        self.pauses: list[float] = []

    def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        if not self._watches:
            raise KubectlError("Error from server (NotFound)")
        return task("read")

    @contextmanager
    def watch(
        self, kind: Kind, namespace: str, name: str, version: str
    ) -> Iterator[Iterator[Event]]:
        yield iter(self._watches.pop(0))

    def seen(self) -> list[str]:
        found: list[str] = []
        seen = (obj["metadata"] for obj in states(self, "train", sleep=self.pauses.append))
        with pytest.raises(KubectlError, match="NotFound"):
            found.extend(metadata["resourceVersion"] for metadata in seen)
        return found


def test_who_may_get_but_not_watch_starts_kubectl_more_and_more_rarely() -> None:
    kubectl = ScriptedKubectl(*[[]] * 8)
    assert kubectl.seen() == ["read"] * 8
    assert kubectl.pauses == sorted(kubectl.pauses)
    assert kubectl.pauses[0] <= 1
    assert kubectl.pauses[-3:] == [5, 5, 5]


def test_a_watch_that_shows_something_is_begun_again_soon() -> None:
    watches: list[list[Event]] = [[], [], [], [("BOOKMARK", task("4"))], [("MODIFIED", task("5"))]]
    kubectl = ScriptedKubectl(*watches, [("DELETED", task("6"))])
    assert kubectl.seen() == ["read"] * 5 + ["5", "read"]
    assert max(kubectl.pauses[3:]) < min(kubectl.pauses[:3])
