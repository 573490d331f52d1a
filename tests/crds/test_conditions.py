"""Conditions: one per type, the list's order kept, times moved only when the status moves."""

import copy
import datetime as dt
from typing import Any

from weir_crds import conditions
from weir_crds.conditions import FALSE, TRUE, ConditionType, Reason

NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
LATER = NOON + dt.timedelta(minutes=1)
SCHEDULED = ConditionType.SCHEDULED
STARTED = ConditionType.STARTED


def queued(now: dt.datetime, message: str = "waiting") -> list[conditions.Condition]:
    return conditions.set_condition(
        [], SCHEDULED, FALSE, Reason.QUEUED, message, now=now, observed_generation=1
    )


def test_a_new_condition_has_all_its_fields_as_plain_strings() -> None:
    (condition,) = queued(NOON)
    assert condition == {
        "type": "Scheduled",
        "status": "False",
        "reason": "Queued",
        "message": "waiting",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-11-22T12:00:00.000000Z",
    }
    assert type(condition["type"]) is str
    assert type(condition["reason"]) is str


def test_setting_what_is_there_changes_nothing() -> None:
    old = queued(NOON)
    new = conditions.set_condition(
        old, SCHEDULED, FALSE, Reason.QUEUED, "waiting", now=LATER, observed_generation=1
    )
    assert new == old


def test_another_message_leaves_the_transition_time() -> None:
    old = queued(NOON)
    (new,) = conditions.set_condition(
        old, SCHEDULED, FALSE, Reason.NO_HOSTS, "no hosts", now=LATER, observed_generation=2
    )
    assert new["lastTransitionTime"] == old[0]["lastTransitionTime"]
    assert (new["reason"], new["message"], new["observedGeneration"]) == ("NoHosts", "no hosts", 2)


def test_another_status_moves_the_transition_time_and_keeps_the_order() -> None:
    old = conditions.set_condition(
        queued(NOON), STARTED, FALSE, Reason.PULLING_IMAGE, "", now=NOON, observed_generation=1
    )
    before = copy.deepcopy(old)
    new = conditions.set_condition(
        old, SCHEDULED, TRUE, Reason.BOUND, "n1", now=LATER, observed_generation=1
    )
    assert [c["type"] for c in new] == ["Scheduled", "Started"]
    assert new[0]["lastTransitionTime"] == "2026-11-22T12:01:00.000000Z"
    assert old == before


def test_without_a_generation_none_is_written() -> None:
    (condition,) = conditions.set_condition(
        None, STARTED, TRUE, Reason.CONTAINER_STARTED, "", now=NOON, observed_generation=None
    )
    assert "observedGeneration" not in condition


def test_questions_about_an_object() -> None:
    task: dict[str, Any] = {"status": {"conditions": queued(NOON)}}
    assert conditions.get(queued(NOON), SCHEDULED) == conditions.of(task, SCHEDULED)
    assert conditions.of({}, SCHEDULED) is None
    assert not conditions.is_true(task, SCHEDULED)
    assert not conditions.is_true(task, STARTED)
    task["status"]["conditions"][0]["status"] = TRUE
    assert conditions.is_true(task, SCHEDULED)


def test_a_message_longer_than_the_api_takes_is_cut() -> None:
    (condition,) = queued(NOON, "x" * (conditions.MAX_MESSAGE + 1))
    assert condition["message"] == "x" * (conditions.MAX_MESSAGE - 1) + "…"
    assert conditions.set_condition(
        [condition],
        *(SCHEDULED, FALSE, Reason.QUEUED, "x" * (conditions.MAX_MESSAGE + 1)),
        now=LATER,
        observed_generation=1,
    ) == [condition]
