"""The requests that are being answered: an end waits for them."""

import asyncio


class UnderWay:
    """Counts them; once it ``ends``, connections are closed with their next answer."""

    def __init__(self) -> None:
        """Nothing is under way."""
        self.ends = False
        self.count = 0
        self._none = asyncio.Event()
        self._none.set()

    def enter(self) -> None:
        """A request has come."""
        self.count += 1
        self._none.clear()

    def leave(self) -> None:
        """Its answer has been made, and sent if it streams."""
        self.count -= 1
        if not self.count:
            self._none.set()

    async def drain(self, seconds: float) -> bool:
        """Let requests under way end; False when some are left after so many seconds."""
        self.ends = True
        try:
            async with asyncio.timeout(seconds):
                await self._none.wait()
        except TimeoutError:
            return False
        return True
