"""Events are best effort: they wait for nothing, are bounded, and are written once at most."""

import asyncio
import datetime as dt
from collections.abc import Mapping
from typing import Any, cast

from prometheus_client import REGISTRY

from support.cluster import Cluster
from support.serve import going_on
from support.virtual_time import in_virtual_time, virtual_clock
from weir_crds.kinds import HOST, TASK
from weir_kube.api import Api
from weir_kube.errors import (
    AlreadyExistsError,
    ApiError,
    ApiUnavailableError,
    ForbiddenError,
    NotFoundError,
)
from weir_kube.events import EventRecorder, Occurrence
from weir_kube.kinds import EVENT

NOW = dt.datetime(2026, 11, 26, 10, 0, 0, 5, dt.UTC)
OBJECT = {"metadata": {"name": "t", "namespace": "ns", "uid": "u1"}}
KILLED = Occurrence("Kill", "Killed", "killed by ada")


class Desk:
    """Takes Events, as the API server does; ``fails`` are its next answers.

    An error that is in ``after`` comes although the Event was taken.
    """

    def __init__(self) -> None:
        self.events: dict[str, dict[str, Any]] = {}
        self.fails: list[ApiError] = []
        self.after: list[ApiError] = []
        self.at: list[float] = []

    async def create(
        self, kind: Any, body: Mapping[str, Any], namespace: str | None, **_: Any
    ) -> dict[str, Any]:
        await self._asked(kind)
        name = body["metadata"]["name"]
        if name in self.events:
            raise AlreadyExistsError("exists", status=409)
        self.events[name] = {**body, "namespace": namespace}
        return self._answered(name)

    async def patch(
        self, kind: Any, name: str, patch: Mapping[str, Any], namespace: str | None, **_: Any
    ) -> dict[str, Any]:
        await self._asked(kind)
        if name not in self.events:
            raise NotFoundError("gone", status=404)
        assert self.events[name]["namespace"] == namespace
        self.events[name] |= patch
        return self._answered(name)

    async def _asked(self, kind: Any) -> None:
        assert kind is EVENT
        self.at.append(virtual_clock())
        await asyncio.sleep(0)
        if self.fails:
            raise self.fails.pop(0)

    def _answered(self, name: str) -> dict[str, Any]:
        if self.after:
            raise self.after.pop(0)
        return self.events[name]

    def notes(self) -> list[str]:
        return [one["note"] for one in self.events.values()]


def recorder(desk: Any, **more: Any) -> EventRecorder:
    return EventRecorder(
        cast(Api, desk),
        controller="weir.dev/test",
        instance="me",
        now=lambda: NOW,
        clock=virtual_clock,
        **more,
    )


def numbered(number: int) -> Occurrence:
    return Occurrence("Kill", "Killed", f"number {number}")


def dropped(reason: str) -> float:
    return REGISTRY.get_sample_value("weir_events_dropped_total", {"reason": reason}) or 0.0


@in_virtual_time
async def test_an_event_says_what_happened_to_which_object() -> None:
    desk = Desk()
    events = recorder(desk)

    events.record(TASK, OBJECT, KILLED)
    await events.close()

    [(name, made)] = desk.events.items()
    assert name.startswith("t.")
    assert made == {
        "metadata": {"name": name, "namespace": "ns"},
        "namespace": "ns",
        "eventTime": "2026-11-26T10:00:00.000005Z",
        "reportingController": "weir.dev/test",
        "reportingInstance": "me",
        "type": "Normal",
        "action": "Kill",
        "reason": "Killed",
        "note": "killed by ada",
        "regarding": {
            "apiVersion": "weir.dev/v1alpha1",
            "kind": "Task",
            "namespace": "ns",
            "name": "t",
            "uid": "u1",
        },
    }


@in_virtual_time
async def test_a_note_is_one_line_whatever_somebody_writes_into_it() -> None:
    desk = Desk()
    events = recorder(desk)
    forged = "no\n  Normal  Approved\r\x1b[2J\u2028by\x85 \u202eroot\u2066 \ud800é"

    events.record(TASK, OBJECT, Occurrence("Reject", "Rejected", forged))
    await events.close()

    assert desk.notes() == ["no Normal Approved [2J by root ?é"]


@in_virtual_time
async def test_what_happens_to_an_object_of_the_whole_cluster_is_told_in_default() -> None:
    desk = Desk()
    events = recorder(desk)

    events.record(HOST, {"metadata": {"name": "h", "uid": "u"}}, KILLED)
    await events.close()

    [made] = desk.events.values()
    assert made["namespace"] == "default"
    assert "namespace" not in made["regarding"]


@in_virtual_time
async def test_what_is_repeated_is_one_event_that_counts() -> None:
    desk = Desk()
    events = recorder(desk)

    async with asyncio.timeout(60), going_on(events.run()):
        for _ in range(3):  # before the first is written
            events.record(TASK, OBJECT, KILLED)
        await asyncio.sleep(1)
        [made] = desk.events.values()
        assert made["series"] == {"count": 3, "lastObservedTime": "2026-11-26T10:00:00.000005Z"}
        events.record(TASK, OBJECT, KILLED)
        events.record(TASK, OBJECT, Occurrence("Kill", "Killed", "killed by eve"))
        await asyncio.sleep(1)

    assert [one.get("series", {}).get("count") for one in desk.events.values()] == [4, None]
    assert desk.notes() == ["killed by ada", "killed by eve"]


@in_virtual_time
async def test_a_series_whose_event_has_expired_begins_anew() -> None:
    desk = Desk()
    events = recorder(desk)

    events.record(TASK, OBJECT, KILLED)
    await events.close()
    desk.events.clear()
    events.record(TASK, OBJECT, KILLED)
    await events.close()

    [made] = desk.events.values()
    assert "series" not in made


@in_virtual_time
async def test_so_many_may_wait_and_the_rest_is_dropped_and_counted() -> None:
    desk = Desk()
    events = recorder(desk, most=3)
    before = dropped("Full")

    for number in range(10):
        events.record(TASK, OBJECT, numbered(number))
    await events.close()

    assert desk.notes() == ["number 0", "number 1", "number 2"]
    assert dropped("Full") - before == 7


@in_virtual_time
async def test_who_causes_many_delays_and_displaces_nobody_else() -> None:
    desk = Desk()
    events = recorder(desk, most=100, burst=5, per_second=1.0)
    before = dropped("Full")

    async with going_on(events.run()):
        for number in range(1000):
            events.record(TASK, OBJECT, numbered(number), "loud")
        events.record(TASK, OBJECT, Occurrence("Kill", "Killed", "killed by ada"), "ada")
        events.record(TASK, OBJECT, Occurrence("Kill", "Killed", "killed by bob"), "bob")
        await asyncio.sleep(3)

    assert {"killed by ada", "killed by bob"} <= set(desk.notes())
    assert dropped("Full") - before == 902


@in_virtual_time
async def test_no_more_are_written_than_may_be_in_a_second() -> None:
    desk = Desk()
    events = recorder(desk, burst=5, per_second=2.0)

    async with going_on(events.run()):
        began = virtual_clock()
        for number in range(15):
            events.record(TASK, OBJECT, numbered(number))
        await asyncio.sleep(60)

    assert [round(at - began, 3) for at in desk.at[:5]] == [0] * 5
    assert round(desk.at[-1] - began, 3) == 5
    assert len(desk.at) == 15


@in_virtual_time
async def test_an_event_whose_answer_was_lost_is_not_written_twice() -> None:
    desk = Desk()
    desk.after = [ApiUnavailableError("the answer is lost")]
    events = recorder(desk)

    async with going_on(events.run()):
        events.record(TASK, OBJECT, KILLED)
        await asyncio.sleep(60)

    assert len(desk.events) == 1
    assert len(desk.at) == 2


@in_virtual_time
async def test_an_api_server_that_is_away_costs_what_waits_and_no_more() -> None:
    desk = Desk()
    desk.fails = [ApiUnavailableError("away")] * 3
    events = recorder(desk)
    before = dropped(ApiUnavailableError.reason)

    async with going_on(events.run()):
        events.record(TASK, OBJECT, numbered(1))
        events.record(TASK, OBJECT, numbered(2))
        await asyncio.sleep(120)

    assert desk.notes() == ["number 2"]
    assert dropped(ApiUnavailableError.reason) - before == 1


@in_virtual_time
async def test_what_the_api_server_refuses_is_dropped_at_once() -> None:
    desk = Desk()
    desk.fails = [ForbiddenError("the namespace ends", status=403)]
    events = recorder(desk)
    before = dropped(ForbiddenError.reason)

    async with going_on(events.run()):
        events.record(TASK, OBJECT, numbered(1))
        events.record(TASK, OBJECT, numbered(2))
        await asyncio.sleep(1)

    assert desk.notes() == ["number 2"]
    assert dropped(ForbiddenError.reason) - before == 1


@in_virtual_time
async def test_the_end_waits_for_what_is_left_but_not_for_long() -> None:
    class Deaf(Desk):
        async def create(self, *_args: Any, **_more: Any) -> dict[str, Any]:
            await asyncio.sleep(3600)
            raise AssertionError

    events = recorder(Deaf())
    before = dropped("Stopped")
    async with going_on(events.run()):
        events.record(TASK, OBJECT, numbered(1))
        events.record(TASK, OBJECT, numbered(2))
        await asyncio.sleep(1)
    began = virtual_clock()

    await events.close()

    assert virtual_clock() - began <= 2
    assert dropped("Stopped") - before == 2


@in_virtual_time
async def test_one_that_was_being_written_when_the_work_ended_is_not_lost() -> None:
    class Slow(Desk):
        async def _asked(self, kind: Any) -> None:
            await asyncio.sleep(1)

    desk = Slow()
    events = recorder(desk)
    async with going_on(events.run()):
        events.record(TASK, OBJECT, KILLED)
        await asyncio.sleep(0.5)

    await events.close()

    assert desk.notes() == ["killed by ada"]


async def test_kubectl_shows_them(api: Api, cluster: Cluster, namespace: str) -> None:
    long = "x" * 250
    tasks = [
        await api.create(
            TASK,
            {"metadata": {"name": name}, "spec": {"image": "x", "command": ["true"]}},
            namespace,
        )
        for name in ("t", long)
    ]
    events = EventRecorder(api, controller="weir.dev/test", instance="me")

    for task in tasks:
        events.record(TASK, task, KILLED)
        events.record(TASK, task, KILLED)
        await events.close()
        events.record(TASK, task, KILLED)
        events.record(TASK, task, Occurrence("Say", "Said", "é" * 2000))
        await events.close()

    for name in ("t", long):
        shown = cluster.kubectl("describe", "task", name, "--namespace", namespace)
        [line] = [one for one in shown.splitlines() if "killed by ada" in one]
        assert "Killed" in line
        assert "weir.dev/test" in line
        assert "x3 over" in line
        assert "ééé" in shown
