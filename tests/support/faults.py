"""What can go wrong between a component and a server it uses, as rules for a proxy before it.

Each function makes one rule, tells the proxy, and returns it, so that it can be taken back.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from support.http_proxy import Answer, HttpProxy, Rule, hang_up

When = Callable[[web.Request], bool]


def anything(_: web.Request) -> bool:
    """Hold for every request."""
    return True


def refuse(proxy: HttpProxy, when: When = anything, times: int = 1) -> Rule:
    """Cut the connection of the next requests before the server sees them."""

    async def act(request: web.Request) -> Answer:
        hang_up(request)

    return _limited(proxy, when, times, act)


def lose_answer(proxy: HttpProxy, when: When = anything, times: int = 1) -> Rule:
    """Let the server do what the next requests ask, and cut the connection before its answer."""

    async def act(request: web.Request) -> Answer:
        await proxy.perform(request)
        hang_up(request)

    return _limited(proxy, when, times, act)


def drop(proxy: HttpProxy, when: When = anything, times: int = 1) -> Rule:
    """Never answer the next requests: the server hears nothing of them, the caller nothing more."""

    async def act(request: web.Request) -> Answer:
        proxy.dropped.append(request)
        await asyncio.Event().wait()
        return None

    return _limited(proxy, when, times, act)


def delay(proxy: HttpProxy, seconds: float, when: When = anything) -> Rule:
    """Pass each request on only after so long."""

    async def rule(request: web.Request) -> Answer:
        if when(request):
            await asyncio.sleep(seconds)
        return None

    proxy.add_rule(rule)
    return rule


@dataclass
class CrashPoint:
    """The moment right after a write, at which ``act`` is called.

    Attributes:
        number: which of the matching writes, from 1; None: each.
        answered: whether the caller hears the answer before.
        seen: the writes that matched.
        struck: how often the moment came.
    """

    proxy: HttpProxy
    when: When
    act: Callable[[], None]
    number: int | None
    answered: bool
    seen: list[str] = field(default_factory=list)
    struck: int = 0

    async def rule(self, request: web.Request) -> Answer:
        """Count a request, and act when it is the one."""
        if not self.when(request):
            return None
        self.seen.append(f"{request.method} {request.path_qs}")
        if self.number not in (None, len(self.seen)):
            return None
        if self.answered:
            try:
                answer = await self.proxy.forward(request)
                await answer.write_eof()
                await asyncio.sleep(0.001)  # the caller has it, perhaps begins with what follows
            finally:  # also when the blow after the write before has cut this one off
                self._strike()
            return answer
        await self.proxy.perform(request)
        self._strike()
        return hang_up(request)

    def _strike(self) -> None:
        self.struck += 1
        self.act()


def crash_after(
    proxy: HttpProxy,
    when: When,
    act: Callable[[], None],
    *,
    answered: bool,
    number: int | None = None,
) -> CrashPoint:
    """Call ``act`` right after a write has taken effect.

    Args:
        proxy: before the server.
        when: which requests are counted.
        act: kills the component that sends them.
        answered: whether it hears the answer before.
        number: of the write, from 1; None: after each.
    """
    point = CrashPoint(proxy, when, act, number, answered)
    proxy.add_rule(point.rule)
    return point


def _limited(proxy: HttpProxy, when: When, times: int, act: Callable[[web.Request], Any]) -> Rule:
    left = times

    async def rule(request: web.Request) -> Answer:
        nonlocal left
        if left <= 0 or not when(request):
            return None
        left -= 1
        answer: Answer = await act(request)
        return answer

    proxy.add_rule(rule)
    return rule
