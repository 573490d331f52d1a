"""A container in memory: its state, its output, and the task that plays its program."""

import asyncio
import datetime as dt
import signal
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

from weir_nodedaemon.engines.fake.program import (
    Die,
    EatMemory,
    Exit,
    Sleep,
    Step,
    Trap,
    Write,
    parse,
)
from weir_nodedaemon.engines.port import (
    ContainerSpec,
    InstanceState,
    LogChunk,
    LogPosition,
    ObservedInstance,
    Stream,
)

_IGNORED = frozenset({signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH})
_NO_PROGRAM = 127
_CHUNK_BYTES = 1 << 16


class FakeContainer:
    """One container; ``tell`` is called with the action of every event."""

    def __init__(self, spec: ContainerSpec, tell: Callable[[str], None]) -> None:
        """Create it; it does not run yet."""
        self.spec = spec
        self.seen = ObservedInstance(
            name=spec.name,
            labels=spec.labels,
            state=InstanceState.CREATED,
            cpus=tuple(sorted(spec.cpus)),
            memory_bytes=spec.memory_bytes,
            gpu_uuids=spec.gpu_uuids,
            stop_grace_seconds=spec.stop_grace_seconds,
        )
        self._tell = tell
        self._player: asyncio.Task[None] | None = None
        self._traps: dict[int, int | None] = {}
        self._thawed = asyncio.Event()
        self._frozen = asyncio.Event()
        self._output: deque[LogChunk] = deque()
        self._output_bytes = 0
        self._dropped = 0  # chunks that are not kept any more
        self._dropped_bytes = dict.fromkeys(Stream, 0)
        self._more = asyncio.Event()
        tell("create")

    @property
    def alive(self) -> bool:
        """Whether its program runs or is frozen."""
        return self.seen.state in (InstanceState.RUNNING, InstanceState.PAUSED)

    def start(self) -> None:
        """Begin to play the program."""
        self._thawed.set()
        self._traps.clear()
        self.seen = replace(
            self.seen,
            state=InstanceState.RUNNING,
            started_at=_now(),
            finished_at=None,
            exit_code=None,
            oom_killed=False,
            error="",
        )
        self._tell("start")
        argv = [*(self.spec.command or ()), *(self.spec.args or ())]
        steps = parse(argv, self.spec.env) if argv else []
        if steps is None:
            failure = f"exec {argv[0]} failed: No such file or directory"
            self.write(Stream.STDERR, f"[FATAL tini (7)] {failure}\n".encode())
            self._end(_NO_PROGRAM, error=failure)
        else:
            self._player = asyncio.create_task(self._play(steps), name=f"fake {self.spec.name}")

    def pause(self) -> None:
        """Freeze the program where it is."""
        self._thawed.clear()
        self._frozen.set()
        self.seen = replace(self.seen, state=InstanceState.PAUSED)
        self._tell("pause")

    def resume(self) -> None:
        """Let the program go on."""
        self._frozen.clear()
        self._thawed.set()
        self.seen = replace(self.seen, state=InstanceState.RUNNING)
        self._tell("unpause")

    def signal(self, number: int) -> None:
        """Deliver a signal to the running program."""
        if number in _IGNORED:
            return
        if number == signal.SIGKILL or number not in self._traps:
            self._end(128 + number)
        elif (code := self._traps[number]) is not None:
            self._end(code)

    def move(self, cpus: tuple[int, ...]) -> None:
        """Give it these cores."""
        self.seen = replace(self.seen, cpus=tuple(sorted(cpus)))

    def destroy(self) -> None:
        """Kill it if it runs, and end its followers; those of one never started hear nothing."""
        if self.alive:
            self._end(128 + signal.SIGKILL)
        has_started = self.seen.state is not InstanceState.CREATED
        self.seen = replace(self.seen, state=InstanceState.REMOVING)
        if has_started:
            self._wake()
        self._tell("destroy")

    async def stop_playing(self) -> None:
        """Wait for the end of the task that plays the program."""
        if self._player is not None:
            self._player.cancel()
            await asyncio.gather(self._player, return_exceptions=True)

    async def output(self, after: LogPosition) -> AsyncGenerator[LogChunk, None]:
        """Yield what is written after a position, until the program ends."""
        yield LogChunk(Stream.STDOUT, b"")
        skip = {stream: after.came[stream] - self._dropped_bytes[stream] for stream in Stream}
        if min(skip.values()) < 0:
            yield LogChunk(Stream.STDOUT, b"", gap=True)
        position = self._dropped
        while True:
            more = self._more
            while position < self._dropped + len(self._output):
                chunk = self._output[position - self._dropped]
                position += 1
                left = max(0, skip[chunk.stream])
                skip[chunk.stream] = left - len(chunk.data)
                if left < len(chunk.data):
                    yield LogChunk(chunk.stream, chunk.data[left:])
                if position < self._dropped:
                    position = self._dropped
                    yield LogChunk(Stream.STDOUT, b"", gap=True)
            if self._more is not more:
                continue
            if self.seen.state in (InstanceState.EXITED, InstanceState.REMOVING):
                return
            await more.wait()

    def write(self, stream: Stream, data: bytes) -> None:
        """Append output; the oldest goes when there is too much of it."""
        for start in range(0, len(data), _CHUNK_BYTES):
            chunk = LogChunk(stream, data[start : start + _CHUNK_BYTES])
            self._output.append(chunk)
            self._output_bytes += len(chunk.data)
        while self._output_bytes > self.spec.log_buffer_bytes:
            oldest = self._output.popleft()
            self._output_bytes -= len(oldest.data)
            self._dropped_bytes[oldest.stream] += len(oldest.data)
            self._dropped += 1
        self._wake()

    async def _play(self, steps: list[Step]) -> None:
        for step in steps:
            await self._thawed.wait()
            match step:
                case Write(stream, data):
                    self.write(stream, data)
                case Sleep(seconds):
                    await self._sleep(seconds)
                case Trap(number, code):
                    self._traps[number] = code
                case Exit(code):
                    return self._end(code)
                case Die(number):
                    return self._end(128 + number)
                case EatMemory():
                    self._tell("oom")
                    return self._end(128 + signal.SIGKILL, oom_killed=True)
        await self._thawed.wait()
        return self._end(0)

    async def _sleep(self, seconds: float) -> None:
        clock = asyncio.get_running_loop().time
        while seconds > 0:
            await self._thawed.wait()
            began = clock()
            try:
                async with asyncio.timeout(seconds):
                    await self._frozen.wait()
            except TimeoutError:
                return
            seconds -= clock() - began

    def _end(self, code: int, *, error: str = "", oom_killed: bool = False) -> None:
        self.seen = replace(
            self.seen,
            state=InstanceState.EXITED,
            exit_code=code,
            error=error,
            oom_killed=oom_killed,
            finished_at=_now(),
        )
        if self._player is not None and self._player is not asyncio.current_task():
            self._player.cancel()
        self._wake()
        self._tell("die")

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
