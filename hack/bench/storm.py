"""What the bad do to the good: a tenth of the Tasks broken, a hostile client, a stuck Docker.

The good ones alone first, then the same among broken ones of every kind, while somebody guesses
passwords and holds half-sent bodies open, and while dockerd stands still for a time, which nobody
can use, so it is not counted. All good ones have to end right.
"""

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from bench.polling import until_no_container
from bench.report import Figure, Report, Table
from bench.sizes import Size
from bench.system import System
from bench.tasks import Followed, Object, create_all, followed, task
from devcluster.console import say
from devcluster.dockerd import PROGRAM as DOCKERD
from devcluster.login import ensure_login
from devcluster.rest import Rest, RestError
from weir_crds.kinds import TASK
from weir_kube.api import Api
from weir_kube.connect import connect
from weir_kube.kinds import NAMESPACE

_NAMESPACE = "storm"
_LABELS = {"weir.dev/allow-privileged": "true"}  # for the mount that is not there
_CODES = (0, 3)  # with which the good ones exit
_DEADLINE_SECONDS = 900.0
_HALF_BODIES = 150
_GUESSES_AT_ONCE = 8
_GUESS_SECONDS = 0.25


async def run(system: System, size: Size) -> Report:
    """Run the good ones alone, then in the storm, and compare the times."""
    (host,) = system.host_names(1)
    client = system.docker_client()
    if DOCKERD not in system.runner.running():
        raise RuntimeError("the storm stops dockerd, so it needs one of its own: unset DOCKER_HOST")
    system.start_operator()
    system.start_docker_daemon(host)
    url = system.start_facade()
    login = ensure_login(system.cluster.state, system.cluster.admin, url)
    rest = Rest(url, headers={"Authorization": f"Bearer {login.token}"})
    dockerd = system.process(DOCKERD).pid
    took: dict[str, float] = {}
    used: dict[str, dict[str, float]] = {}
    async with await connect(str(system.cluster.admin_kubeconfig)) as api:
        namespace = {"metadata": {"name": _NAMESPACE, "labels": _LABELS}}
        await api.create(NAMESPACE, namespace)
        async with followed(api, _NAMESPACE) as tasks:
            good = _good(size.storm, "alone")
            before = system.cpu_seconds()
            took["alone"] = await _finish(api, tasks, good, good)
            used["alone"] = _used_since(before, system)
            await until_no_container(client, host)
            good = _good(size.storm, "storm")
            before = system.cpu_seconds()
            async with _hostile(url), _standing_still(dockerd, size.storm_stop_seconds):
                took["storm"] = await _finish(api, tasks, good, _mixed(good))
                used["storm"] = _used_since(before, system)
                answered = _answers(rest)
            ends = _ends(tasks)
            await _delete(api, tasks)
            await until_no_container(client, host)
    client.close()
    say(f"alone {took['alone']:.1f} s, in the storm {took['storm']:.1f} s")
    return Report(
        "storm",
        size.name,
        figures=[
            Figure(
                f"{size.storm} good Tasks in the storm, to the same alone",
                (took["storm"] - size.storm_stop_seconds) / took["alone"],
                "x time",
                at_most=1.5,
            ),
            Figure(
                "the same, dockerd's standstill counted", took["storm"] / took["alone"], "x time"
            ),
            Figure("good Tasks that ended otherwise than they should", _wrong(tasks), at_most=0),
            Figure("others are served by the facade meanwhile", answered, at_least=1),
            Figure("alone", took["alone"], "s"),
            Figure("in the storm", took["storm"], "s"),
        ],
        tables=[
            Table(
                "CPU seconds",
                ("PROGRAM", "ALONE", "IN THE STORM"),
                [(one, used["alone"][one], used["storm"][one]) for one in sorted(used["alone"])],
            ),
            Table("ends of the broken ones", ("TASK", "REASON"), ends),
        ],
    )


def _good(count: int, word: str) -> list[Object]:
    """Return Tasks that print a line and exit with a code of their own."""
    return [
        task(f"{word}-{n}", ["sh", "-c", f"echo {word}-{n}; exit {_code(n)}"], cpu=0)
        for n in range(count)
    ]


def _code(number: int) -> int:
    return _CODES[number % len(_CODES)]


def _mixed(good: Sequence[Object]) -> list[Object]:
    """Return the good ones with a broken one after every ninth."""
    broken = itertools.cycle(_BROKEN.items())
    mixed: list[Object] = []
    for number, one in enumerate(good, 1):
        mixed.append(one)
        if number % 9 == 0:
            kind, spec = next(broken)
            bad = task(f"broken-{kind}-{number}", ["sh", "-c", "sleep 1"], cpu=0)
            bad["spec"] |= spec
            mixed.append(bad)
    return mixed


_BROKEN: Mapping[str, Mapping[str, Any]] = {
    "working-dir": {"workingDir": "/bin/busybox"},
    "mount": {"mounts": [{"hostPath": "/nonexistent/folder", "mountPath": "/data"}]},
    "image": {"image": "127.0.0.1:9/none:1"},
    "full-disk": {
        "command": ["sh", "-c", "cat /dev/zero >/dev/shm/all"],
        "resources": {"cpu": 0, "shmSize": "1Mi"},
    },
    "fork-bomb": {
        "command": ["sh", "-c", "bomb() { bomb | bomb & }; bomb; sleep 3600"],
        "resources": {"cpu": "100m", "pids": 64},
        "timeoutSeconds": 10,
    },
}


async def _finish(
    api: Api, tasks: Followed, good: Sequence[Object], submitted: Sequence[Object]
) -> float:
    """Submit, and return the seconds until the end of the last good one is told."""
    began = time.perf_counter()
    await create_all(api, _NAMESPACE, submitted)
    await tasks.wait_finished([one["metadata"]["name"] for one in good], _DEADLINE_SECONDS)
    return time.perf_counter() - began


def _wrong(tasks: Followed) -> int:
    """Count the good ones with another exit code, or another end, than theirs."""
    wrong = 0
    for name, obj in tasks.last.items():
        word, _, number = name.rpartition("-")
        if word in ("alone", "storm"):
            status = obj["status"]
            code = _code(int(number))
            reason = next(c["reason"] for c in status["conditions"] if c["type"] == "Succeeded")
            expected = "NonZeroExit" if code else "Completed"
            wrong += (status.get("exitCode"), reason) != (code, expected)
    return wrong


def _used_since(before: Mapping[str, float], system: System) -> dict[str, float]:
    """Return how many CPU seconds each program has used since."""
    now = system.cpu_seconds()
    return {one: now[one] - before[one] for one in before}


def _ends(tasks: Followed) -> list[tuple[Any, ...]]:
    """Return how each broken one stands."""
    rows: list[tuple[Any, ...]] = []
    for name, obj in sorted(tasks.last.items()):
        if name.startswith("broken-"):
            conditions = obj.get("status", {}).get("conditions") or [{"reason": "Queued"}]
            rows.append((name, conditions[-1]["reason"]))
    return rows


async def _delete(api: Api, tasks: Followed) -> None:
    for name in tasks.last:
        await api.delete(TASK, name, _NAMESPACE)


def _answers(rest: Rest) -> int:
    """Tell whether who has a valid token is served."""
    try:
        rest.json("GET", "/api/nodes")
        rest.json("GET", "/api/tasks?limit=1")
    except RestError:
        return 0
    return 1


@asynccontextmanager
async def _standing_still(pid: int, seconds: float) -> AsyncIterator[None]:
    """Stop a process soon, and let it go on so many seconds later, at the latest at the end."""

    async def stop() -> None:
        await asyncio.sleep(seconds / 10)
        os.kill(pid, signal.SIGSTOP)
        say(f"dockerd stands still for {seconds:g} s")
        await asyncio.sleep(seconds)
        os.kill(pid, signal.SIGCONT)

    stopping = asyncio.create_task(stop())
    try:
        yield
    finally:
        stopping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await stopping
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def _hostile(url: str) -> AsyncIterator[None]:
    """Guess passwords of names that nobody has, and hold half-sent bodies open."""
    address = urlsplit(url)
    where = (address.hostname or "", address.port or 80)
    held = [await asyncio.to_thread(_half_body, where) for _ in range(_HALF_BODIES)]
    guessing = [
        asyncio.create_task(_guess(Rest(url), number)) for number in range(_GUESSES_AT_ONCE)
    ]
    try:
        yield
    finally:
        for one in guessing:
            one.cancel()
        await asyncio.gather(*guessing, return_exceptions=True)
        for connection in held:
            connection.close()


def _half_body(where: tuple[str, int]) -> socket.socket:
    connection = socket.create_connection(where, timeout=10)
    head = "POST /api/submit HTTP/1.1\r\nHost: {}:{}\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: 1000000\r\n\r\n".format(*where).encode())
    with contextlib.suppress(OSError):  # it may have been refused already
        connection.sendall(b'{"command": "' + b"a" * 100_000)
    return connection


async def _guess(rest: Rest, number: int) -> None:
    for attempt in itertools.count():
        body = {"username": f"nobody-{number}-{attempt}", "password": "guess"}
        with contextlib.suppress(RestError):
            await asyncio.to_thread(rest.json, "POST", "/api/auth/login", body)
        await asyncio.sleep(_GUESS_SECONDS)
