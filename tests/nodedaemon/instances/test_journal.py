"""Notes about runs: whole or not at all, and never in the way."""

import datetime as dt
from pathlib import Path

import pytest

from weir_nodedaemon.instances.journal import InstanceID, Journal, JournalEntry, StopReason

NOW = dt.datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=dt.UTC)
RUN = InstanceID("u-1", 2)
FULL = JournalEntry(
    namespace="default",
    name="t",
    started=True,
    stop_reason=StopReason.TIMED_OUT,
    stop_deadline=NOW,
    term_sent=True,
    paused_since=NOW,
    paused_seconds=1.5,
)


@pytest.mark.parametrize("record", [FULL, JournalEntry("default", "t")])
def test_a_record_outlives_the_process(tmp_path: Path, record: JournalEntry) -> None:
    Journal(tmp_path).put(RUN, record)

    assert Journal(tmp_path).get(RUN) == record


def test_what_is_removed_is_gone_for_all_runs(tmp_path: Path) -> None:
    store = Journal(tmp_path)
    for run in (RUN, InstanceID("u-1", 3), InstanceID("u-2", 1)):
        store.put(run, FULL)

    store.remove("u-1")

    assert store.get(RUN) is None
    assert Journal(tmp_path).uids().keys() == {"u-2"}


def test_a_file_that_is_no_record_is_left_out(tmp_path: Path) -> None:
    Journal(tmp_path).put(RUN, FULL)
    (tmp_path / "u-9-1.json").write_text('{"uid": "u-9"')
    (tmp_path / "u-8-1.tmp").write_text("half")

    store = Journal(tmp_path)

    assert store.uids().keys() == {"u-1"}
    assert not list(tmp_path.glob("*.tmp"))


def test_a_disk_that_refuses_costs_only_the_file(tmp_path: Path) -> None:
    store = Journal(tmp_path / "runs")
    (tmp_path / "runs").rmdir()

    store.put(RUN, FULL)

    assert store.get(RUN) == FULL


def test_an_unchanged_record_is_not_written_again(tmp_path: Path) -> None:
    store = Journal(tmp_path)
    store.put(RUN, FULL)
    (file,) = tmp_path.glob("*.json")
    before = file.stat().st_mtime_ns

    store.put(RUN, FULL)

    assert file.stat().st_mtime_ns == before
