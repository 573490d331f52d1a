"""The API server is away for a while: the facade goes on with what it knows, and says so."""

import time

import pytest

from support.polling import eventually
from support.small_world import HOST_NAME, SmallWorld

AWAY_SECONDS = 20.0
READS = (
    "/api/tasks",
    "/api/tasks/my",
    "/api/nodes",
    "/api/health",
    "/api/auth/me",
    "/api/auth/users",
)


@pytest.mark.timeout(180)
def test_reads_go_on_and_writes_are_told_to_come_again(small_world: SmallWorld) -> None:
    world = small_world
    task = world.submit()
    eventually(lambda: world.request("GET", f"/api/status/{task}").json()["status"] == "running")
    before = world.objects()
    pid = world.facade.process.pid
    writes = (
        ("POST", "/api/submit", {"command": "sleep 60"}),
        ("POST", f"/api/kill/{task}", None),
        ("POST", f"/api/command/{task}/pause", None),
        ("POST", "/api/auth/tokens/create", {"name": "late"}),
        ("POST", "/api/auth/invitations", {"role": "user"}),
        ("POST", "/api/register", {"hostname": "late", "url": "http://late:1", "total_cores": 1}),
    )

    world.cluster.kill_apiserver()
    gone = time.monotonic()
    try:
        eventually(
            lambda: "Weir-Stale-Seconds" in world.request("GET", "/api/tasks").headers,
            "the answers say that they are old",
        )
        for method, path, body in writes:
            reply = world.request(method, path, body)
            assert reply.status == 503, (path, reply.body)
            assert int(reply.headers["Retry-After"]) >= 1
            assert list(reply.json()) == ["detail"]
            assert "Weir-Stale-Seconds" in reply.headers
        ages: list[tuple[float, float, float]] = []  # asked at, told age, answered at
        while not ages or time.monotonic() - gone < AWAY_SECONDS:
            for path in (*READS, f"/api/status/{task}"):
                asked = time.monotonic()
                reply = world.request("GET", path)
                assert reply.status == 200, (path, reply.body)
                told = float(reply.headers["Weir-Stale-Seconds"])
                ages.append((asked, told, time.monotonic()))
            nodes = world.request("GET", "/api/nodes").json()
            assert HOST_NAME in [node["hostname"] for node in nodes]
            assert world.request("GET", f"/api/status/{task}").json()["status"] == "running"
            stranger = {"Authorization": f"Bearer {'0' * 64}"}
            assert world.facade.request("GET", "/api/tasks", None, stranger).status in (401, 503)
            assert world.facade.request("GET", "/readyz").status == 200
        (asked, first, answered), *_, (asked_last, last, answered_last) = ages
        # They age as time goes by; what is told is in whole seconds.
        assert asked_last - answered - 1 <= last - first <= answered_last - asked + 1
    finally:
        world.cluster.restart_apiserver()

    eventually(
        lambda: "Weir-Stale-Seconds" not in world.request("GET", "/api/tasks").headers,
        "the answers are fresh again",
    )
    assert world.objects() == before
    assert world.request("POST", f"/api/kill/{task}").status == 202
    eventually(lambda: world.request("GET", f"/api/status/{task}").json()["status"] == "killed")
    assert world.request("GET", f"/api/status/{world.submit()}").status == 200
    assert world.facade.process.pid == pid
    assert "Traceback" not in world.facade.log()
