"""The caches tell of changes, to all who listen; and what they keep of an object."""

import json
from typing import cast

import pytest

from support.rest_tasks import ended, made_task, made_user
from weir_api.state.caches import Caches, compact
from weir_crds.kinds import USER
from weir_kube.api import Api
from weir_kube.store import Key


def test_a_listener_that_fails_is_logged_and_the_others_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The reply to our own write has to reach the client, whatever somebody thinks of it."""
    caches, told = Caches(cast(Api, None)), list[Key]()

    def fails(_: Key) -> None:
        raise ValueError("no such word")

    caches.listen(USER, fails)
    caches.listen(USER, told.append)
    caches.note(USER, made_user("ada"))

    assert told == [Key("", "ada")]
    assert "no such word" in caplog.text


def test_it_is_equal_but_for_what_nobody_reads() -> None:
    task = made_task(status=ended(), spec={"env": [{"name": "A", "value": "ž1"}], "args": []})
    full = {**task, "metadata": {**task["metadata"], "managedFields": [{"manager": "x"}]}}
    assert compact(full) == task
    assert "managedFields" in full["metadata"]  # what was given stays as it is


def test_words_are_there_once() -> None:
    text = json.dumps(made_task(status=ended()))
    one, other = compact(json.loads(text)), compact(json.loads(text))
    assert [*map(id, one["spec"])] == [*map(id, other["spec"])]
    conditions = [obj["status"]["conditions"][0]["reason"] for obj in (one, other)]
    assert conditions[0] is conditions[1]
