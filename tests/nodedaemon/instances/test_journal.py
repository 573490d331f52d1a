"""Notes about instances: whole or not at all, and never in the way."""

import asyncio
import datetime as dt
import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from weir_nodedaemon.instances import journal as journal_module
from weir_nodedaemon.instances.fence_limits import FenceLimits
from weir_nodedaemon.instances.identity import InstanceID
from weir_nodedaemon.instances.journal import Ended, Journal, JournalEntry, StopReason

NOW = dt.datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=dt.UTC)
RUN = InstanceID("u-1", 2)
FULL = JournalEntry(
    kind="Task",
    namespace="default",
    name="t",
    started=True,
    started_uptime=12.5,
    stop_reason=StopReason.TIMED_OUT,
    stop_noted=NOW,
    stop_uptime=89.5,
    kill_uptime=99.25,
    term_sent=True,
    paused_uptime=50.0,
    paused_seconds=1.5,
    ended=Ended(137, True, "", NOW, NOW),
    fence=FenceLimits(20.0, 30.0),
)


def notes(folder: Path, suffix: str = "json") -> list[Path]:
    return list(folder.glob(f"*.{suffix}"))


async def noted(folder: Path, *entries: tuple[InstanceID, JournalEntry]) -> None:
    """Note these, as a daemon that then ends."""
    journal = Journal(folder)
    for id, entry in entries:
        journal.put(id, entry)
    await journal.close()


@pytest.mark.parametrize("entry", [FULL, JournalEntry("Task", "default", "t")])
async def test_a_note_outlives_the_process(tmp_path: Path, entry: JournalEntry) -> None:
    await noted(tmp_path, (RUN, entry))

    assert Journal(tmp_path).get(RUN) == entry


async def test_what_is_flushed_is_on_the_disk(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.put(RUN, JournalEntry("Task", "default", "t"))
    journal.put(RUN, FULL)
    await journal.flush(RUN)

    assert Journal(tmp_path).get(RUN) == FULL
    await journal.close()


async def test_who_waits_for_a_note_waits_for_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_GATHER_SECONDS", 3600.0)
    journal = Journal(tmp_path)
    for seconds in (1.0, 2.0):
        entry = replace(FULL, started_uptime=seconds)
        journal.put(RUN, entry)
        await asyncio.sleep(0)  # what writes behind waits for more
        await journal.flush(RUN)

        assert Journal(tmp_path).get(RUN) == entry
    journal.put(RUN, FULL)
    await journal.close()

    assert Journal(tmp_path).get(RUN) == FULL


async def test_what_is_removed_is_gone_for_all_incarnations(tmp_path: Path) -> None:
    await noted(tmp_path, *((id, FULL) for id in (RUN, InstanceID("u-1", 3), InstanceID("u-2", 1))))
    journal = Journal(tmp_path)

    await journal.remove("u-1")

    assert journal.get(RUN) is None
    assert Journal(tmp_path).objects().keys() == {"u-2"}


async def test_what_is_removed_while_it_is_written_does_not_come_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.put(RUN, FULL)
    await journal.remove("u-1")
    await journal.close()

    assert not notes(tmp_path)


async def test_a_file_that_is_no_note_is_left_out(tmp_path: Path) -> None:
    await noted(tmp_path, (RUN, FULL))
    (tmp_path / "u-9-1.json").write_text('{"uid": "u-9"')
    (tmp_path / "u-8-1.json").write_text("")  # as after a power cut
    (tmp_path / "u-8-1.tmp").write_text("half")

    journal = Journal(tmp_path)

    assert journal.objects().keys() == {"u-1"}
    assert not notes(tmp_path, "tmp")


async def test_a_disk_that_refuses_costs_only_the_file(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "runs")
    (tmp_path / "runs").rmdir()

    journal.put(RUN, FULL)
    await journal.flush(RUN)

    assert journal.get(RUN) == FULL
    await journal.close()


async def test_a_disk_that_stands_still_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stands_still = threading.Event()
    monkeypatch.setattr(journal_module, "_FLUSH_SECONDS", 0.05)
    monkeypatch.setattr(journal_module, "write_json", lambda *_, **__: stands_still.wait(30))
    journal = Journal(tmp_path)

    journal.put(RUN, FULL)
    await journal.flush(RUN)

    assert journal.get(RUN) == FULL
    assert not notes(tmp_path)
    stands_still.set()
    await journal.close()


async def test_notes_that_follow_each_other_closely_are_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    monkeypatch.setattr(journal_module, "write_json", lambda path, *_, **__: written.append(path))
    journal = Journal(tmp_path)

    for seconds in (1.0, 2.0, 3.0):
        journal.put(RUN, replace(FULL, started_uptime=seconds))
        await asyncio.sleep(0)  # what writes behind has its turn
    await journal.close()

    assert len(written) == 1


async def test_an_unchanged_note_is_not_written_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.put(RUN, FULL)
    await journal.flush(RUN)
    (file,) = notes(tmp_path)
    before = file.stat().st_mtime_ns

    journal.put(RUN, FULL)
    await journal.close()

    assert file.stat().st_mtime_ns == before


async def test_a_note_of_an_earlier_version_keeps_what_it_says(tmp_path: Path) -> None:
    """A suspension that an upgrade falls into stays one; its deadlines begin anew."""
    old = {
        "uid": "u-1",
        "run": 2,
        "namespace": "default",
        "name": "t",
        "started": True,
        "stop_reason": "Suspended",
        "stop_noted": NOW.isoformat(),
        "stop_deadline": NOW.isoformat(),
        "term_sent": True,
        "paused_since": None,
        "paused_seconds": 1.5,
    }
    (tmp_path / "u-1-2.json").write_text(json.dumps(old))
    assert Journal(tmp_path).get(RUN) == JournalEntry(
        "Task",
        "default",
        "t",
        started=True,
        stop_reason=StopReason.SUSPENDED,
        stop_noted=NOW,
        paused_seconds=1.5,
    )


async def test_a_note_of_a_later_version_keeps_what_is_known(tmp_path: Path) -> None:
    await noted(tmp_path, (RUN, FULL))
    (file,) = notes(tmp_path)
    file.write_text(json.dumps({**json.loads(file.read_text()), "new": 1}))
    assert Journal(tmp_path).get(RUN) == FULL
