"""An event loop in a thread of its own, for what has to go on while a test waits."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


class LoopThread:
    """Runs coroutines, and keeps what was entered open until it is closed."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._stack = AsyncExitStack()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loop", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float = 30) -> T:
        """Return what a coroutine returns."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what a function returns that has to be called in the loop."""

        async def called() -> T:
            return function(*args, **kwargs)

        return self.run(called())

    def enter(self, context: AbstractAsyncContextManager[T]) -> T:
        """Enter a context that is left at the end."""
        return self.run(self._stack.enter_async_context(context))

    def close(self) -> None:
        """Leave all contexts and end the thread."""
        self.run(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
