"""The facade as a process: how it starts, how it ends, and what it refuses to be."""

import dataclasses
import http.client
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import yaml

from devcluster.components import hash_password
from support.cluster import Cluster
from support.facade_process import REGISTER_SECRET, FacadeProcess
from support.polling import eventually
from support.process import Process

Make = Callable[..., FacadeProcess]


@pytest.fixture
def make(cluster: Cluster) -> Iterator[Make]:
    """Makes facades that are not started yet."""
    made: list[FacadeProcess] = []

    def one(*arguments: str, **options: object) -> FacadeProcess:
        made.append(FacadeProcess(cluster, *arguments, **options))  # type: ignore[arg-type]
        return made[-1]

    yield one
    for facade in made:
        facade.process.kill()


def half_a_login(facade: FacadeProcess, connection: http.client.HTTPConnection) -> bytes:
    """Send the first half of a request, so that it is under way; return the second one."""
    body = b'{"username": "nobody", "password": "wrong-password"}'
    connection.putrequest("POST", "/api/auth/login")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body[:20])
    under_way = 'weir_http_requests_under_way{family="host"} 1.0'
    eventually(lambda: under_way in facade.health.request("GET", "/metrics").decode())
    return body[20:]


def connect(facade: FacadeProcess) -> http.client.HTTPConnection:
    address = urlsplit(facade.url)
    return http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)


def refuses(facade: FacadeProcess) -> bool:
    address = urlsplit(facade.url)
    try:
        socket.create_connection((address.hostname, address.port), timeout=60).close()
    except ConnectionRefusedError:
        return True
    return False


def test_term_lets_requests_under_way_end(make: Make) -> None:
    facade = make()
    facade.start()
    connection, idle = connect(facade), connect(facade)
    idle.request("GET", "/healthz")
    idle.getresponse().read()
    rest = half_a_login(facade, connection)

    os.kill(facade.process.pid, signal.SIGTERM)

    eventually(lambda: refuses(facade), facade.log)
    assert not facade.health.answers("/readyz")
    assert facade.process.running()
    connection.send(rest)
    answer = connection.getresponse()
    assert answer.status == 401
    assert b"detail" in answer.read()
    eventually(lambda: not facade.process.running(), facade.log)
    assert facade.process.stop() == 0
    assert "Traceback" not in facade.log()
    assert "Unclosed" not in facade.log()


def test_a_second_term_does_not_wait(make: Make) -> None:
    facade = make()
    facade.start()
    connection = connect(facade)
    half_a_login(facade, connection)
    os.kill(facade.process.pid, signal.SIGTERM)
    eventually(lambda: refuses(facade), facade.log)

    os.kill(facade.process.pid, signal.SIGTERM)

    eventually(lambda: not facade.process.running(), facade.log)
    assert facade.process.stop() == 0
    connection.close()


def test_it_does_not_serve_before_it_knows_anything(make: Make, tmp_path: Path) -> None:
    """An empty cache would tell clients that their tasks are gone."""
    facade = make()
    (kubeconfig,) = (a for a in facade.process.program.argv if a.startswith("--kubeconfig="))
    known = yaml.safe_load(Path(kubeconfig.partition("=")[2]).read_text())
    known["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    lost = tmp_path / "kubeconfig"
    lost.write_text(yaml.safe_dump(known))
    program = facade.process.program
    argv = (*(a for a in program.argv if a != kubeconfig), f"--kubeconfig={lost}")
    process = Process(dataclasses.replace(program, argv=argv), facade.process.log)
    try:
        process.start()
        eventually(lambda: facade.health.answers("/healthz"), facade.log)

        assert not facade.health.answers("/readyz")
        assert refuses(facade)
    finally:
        status = process.stop()
    assert status == 0
    assert "Traceback" not in facade.log()


def test_it_serves_what_tells_of_it(make: Make) -> None:
    facade = make()
    facade.start()

    assert facade.request("GET", "/").status == 404
    assert facade.request("GET", "/docs").status == 200
    assert facade.request("GET", "/openapi.json").json()["info"]["title"] == "Weir host API"
    assert facade.request("GET", "/api/auth/status").json()["auth_enabled"] is True
    assert facade.request("GET", "/api/nodes").status == 401
    metrics = facade.health.request("GET", "/metrics").decode()
    assert 'weir_http_requests_total{code="401",family="host",method="GET",route="/api/nodes"}' in (
        metrics
    )
    assert psutil.Process(facade.process.pid).memory_info().rss < 150 * 2**20


def test_the_log_holds_no_secrets(make: Make) -> None:
    facade = make(environ={"WEIR_ADMIN_REGISTER_SECRET": REGISTER_SECRET})
    facade.start()
    headers = {"Authorization": "Bearer hidden-token", "Cookie": "kohakuriver_session=hidden"}

    facade.request("GET", "/api/nodes?a=hidden", headers=headers)
    body = {"username": "someone", "password": "hidden-password"}
    facade.request("POST", "/api/auth/login", body, headers)
    facade.request("POST", "/api/auth/register?token=hidden", body, headers)

    assert facade.process.stop() == 0
    assert "GET /api/nodes 401" in facade.log()
    assert "hidden" not in facade.log()
    assert REGISTER_SECRET not in facade.log()


def test_without_authentication_it_serves_this_machine_only(make: Make) -> None:
    program = make("--no-auth").process.program
    open_to_all = dataclasses.replace(
        program, argv=(*program.argv, "--listen=0.0.0.0:0"), stop_grace_seconds=20
    )
    facade = make("--no-auth")
    refused = Process(open_to_all, facade.process.log.with_suffix(".refused"))

    refused.start()

    eventually(lambda: not refused.running())
    assert refused.stop() == 2
    assert "--allow-unauthenticated-network" in refused.log.read_text()
    facade.start()
    assert facade.request("GET", "/api/nodes").status == 200
    assert facade.request("GET", "/api/auth/me").status == 503


def test_an_address_in_use_is_named(make: Make) -> None:
    facade = make()
    facade.start()
    metrics = facade.process.program.argv
    twin_argv = tuple(a for a in metrics if not a.startswith("--metrics-listen"))
    twin = Process(
        dataclasses.replace(
            facade.process.program, argv=(*twin_argv, "--metrics-listen=127.0.0.1:0")
        ),
        facade.process.log.with_suffix(".twin"),
    )

    twin.start()

    eventually(lambda: not twin.running(), twin.log.read_text)
    assert twin.stop() == 1
    assert "cannot listen on 127.0.0.1:" in twin.log.read_text()
    assert "Traceback" not in twin.log.read_text()


def test_the_hash_of_a_password_can_be_made() -> None:
    from devcluster.components import environment

    done = subprocess.run(
        hash_password(),
        input="correct horse\n",
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stdout.startswith("$argon2id$")
