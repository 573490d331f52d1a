"""The bare calls of the control path, with no logic: what no system of this shape can beat.

One process binds, and one for each host writes start and end, as operator and daemons do: with the
same accounts, the same watches, the same patches, the same number of processes. Run as
``python -m bench.bare``; it acts until it is ended.
"""

import argparse
import asyncio
import base64
import datetime as dt
import itertools
import json
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp

from weir_crds.kinds import TASK
from weir_crds.times import now_rfc3339

Object = dict[str, Any]
Act = Callable[[Object], Coroutine[Any, Any, None]]
READY = "watching"
_CALLS_AT_ONCE = 32
_MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}


class Calls:
    """An HTTP session and two requests."""

    def __init__(self, kubeconfig: Path) -> None:
        """Read where the API server is, and the token."""
        config = json.loads(kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        token = Path(config["users"][0]["user"]["tokenFile"]).read_text()
        authority = cluster["certificate-authority-data"]
        self._server = cluster["server"]
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=_context(authority), limit=_CALLS_AT_ONCE),
            headers={"Authorization": f"Bearer {token}"},
            timeout=aiohttp.ClientTimeout(total=None),
        )

    async def watch(self, selector: str) -> AsyncIterator[Object]:
        """Yield what is there and what comes, for ever: the server may end a watch at any time."""
        version = "0"
        while True:
            query = f"?watch=1&resourceVersion={version}&fieldSelector={selector}"
            url = f"{self._server}{TASK.path()}{query}"
            async with self._session.get(url, read_bufsize=2**20) as answer:
                answer.raise_for_status()
                print(READY, flush=True)
                async for line in answer.content:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise RuntimeError(event["object"])
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "DELETED":
                        yield event["object"]

    async def patch_status(self, task: Object, status: Object) -> Object:
        """Merge into a Task's status."""
        metadata = task["metadata"]
        path = TASK.path(metadata["namespace"], metadata["name"], "status")
        body = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": status}
        async with self._session.patch(
            f"{self._server}{path}", data=json.dumps(body), headers=_MERGE_PATCH
        ) as answer:
            answer.raise_for_status()
            found: Object = await answer.json()
            return found


def _context(authority: str) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=base64.b64decode(authority).decode())


def condition(type: str, reason: str, message: str) -> Object:
    """Return a condition that is true now."""
    return {
        "type": type,
        "status": "True",
        "reason": reason,
        "message": message,
        "observedGeneration": 1,
        "lastTransitionTime": now(),
    }


def now() -> str:
    """Return the time as it stands in a status."""
    return now_rfc3339(dt.datetime.now(dt.UTC))


def bound(host: str, core: int) -> Object:
    """Return what binding writes."""
    return {
        "nodeName": host,
        "cpus": [core],
        "numaNode": 0,
        "gpus": [],
        "runID": 1,
        "scheduledAt": now(),
        "conditions": [condition("Scheduled", "Bound", f"{host}, core {core} (NUMA 0)")],
        "phase": "Starting",
        "observedGeneration": 1,
    }


def started(task: Object) -> Object:
    """Return what the start writes."""
    told = condition("Started", "ContainerStarted", f"container weir-{task['metadata']['uid']}-1")
    return {
        "startedAt": now(),
        "conditions": [*task["status"]["conditions"], told],
        "phase": "Running",
        "observedGeneration": 1,
    }


def ended(task: Object) -> Object:
    """Return what the end writes."""
    told = condition("Succeeded", "Completed", "exit code 0")
    return {
        "finishedAt": now(),
        "exitCode": 0,
        "logs": {"stdoutBytes": 0, "stderrBytes": 0, "truncated": False},
        "conditions": [*task["status"]["conditions"], told],
        "phase": "Succeeded",
        "observedGeneration": 1,
    }


async def bind(calls: Calls, hosts: list[str]) -> None:
    """Bind each Task to the next host."""
    turns = itertools.cycle(hosts)
    core = itertools.count()

    async def act(task: Object) -> None:
        await calls.patch_status(task, bound(next(turns), next(core) % 256))

    await _each_once(calls.watch(""), act, "nodeName")


async def execute(calls: Calls, host: str, seconds: float) -> None:
    """Write the start of each Task of a host and, so many seconds later, its end."""

    async def act(task: Object) -> None:
        task = await calls.patch_status(task, started(task))
        await asyncio.sleep(seconds)
        await calls.patch_status(task, ended(task))

    await _each_once(calls.watch(f"status.nodeName%3D{host}"), act, "finishedAt")


async def _each_once(objects: AsyncIterator[Object], act: Act, done: str) -> None:
    """Act once on each Task whose status lacks a field."""
    seen: set[str] = set()
    async with asyncio.TaskGroup() as group:
        async for task in objects:
            uid = task["metadata"]["uid"]
            if uid not in seen and done not in task.get("status", {}):
                seen.add(uid)
                group.create_task(act(task))


async def _main(options: argparse.Namespace) -> None:
    calls = Calls(options.kubeconfig)
    if options.part == "bind":
        await bind(calls, options.hosts)
    else:
        await execute(calls, options.hosts[0], options.seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.bare", description=__doc__)
    parser.add_argument("part", choices=["bind", "execute"])
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--hosts", type=lambda text: text.split(","), required=True)
    parser.add_argument("--seconds", type=float, default=0.0)
    asyncio.run(_main(parser.parse_args()))
