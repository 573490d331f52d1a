"""Who did what to a Task: ``kubectl describe`` shows it."""

import asyncio

import pytest

from support.aio import until_async
from support.cluster import Cluster
from support.live_tasks import Facade


async def described(world: Cluster, rest: Facade, name: str) -> list[list[str]]:
    """Return the lines of a Task's Events, in words."""
    text = await asyncio.to_thread(
        world.kubectl, "describe", "task", name, "--namespace", rest.namespace
    )
    return [line.split() for line in text.partition("Events:")[2].splitlines()[3:]]


@pytest.fixture
async def host(rest: Facade) -> str:
    return await rest.host()


async def test_describe_shows_who_killed_a_task(world: Cluster, rest: Facade, host: str) -> None:
    number = await rest.submit(targets=[host])
    name = rest.task(number)["metadata"]["name"]
    await rest.ask("POST", f"/kill/{number}", caller="operator")
    await rest.ask("POST", f"/kill/{number}", caller="operator")  # it is on its way already

    [line] = await until_async(lambda: described(world, rest, name), "an Event")

    assert line[:2] == ["Normal", "KillRequested"]
    assert "weir.dev/api" in line
    assert " ".join(line).endswith("kill requested by operator from 127.0.0.1, over REST")


async def test_a_decision_is_an_event_and_what_was_refused_is_none(
    world: Cluster, rest: Facade, host: str
) -> None:
    number = await rest.submit("user", targets=[host])
    name = rest.task(number)["metadata"]["name"]
    assert (await rest.ask("POST", f"/kill/{number}", caller="operator")).status == 409
    assert (await rest.ask("POST", f"/reject/{number}", caller="user")).status == 403
    await rest.ask("POST", f"/reject/{number}?reason=too%20large", caller="operator")

    [line] = await until_async(lambda: described(world, rest, name), "an Event")

    assert line[:2] == ["Normal", "Rejected"]
    assert " ".join(line).endswith("rejected by operator from 127.0.0.1, over REST: too large")


async def test_events_of_a_task_that_was_deleted_stay(
    world: Cluster, rest: Facade, host: str
) -> None:
    number = await rest.submit("user", targets=[host])
    name = rest.task(number)["metadata"]["name"]
    assert (await rest.ask("DELETE", f"/tasks/{number}", caller="user")).status == 200

    async def shown() -> list[str]:
        text = await asyncio.to_thread(
            world.kubectl, "events", "--namespace", rest.namespace, "--no-headers"
        )
        return [line for line in text.splitlines() if f"task/{name}" in line.lower()]

    [line] = await until_async(shown, "an Event")

    assert "deleted by user from 127.0.0.1, over REST" in line
