"""A host that nobody hears from is done with what another may run, whatever else fails it."""

import asyncio

import pytest
from aiohttp import web

from support.faulty_system import FaultySystem
from support.polling import eventually
from support.tasks import condition, task

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

_SLOW_SECONDS = 1.0


def test_a_daemon_killed_while_the_api_server_is_away_fences_when_it_is_back(
    system: FaultySystem, faulty_namespace: str
) -> None:
    """Its Docker is slow besides. When the operator gives the Task away, nothing of it runs."""
    made = system.create(
        task(
            "moves",
            faulty_namespace,
            command=["sleep", "600"],
            onHostLost="Restart",
            hostLostGraceSeconds=0,
            resources={"cpu": 0},
            network={"mode": "None"},
        )
    )
    uid = made["metadata"]["uid"]
    system.wait_condition(faulty_namespace, "moves", "Started", "True")

    system.loop.call(system.api["daemon"].hold)
    system.loop.call(lambda: system.docker.add_rule(_slowly))
    system.killer("daemon")()

    def is_given_away() -> bool:
        return bool(system.get(faulty_namespace, "moves")["status"].get("runID") == 2)

    eventually(is_given_away, "another host may have it", 180)
    alive = [one for one in system.containers(uid) if one["State"] in ("running", "paused")]
    assert not alive, alive

    system.heal()
    system.wait_condition(faulty_namespace, "moves", "Started", "True", 60)
    system.patch_spec(faulty_namespace, "moves", desiredState="Killed")
    ended = system.wait_finished(faulty_namespace, "moves")
    assert condition(ended, "Succeeded")["reason"] == "Killed"
    system.wait_no_containers()


async def _slowly(_: web.Request) -> None:
    await asyncio.sleep(_SLOW_SECONDS)
