"""Asks the daemons again and again how busy their machines are."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from weir_api.hostapi.nodes.figures import NO_FIGURES, Figures, figures_of_daemon
from weir_crds import conditions
from weir_crds.conditions import ConditionType
from weir_crds.daemon_endpoint import NotContactedError, daemon_endpoint
from weir_crds.errors import WeirError
from weir_kube.store import Object, Objects

logger = logging.getLogger(__name__)

PATH = "/v1/stats"
QUERY = {"tasks": "false"}

_PERIOD_SECONDS = 1.0
_REQUESTS_PER_SECOND = 50
# The first answer takes longer: the daemon asks the API server who we are.
_DEADLINE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 30.0
# So many looks may fail before what was told last counts for nothing.
_LOOKS_KEPT = 10


class JsonSource(Protocol):
    """Asks a daemon for one answer (``weir_kube.daemons.Daemons`` does)."""

    async def get_json(
        self, host: Object, path: str, query: Mapping[str, str], seconds: float
    ) -> Any:
        """Return the answer; raises WeirError."""
        ...


@dataclass(slots=True)
class _Seen:
    figures: Figures = NO_FIGURES
    at: float = float("-inf")
    failures: int = 0
    not_before: float = float("-inf")
    is_asking: bool = False


class Sampler:
    """Looks at each host that is ready once a second, or as often as many hosts allow."""

    def __init__(
        self,
        daemons: JsonSource,
        hosts: Callable[[], Objects],
        *,
        clock: Callable[[], float] = time.monotonic,
        period_seconds: float = _PERIOD_SECONDS,
    ) -> None:
        """Ask nobody yet.

        Args:
            daemons: who is asked.
            hosts: all Hosts there are.
            clock: monotonic seconds.
            period_seconds: between two looks at one host, where there are few.
        """
        self._daemons = daemons
        self._hosts = hosts
        self._clock = clock
        self._period_seconds = period_seconds
        self._round_seconds = period_seconds
        self._seen: dict[str, _Seen] = {}

    def figures(self, host: str) -> Figures:
        """Return what a host told last, if that was not long ago."""
        seen = self._seen.get(host)
        if seen is None or self._clock() - seen.at > _LOOKS_KEPT * self._round_seconds:
            return NO_FIGURES
        return seen.figures

    async def run(self) -> NoReturn:
        """Look until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                begun = self._clock()
                hosts = [host for host in self._hosts() if is_asked(host)]
                names = {host["metadata"]["name"] for host in hosts}
                self._seen = {name: seen for name, seen in self._seen.items() if name in names}
                seconds = max(self._period_seconds, len(hosts) / _REQUESTS_PER_SECOND)
                self._round_seconds = seconds
                for number, host in enumerate(hosts):
                    await self._until(begun + seconds * number / len(hosts))
                    seen = self._seen.setdefault(host["metadata"]["name"], _Seen())
                    if not seen.is_asking and self._clock() >= seen.not_before:
                        seen.is_asking = True
                        group.create_task(self._sample(host, seen))
                await self._until(begun + seconds)

    async def _until(self, then: float) -> None:
        await asyncio.sleep(max(0.0, then - self._clock()))

    async def _sample(self, host: Object, seen: _Seen) -> None:
        name = host["metadata"]["name"]
        try:
            answer = await self._daemons.get_json(host, PATH, QUERY, _DEADLINE_SECONDS)
            figures = figures_of_daemon(answer)
        except WeirError as error:
            seen.failures += 1
            if seen.failures == 1:
                logger.warning("no figures of host=%s: %s", name, error)
            pause = min(self._round_seconds * 2**seen.failures, _LONGEST_PAUSE_SECONDS)
            seen.not_before = self._clock() + pause * random.uniform(0.5, 1.0)  # noqa: S311
        except Exception:
            logger.exception("figures of host=%s", name)
            seen.not_before = self._clock() + _LONGEST_PAUSE_SECONDS
        else:
            if seen.failures:
                logger.info("figures of host=%s again", name)
            seen.failures, seen.not_before = 0, float("-inf")
            seen.figures, seen.at = figures, self._clock()
        finally:
            seen.is_asking = False


def is_asked(host: Object) -> bool:
    """Tell whether a Host has a daemon of ours that should answer."""
    try:
        daemon_endpoint(host)
    except NotContactedError:
        return False
    return conditions.is_true(host, ConditionType.READY)
