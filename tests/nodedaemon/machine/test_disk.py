"""When the disk of the state directory counts as full."""

from pathlib import Path

from weir_nodedaemon.machine.disk import DiskWatch


def test_pressure_begins_below_the_limit_and_ends_with_some_room_to_spare(tmp_path: Path) -> None:
    free = {"bytes": 1000}
    watch = DiskWatch(tmp_path, 1000, free=lambda _path: free["bytes"])

    seen = []
    for free["bytes"] in (1000, 999, 1000, 1249, 1250, 1000):
        seen.append(watch.look())

    assert seen == [False, True, True, True, False, False]


def test_a_disk_that_does_not_answer_changes_nothing(tmp_path: Path) -> None:
    watch = DiskWatch(tmp_path / "gone", 1)

    assert watch.look() is False


def test_a_real_disk_has_less_room_than_a_limit_beyond_all_disks(tmp_path: Path) -> None:
    assert DiskWatch(tmp_path, 2**62).look() is True
