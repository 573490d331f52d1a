"""When the disks of the state directory and of Docker count as full."""

from pathlib import Path

from weir_nodedaemon.machine.disk import DiskWatch


def test_pressure_begins_below_the_limit_and_ends_with_some_room_to_spare(tmp_path: Path) -> None:
    free = {"bytes": 1000}
    watch = DiskWatch(tmp_path, 1000, free=lambda _path: free["bytes"])

    seen = []
    for free["bytes"] in (1000, 999, 1000, 1249, 1250, 1000):
        seen.append(bool(watch.look()))

    assert seen == [False, True, True, True, False, False]


def test_each_disk_is_watched_and_named(tmp_path: Path) -> None:
    state, docker = tmp_path / "state", tmp_path / "docker"
    state.mkdir()
    docker.mkdir()
    free = {state: 2**30, docker: 2**30}
    watch = DiskWatch(state, 1024, free=free.__getitem__)
    assert watch.look(str(docker)) == ""

    free[docker] = 1023
    assert watch.look(str(docker)) == f"less than 1Ki is left for Docker's data ({docker})"
    free[state] = 0
    assert "state directory" in watch.look(str(docker))
    assert "Docker's data" in watch.pressure

    free[state] = free[docker] = 2**30
    assert watch.look(str(docker)) == ""


def test_a_docker_whose_disk_is_not_here_cannot_be_under_pressure(tmp_path: Path) -> None:
    """Its folder is that of another machine, or not in our container."""
    watch = DiskWatch(tmp_path, 1024, free=lambda _path: 2**30)
    assert watch.look("/nowhere/of/docker") == ""


def test_a_disk_that_does_not_answer_changes_nothing(tmp_path: Path) -> None:
    watch = DiskWatch(tmp_path / "gone", 1)

    assert watch.look() == ""


def test_a_real_disk_has_less_room_than_a_limit_beyond_all_disks(tmp_path: Path) -> None:
    assert DiskWatch(tmp_path, 2**62).look(str(tmp_path)).count("less than") == 2
