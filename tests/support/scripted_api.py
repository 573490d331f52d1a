"""An API port whose answers a test writes down beforehand: lists, and watches event by event."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

from support.virtual_time import virtual_clock
from weir_kube.answers import Event
from weir_kube.api import ObjectList
from weir_kube.errors import ApiError
from weir_kube.store import Object

Step = Event | float | ApiError | None


def config_map(name: str, version: int) -> Object:
    return {"metadata": {"name": name, "namespace": "ns", "resourceVersion": str(version)}}


def event(type: str, name: str, version: int) -> Event:
    return Event(type, config_map(name, version))


def bookmark(version: int) -> Event:
    return Event("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})


class ScriptedApi:
    """Answers as told; then each list is the last one again, and each watch is silent.

    Attributes:
        lists: answers to lists to come: an error, or the objects and their version.
        watches: what the watches to come show: events, pauses in seconds, at last perhaps an
            error; one of no more steps ends.
        asked: when what was asked for: ``list``, or ``watch <version>``.
    """

    def __init__(self) -> None:
        self.lists: list[ApiError | ObjectList] = []
        self.watches: list[list[Step] | ApiError] = []
        self.asked: list[tuple[float, str]] = []
        self._last = ObjectList([], "1")

    def times(self, what: str) -> list[float]:
        """Return when lists, or watches, were asked for."""
        return [at for at, asked in self.asked if asked.split()[0] == what]

    async def list(self, *_args: Any, **_options: Any) -> ObjectList:
        """As ``Api.list``."""
        self.asked.append((virtual_clock(), "list"))
        await asyncio.sleep(0)
        answer = self.lists.pop(0) if self.lists else self._last
        if isinstance(answer, ApiError):
            raise answer
        self._last = answer
        return answer

    async def watch(
        self,
        _kind: Any,
        resource_version: str,
        *_selectors: Any,
        on_open: Callable[[], None] | None = None,
    ) -> AsyncGenerator[Event, None]:
        """As ``Api.watch``; silence ends it after 150 s."""
        self.asked.append((virtual_clock(), f"watch {resource_version}"))
        await asyncio.sleep(0)
        steps = self.watches.pop(0) if self.watches else [150.0]
        if isinstance(steps, ApiError):
            raise steps
        assert on_open is not None
        on_open()
        for step in steps:
            if isinstance(step, ApiError):
                raise step
            if isinstance(step, float):
                await asyncio.sleep(step)
            elif step is not None:
                yield step
