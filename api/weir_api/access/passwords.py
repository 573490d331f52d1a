"""Passwords: hashed with argon2id, on threads of their own, so that the event loop goes on."""

import asyncio
import getpass
import sys
import unicodedata
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from weir_api.errors import UnavailableError

MIN_LENGTH = 8
MAX_LENGTH = 1024

# What OWASP's password storage cheat sheet recommends for argon2id: 19 MiB, two passes.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1, type=Type.ID)

T = TypeVar("T")


class Passwords:
    """Hashes and compares; when too many wait for it, the next is refused at once."""

    def __init__(self, *, threads: int = 2, waiting: int = 64) -> None:
        """Start no thread yet.

        Args:
            threads: how many hashes are made at once; each takes 19 MiB for some 25 ms.
            waiting: how many more may wait for a thread.
        """
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="passwords")
        self._places = threads + waiting
        # What is compared with when there is no such user: an answer must not tell by its time.
        self._nobodys = _hash("nobody has this password")

    def close(self) -> None:
        """End the threads; what waits is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """Return what is kept of a password; raises UnavailableError."""
        return await self._run(lambda: _hash(password))

    async def verify(self, hashed: str | None, password: str) -> bool:
        """Tell whether it is the password of that hash; None: nobody's, which takes as long.

        Raises:
            UnavailableError: too many wait.
        """
        return await self._run(lambda: _verify(hashed, self._nobodys, password))

    async def _run(self, work: Callable[[], T]) -> T:
        if self._places <= 0:
            raise UnavailableError("too many logins at once; try again")
        self._places -= 1
        loop = asyncio.get_running_loop()
        future = self._pool.submit(work)
        # A thread cannot be cancelled: its place is free when it is done, not when nobody waits.
        future.add_done_callback(lambda done: self._release(loop, done))
        return await asyncio.wrap_future(future)

    def _release(self, loop: asyncio.AbstractEventLoop, _: "Future[T]") -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._free_place)

    def _free_place(self) -> None:
        self._places += 1


def hash_password_command() -> int:
    """Print the hash of a password for the ``passwordHash`` of a User that kubectl makes.

    The password is asked for twice on a terminal, and is the first line of any other input.
    """
    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != password:
            sys.stderr.write("These are two different passwords.\n")
            return 1
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        sys.stderr.write(f"A password has {MIN_LENGTH} to {MAX_LENGTH} characters.\n")
        return 1
    sys.stdout.write(_hash(password) + "\n")
    return 0


def _hash(password: str) -> str:
    return _HASHER.hash(_bytes(password))


def _verify(hashed: str | None, nobodys: str, password: str) -> bool:
    try:
        _HASHER.verify(hashed if hashed is not None else nobodys, _bytes(password))
    except (VerificationError, InvalidHashError):
        return False
    return hashed is not None


def _bytes(password: str) -> bytes:
    # Keyboards differ in how they compose an é; the person typed the same.
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
