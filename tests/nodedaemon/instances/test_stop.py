"""TERM, the grace, KILL: one way to stop, whoever wants it."""

import asyncio
import datetime as dt
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from weir_nodedaemon.engines.port import EngineUnavailableError, Lifecycle
from weir_nodedaemon.instances.identity import InstanceID, Moment
from weir_nodedaemon.instances.journal import Journal, JournalEntry, StopReason
from weir_nodedaemon.instances.stop import Stopper, stop_step

NOW = Moment(dt.datetime(2026, 11, 22, 10, 0, tzinfo=dt.UTC), 5000.0)
FRESH = JournalEntry("Task", "default", "t")
ID = InstanceID("u", 1)


def later(seconds: float, *, clock: float = 0.0) -> Moment:
    """Return a later moment; the clock was set by so many seconds meanwhile."""
    return Moment(NOW.at + dt.timedelta(seconds=seconds + clock), NOW.uptime + seconds)


def test_term_then_the_grace_then_kill() -> None:
    first = stop_step(FRESH, StopReason.KILLED, 10, NOW)
    assert (first.signal, first.requeue_after) == (signal.SIGTERM, 10)
    assert first.entry.stop_reason is StopReason.KILLED
    assert first.entry.stop_noted == NOW.at

    sent = replace(first.entry, term_sent=True)
    waits = stop_step(sent, StopReason.KILLED, 10, later(4))
    assert (waits.signal, waits.requeue_after) == (None, 6)
    over = stop_step(sent, StopReason.KILLED, 10, later(10))
    assert (over.signal, over.requeue_after) == (signal.SIGKILL, 2)


def test_a_term_that_was_noted_and_not_sent_is_sent_with_its_whole_grace() -> None:
    noted = stop_step(FRESH, StopReason.KILLED, 10, NOW).entry
    again = stop_step(noted, StopReason.KILLED, 10, later(7))
    assert (again.signal, again.requeue_after) == (signal.SIGTERM, 10)


def test_without_a_grace_there_is_no_term() -> None:
    assert stop_step(FRESH, StopReason.KILLED, 0, NOW).signal is signal.SIGKILL
    assert stop_step(FRESH, StopReason.HOST_LOST, -3, NOW).signal is signal.SIGKILL


@pytest.mark.parametrize("clock", [-3600, 3600])
def test_a_clock_that_is_set_moves_no_kill(clock: float) -> None:
    sent = replace(stop_step(FRESH, StopReason.KILLED, 10, NOW).entry, term_sent=True)
    assert stop_step(sent, StopReason.KILLED, 10, later(9, clock=clock)).requeue_after == 1
    assert stop_step(sent, StopReason.KILLED, 10, later(10, clock=clock)).signal is signal.SIGKILL


def test_the_fence_brings_a_kill_forward_and_never_puts_it_back() -> None:
    sent = replace(stop_step(FRESH, StopReason.SUSPENDED, 60, NOW).entry, term_sent=True)
    hurried = stop_step(sent, StopReason.HOST_LOST, 5, later(1))
    assert (hurried.signal, hurried.requeue_after) == (None, 5)
    assert hurried.entry.stop_reason is StopReason.SUSPENDED  # the first one stays
    assert hurried.entry.stop_noted == NOW.at
    assert stop_step(hurried.entry, StopReason.SUSPENDED, 60, later(2)).requeue_after == 4


def test_a_kill_noted_before_a_reboot_is_not_waited_for_longer_than_a_grace() -> None:
    sent = replace(FRESH, term_sent=True, kill_uptime=NOW.uptime + 1_000_000)
    assert stop_step(sent, StopReason.KILLED, 10, NOW).requeue_after == 10


class Deaf:
    """An engine that does not take the first signal."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.away = True

    async def signal(self, name: str, signal_number: int) -> None:
        """Fail once."""
        if self.away:
            self.away = False
            raise EngineUnavailableError("no answer")
        self.sent.append(signal_number)


async def test_a_restart_goes_on_with_a_stop_where_it_was(tmp_path: Path) -> None:
    moment = NOW
    engine: Any = Deaf()

    async def step(journal: Journal) -> float:
        stopper = Stopper(journal, lambda: moment)
        return await stopper.stop(cast(Lifecycle, engine), ID, FRESH, StopReason.KILLED, 10)

    journal = Journal(tmp_path)
    with pytest.raises(EngineUnavailableError):
        await step(journal)
    assert await step(journal) == 10
    await journal.close()

    moment = later(4)
    restarted = Journal(tmp_path)
    assert await step(restarted) == 6
    moment = later(10)
    await step(restarted)
    assert engine.sent == [signal.SIGTERM, signal.SIGKILL]
    await restarted.close()


async def test_a_disk_that_stands_still_holds_no_signal_up_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And none at all where the stop is the fence's."""
    engine = Deaf()
    engine.away = False
    released = asyncio.Event()
    journal = Journal(tmp_path)

    async def never(id: InstanceID) -> None:
        await released.wait()

    monkeypatch.setattr(journal, "flush", never)
    stopper = Stopper(journal, lambda: NOW)
    await stopper.stop(cast(Lifecycle, engine), ID, FRESH, StopReason.HOST_LOST, 10, flush=False)
    assert engine.sent == [signal.SIGTERM]
    await journal.close()
