"""Objects as the caches keep them."""

import json

from support.rest_tasks import ended, made_task
from weir_api.state.compact import compact


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
