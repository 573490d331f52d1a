"""A load generator that costs little: how many requests a server answers in a second, and when.

So many connections are kept open, each with one request under way: it is sent as bytes that were
made before, and the answer is read only as far as it takes to know its status and its end. That
costs about a tenth of what the servers measured here need, so that one core of load is enough for
one core of server; it runs in a process of its own for the same reason. What it tells is the
client's view: time from the sending of a request to the end of its answer.

Run as ``python -m bench.load JOB.json``; it prints its result as JSON.
"""

import asyncio
import json
import ssl
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from devcluster.state import CHECKOUT

_PYTHON_PATH = ":".join(str(CHECKOUT / folder) for folder in ("hack", "crds"))
_END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True)
class Job:
    """What to send, and for how long.

    Attributes:
        url: the server; ``https`` with ``authority``.
        requests: method, path and body (empty: none) of each; they are sent in turns.
        headers: of all requests.
        connections: how many requests are under way at a time.
        seconds: for how long; or
        count: how many requests, if that is not 0.
        expected: the status that every answer has to have.
        authority: PEM of who signed the server's certificate.
    """

    url: str
    requests: list[tuple[str, str, str]]
    connections: int
    seconds: float = 0.0
    count: int = 0
    expected: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    authority: str = ""


@dataclass(frozen=True)
class Load:
    """What came of it; latencies in milliseconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    worst: float

    @property
    def rate(self) -> float:
        """Requests answered in a second."""
        return self.requests / self.seconds


async def put_load(job: Job, folder: Path) -> Load:
    """Run a job in a process of its own.

    Raises:
        RuntimeError: an answer had another status than the expected one, or none came.
    """
    path = folder / "job.json"
    path.write_text(json.dumps(asdict(job)))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.load",
        str(path),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": _PYTHON_PATH},
    )
    out, err = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"no load: {err.decode()[-2000:]}")
    return Load(**json.loads(out))


class _Run:
    """The requests that are left, and the answers so far."""

    def __init__(self, job: Job) -> None:
        self.done = asyncio.get_running_loop().create_future()
        self.latencies: list[float] = []
        self.statuses: Counter[bytes] = Counter()
        self.began = time.perf_counter()
        self._ends_at = self.began + job.seconds if not job.count else float("inf")
        self._left = job.count or sys.maxsize
        self._requests = deque(_bytes_of(job, *one) for one in job.requests)
        self._open = job.connections

    def next(self) -> bytes | None:
        """Return the next request; None: that was all."""
        if self._left <= 0 or time.perf_counter() >= self._ends_at:
            return None
        self._left -= 1
        self._requests.rotate(-1)
        return self._requests[-1]

    def leave(self) -> None:
        """Count a connection that has nothing more to send."""
        self._open -= 1
        if not self._open and not self.done.done():
            self.done.set_result(None)

    def fail(self, why: str) -> None:
        """End it all."""
        if not self.done.done():
            self.done.set_exception(RuntimeError(why))


class _Connection(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._missing = 0
        self._sent = 0.0
        self._ended = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
        else:
            self._head += data
            end = self._head.find(_END_OF_HEAD)
            if end < 0:
                return
            head = self._head[:end]
            self._run.statuses[head[9:12]] += 1
            self._missing = _length_of(head) - (len(self._head) - end - len(_END_OF_HEAD))
            self._head = b""
        if self._missing < 0:
            self._run.fail("more came than was announced")
        elif not self._missing:
            self._run.latencies.append(time.perf_counter() - self._sent)
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ended:
            self._run.fail(f"the server closed a connection: {exc}")

    def _send(self) -> None:
        assert self._transport is not None
        request = self._run.next()
        if request is None:
            self._ended = True
            self._transport.close()
            self._run.leave()
            return
        self._sent = time.perf_counter()
        self._transport.write(request)


def _length_of(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise RuntimeError(f"an answer without Content-Length: {head!r}")


def _bytes_of(job: Job, method: str, path: str, body: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {urlsplit(job.url).netloc}"]
    headers = dict(job.headers)
    if body:
        headers |= {"Content-Type": "application/json", "Content-Length": str(len(body.encode()))}
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", body]).encode()


async def _load(job: Job) -> Load:
    address = urlsplit(job.url)
    context = ssl.create_default_context(cadata=job.authority) if job.authority else None
    run = _Run(job)
    loop = asyncio.get_running_loop()
    for _ in range(job.connections):
        await loop.create_connection(
            lambda: _Connection(run), address.hostname or "", address.port or 443, ssl=context
        )
    await run.done
    seconds = time.perf_counter() - run.began
    wrong = set(run.statuses) - {str(job.expected).encode()}
    if wrong:
        raise RuntimeError(f"not all answers are {job.expected}: {run.statuses}")
    found = sorted(1000 * one for one in run.latencies)
    return Load(
        requests=len(found),
        seconds=seconds,
        p50=found[len(found) // 2],
        p99=found[min(len(found) - 1, len(found) * 99 // 100)],
        worst=found[-1],
    )


if __name__ == "__main__":
    _job = Job(**json.loads(Path(sys.argv[1]).read_text()))
    print(json.dumps(asdict(asyncio.run(_load(_job)))))
