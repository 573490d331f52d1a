"""What the caches do not have: asked of the API server once, and not for every piece of garbage."""

import time
from collections import OrderedDict
from collections.abc import Callable

from weir_api.errors import UnavailableError
from weir_api.state.writer import Writer
from weir_crds.kinds import Kind
from weir_kube.errors import ApiError
from weir_kube.store import Key

_UNKNOWN_SECONDS = 3.0
_MAX_UNKNOWN = 10_000
_PER_SECOND = 20.0
_AT_ONCE = 40.0


class Lookups:
    """Asks for single Users and AccessTokens that another replica may have made just now."""

    def __init__(self, writer: Writer, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Ask through ``writer``, which puts what it finds into the caches.

        A name that is unknown is not asked for again for some seconds; beyond 20 questions a
        second nothing is asked, so that made-up tokens cost the API server no more than that.
        """
        self._writer = writer
        self._clock = clock
        self._unknown: OrderedDict[tuple[Kind, str], float] = OrderedDict()
        self._allowance = _AT_ONCE
        self._counted = clock()

    async def find(self, kind: Kind, name: str) -> bool:
        """Tell whether there is such an object; it is in the caches then.

        Raises:
            UnavailableError: the API server cannot be asked now.
        """
        now = self._clock()
        if self._unknown.get((kind, name), 0.0) > now or not self._may_ask(now):
            return False
        try:
            found = await self._writer.fresh(kind, Key("", name))
        except ApiError as exc:
            # Anybody may ask: where our API server is, is not theirs to know.
            raise UnavailableError("accounts cannot be looked up now") from exc
        if found is not None:
            return True
        self._unknown[kind, name] = self._clock() + _UNKNOWN_SECONDS
        self._unknown.move_to_end((kind, name))
        while len(self._unknown) > _MAX_UNKNOWN:
            self._unknown.popitem(last=False)
        return False

    def _may_ask(self, now: float) -> bool:
        passed, self._counted = now - self._counted, now
        self._allowance = min(self._allowance + passed * _PER_SECOND, _AT_ONCE)
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True
