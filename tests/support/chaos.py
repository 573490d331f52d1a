"""Single faults, drawn by chance, struck at a running Weir and taken back."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from support import faults
from support.api_proxy import ApiProxy, when
from support.faulty_system import FaultySystem
from support.http_proxy import HttpProxy

_WRITES = ("POST", "PUT", "PATCH", "DELETE")


def _writes(request: web.Request) -> bool:
    return request.method in _WRITES


@dataclass
class Chaos:
    """Strikes a system with faults.

    Attributes:
        told: what was done, for a failure's message.
    """

    system: FaultySystem
    chance: random.Random
    told: list[str] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)
    _ends: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def strike(self) -> None:
        """Do one thing that should not happen."""
        of_servers = [self._hold, self._cut, self._refuse, self._lose_answers, self._fail]
        of_api_servers = [self._delay, self._drop, self._expire, self._drop_events]
        of_components = [self._crash, self._kill, self._freeze]
        choice = [
            (fault, name, proxy)
            for name, proxy in self.system.api.items()
            for fault in of_servers + of_api_servers + of_components
        ]
        docker = [(fault, "daemon", self.system.docker) for fault in [*of_servers, self._crash]]
        fault, target, proxy = self.chance.choice([*choice, *docker])
        fault(target, proxy)

    def tick(self) -> None:
        """Take back what has lasted long enough."""
        now = time.monotonic()
        for end in [end for end in self._ends if end[0] <= now]:
            self._ends.remove(end)
            end[1]()

    def end(self) -> None:
        """Take everything back."""
        for _, end in self._ends:
            end()
        self._ends.clear()
        self.system.heal()

    # --- faults of any server

    def _hold(self, target: str, proxy: HttpProxy) -> None:
        seconds = self.chance.uniform(0.3, 2.5)
        self._say(f"{_name(target, proxy)} does not answer for {seconds:.1f} s")
        self._call(proxy.hold)
        self._later(seconds, lambda: self._call(proxy.release))

    def _cut(self, target: str, proxy: HttpProxy) -> None:
        self._say(f"{_name(target, proxy)}: all connections are cut")
        self._call(proxy.cut)

    def _refuse(self, target: str, proxy: HttpProxy) -> None:
        times = self.chance.randint(1, 6)
        self._say(f"{_name(target, proxy)}: {times} requests are cut before they arrive")
        faults.refuse(proxy, self._some(), times)

    def _lose_answers(self, target: str, proxy: HttpProxy) -> None:
        times = self.chance.randint(1, 4)
        self._say(f"{_name(target, proxy)}: the answers to {times} writes get lost")
        faults.lose_answer(proxy, _writes, times)

    def _fail(self, target: str, proxy: HttpProxy) -> None:
        times = self.chance.randint(1, 6)
        # A 500 of Docker is its verdict on a container that it cannot start.
        statuses = [429, 500, 503, 409] if isinstance(proxy, ApiProxy) else [503]
        status = self.chance.choice(statuses)
        self._say(f"{_name(target, proxy)}: {times} times {status}")
        headers = {"Retry-After": "1"} if status == 429 else None
        proxy.fail(times, status, when=_writes if status == 409 else self._some(), headers=headers)

    # --- faults of the API server

    def _delay(self, target: str, proxy: HttpProxy) -> None:
        seconds, lasts = self.chance.uniform(0.05, 0.6), self.chance.uniform(0.5, 2)
        self._say(f"{_name(target, proxy)}: each request takes {seconds:.2f} s longer")
        rule = faults.delay(proxy, seconds, self._some())
        self._later(lasts, lambda: proxy.remove_rule(rule))

    def _drop(self, target: str, proxy: HttpProxy) -> None:
        times = self.chance.randint(1, 3)
        self._say(f"{_name(target, proxy)}: {times} requests are never answered")
        faults.drop(proxy, self._some(), times)

    def _expire(self, target: str, proxy: HttpProxy) -> None:
        assert isinstance(proxy, ApiProxy)
        self._say(f"{_name(target, proxy)}: all watches end with 410")
        self._call(proxy.expire_watches)

    def _drop_events(self, target: str, proxy: HttpProxy) -> None:
        assert isinstance(proxy, ApiProxy)
        every, lasts = self.chance.randint(1, 4), self.chance.uniform(0.3, 2)
        self._say(f"{_name(target, proxy)}: of the events one in {every} gets lost for a while")
        proxy.drop_every = every

        def end() -> None:
            # A server that cannot keep a watcher up to date ends its watch.
            proxy.drop_every = 0
            self._call(proxy.expire_watches)

        self._later(lasts, end)

    # --- faults of a component

    def _crash(self, target: str, proxy: HttpProxy) -> None:
        number, answered = self.chance.randint(1, 5), self.chance.random() < 0.5
        how = "answered" if answered else "done and not answered"
        self._say(f"{target} is killed when write {number} to {_name(target, proxy)} was {how}")
        counted = when("write", resource="tasks") if isinstance(proxy, ApiProxy) else _writes
        kill = self.system.killer(target)
        faults.crash_after(proxy, counted, kill, answered=answered, number=number)

    def _kill(self, target: str, proxy: HttpProxy) -> None:
        self._say(f"{target} is killed")
        self.system.killer(target)()

    def _freeze(self, target: str, proxy: HttpProxy) -> None:
        seconds = self.chance.uniform(0.3, 2.5)
        self._say(f"{target} stands still for {seconds:.1f} s")
        process = self.system.process(target)
        if process.running():
            process.freeze()
            self._later(seconds, process.thaw)

    # --- how

    def _some(self) -> Callable[[web.Request], bool]:
        return self.chance.choice([faults.anything, _writes, lambda request: not _writes(request)])

    def _say(self, what: str) -> None:
        self.told.append(f"{time.monotonic() - self._began:5.2f} s  {what}")

    def _call(self, function: Callable[[], None]) -> None:
        self.system.loop.call(function)

    def _later(self, seconds: float, end: Callable[[], None]) -> None:
        self._ends.append((time.monotonic() + seconds, end))


def _name(target: str, proxy: HttpProxy) -> str:
    return f"{target}'s API server" if isinstance(proxy, ApiProxy) else "Docker"
