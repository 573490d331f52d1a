"""Passwords: what is kept tells nothing, and the event loop goes on."""

import asyncio
import io
import time
from collections.abc import Iterator

import pytest

from weir_api.access.passwords import Passwords, hash_password_command
from weir_api.errors import UnavailableError
from weir_crds.user import User


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords()
    yield made
    made.close()


async def test_a_hash_is_for_its_password_only(passwords: Passwords) -> None:
    hashed = await passwords.hash("difference engine")
    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert "difference" not in hashed
    assert hashed != await passwords.hash("difference engine")  # each with a salt of its own
    assert await passwords.verify(hashed, "difference engine")
    assert not await passwords.verify(hashed, "difference Engine")
    assert not await passwords.verify(hashed, "")


async def test_a_hash_is_what_a_user_may_hold(passwords: Passwords) -> None:
    hashed = await passwords.hash("difference engine")
    User.model_validate({"metadata": {"name": "ada"}, "spec": {"passwordHash": hashed}})


async def test_a_password_is_the_same_on_every_keyboard(passwords: Passwords) -> None:
    hashed = await passwords.hash("caf\u00e9 caf\u00e9")
    assert await passwords.verify(hashed, "cafe\u0301 cafe\u0301")


@pytest.mark.parametrize(
    "password", ["x" * 1024, "太" * 1024, "\x00\x01 with controls", "\ud800 lone"]
)
async def test_any_password_will_do(password: str, passwords: Passwords) -> None:
    assert await passwords.verify(await passwords.hash(password), password)


@pytest.mark.parametrize("hashed", ["", "$argon2id$", "plain", "$2b$12$" + "x" * 53])
async def test_what_is_no_hash_is_nobodys_password(hashed: str, passwords: Passwords) -> None:
    assert not await passwords.verify(hashed, "difference engine")


async def test_nobodys_password_takes_as_long_as_anybodys(passwords: Passwords) -> None:
    hashed = await passwords.hash("difference engine")

    async def cpu_seconds(of: str | None) -> float:
        began = time.process_time()  # a busy machine takes longer, and no more of this
        assert not await passwords.verify(of, "wrong wrong")
        return time.process_time() - began

    took = [(await cpu_seconds(hashed), await cpu_seconds(None)) for _ in range(5)]
    known, unknown = map(min, zip(*took, strict=True))
    assert unknown > known / 3, took


async def test_the_secret_that_stands_for_nobody_is_nobodys(passwords: Passwords) -> None:
    assert not await passwords.verify(None, "nobody has this password")


async def test_too_many_at_once_are_refused_at_once_and_served_later() -> None:
    passwords = Passwords(threads=1, waiting=2)
    try:
        results = await asyncio.gather(
            *(passwords.hash("difference engine") for _ in range(6)), return_exceptions=True
        )
        refused = [one for one in results if isinstance(one, UnavailableError)]
        assert len(refused) == 3
        assert len([one for one in results if isinstance(one, str)]) == 3
        assert await passwords.hash("difference engine")
    finally:
        passwords.close()


async def test_a_caller_that_leaves_frees_its_place_when_the_thread_is_done() -> None:
    passwords = Passwords(threads=1, waiting=0)
    try:
        leaving = asyncio.create_task(passwords.hash("difference engine"))
        await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        deadline = time.monotonic() + 60
        while True:
            try:
                assert await passwords.hash("difference engine")
                break
            except UnavailableError:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)
    finally:
        passwords.close()


async def test_the_command_prints_what_a_user_may_hold(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("difference engine\n"))
    assert hash_password_command() == 0
    assert await passwords.verify(capsys.readouterr().out.strip(), "difference engine")


def test_the_command_refuses_a_short_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    assert hash_password_command() == 1
    got = capsys.readouterr()
    assert got.out == ""
    assert "8 to 1024" in got.err
