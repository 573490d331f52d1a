"""The state directory: lock, ports, files."""

import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from devcluster.__main__ import main
from devcluster.errors import DevClusterError
from devcluster.state import CHECKOUT, Ports, State, locked, socket_path, write_file
from devcluster.status import text


def _hold_and_remove(root: Path, held: object, go: object) -> None:
    with locked(State(root)):
        held.set()  # type: ignore[attr-defined]
        go.wait(60)  # type: ignore[attr-defined]
        shutil.rmtree(root)


def test_who_waited_while_the_directory_was_removed_gets_a_new_one(tmp_path: Path) -> None:
    """As when `make demo` is typed while `make down` still works."""
    state = State(tmp_path / "state")
    context = multiprocessing.get_context("spawn")
    held, go = context.Event(), context.Event()
    remover = context.Process(target=_hold_and_remove, args=(state.root, held, go))
    remover.start()
    assert held.wait(60)
    go.set()

    with locked(state):
        assert state.log.is_dir()
    remover.join()


def test_a_directory_that_holds_other_things_is_no_place_for_an_instance(tmp_path: Path) -> None:
    """`make down` would remove them: WEIR_STATE_DIR may name somebody's home."""
    (tmp_path / "thesis").write_text("four years")
    with pytest.raises(DevClusterError, match="holds other things"), locked(State(tmp_path)):
        pass
    assert main(["--state-dir", str(tmp_path), "down"]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["thesis"]
    assert "no instance" in text(State(tmp_path))


def test_an_instance_that_was_interrupted_at_any_point_is_still_one(tmp_path: Path) -> None:
    for number, made in enumerate(((), ("instance",), ("instance", "log"), ("log", "ports.json"))):
        state = State(tmp_path / str(number))
        state.root.mkdir()
        for name in made:
            (state.root / name).touch() if "." in name else (state.root / name).mkdir()
        with locked(state):
            assert state.bin.is_dir()


def test_an_instance_whose_removal_was_interrupted_can_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rmtree, removed = shutil.rmtree, 0

    def interrupted(path: Path) -> None:
        nonlocal removed
        if removed == survives:
            raise KeyboardInterrupt
        removed += 1
        rmtree(path)

    monkeypatch.setattr("devcluster.state.shutil.rmtree", interrupted)
    state = State(tmp_path / "state")
    for survives in range(5):
        removed = 0
        with locked(state):
            (state.root / "ports.json").touch()
            if survives == 4:
                state.remove()
            else:
                with pytest.raises(KeyboardInterrupt):
                    state.remove()
        assert not state.is_foreign
    assert not state.root.exists()


def test_a_state_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "in", Path("/proc/weir")):
        with (
            pytest.raises(DevClusterError, match=f"cannot be the state directory: {place}:"),
            locked(State(place)),
        ):
            pass
    assert main(["--state-dir", str(tmp_path / "file"), "down"]) == 1


def test_a_port_is_remembered(tmp_path: Path) -> None:
    state = State(tmp_path)

    first = Ports(state).get("etcd")

    assert Ports(state).get("etcd") == first
    assert Ports(state).get("other") != first


def test_a_preferred_port_is_taken_if_it_is_free(tmp_path: Path) -> None:
    state = State(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        assert Ports(state).get("first", preferred=port) != port

    assert Ports(state).get("second", preferred=port) == port
    assert Ports(state).get("second", preferred=1) == port


def test_no_two_instances_choose_the_same_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where nothing listens on it yet, and not in another process."""
    one = Ports(State(tmp_path / "one")).get("etcd")
    assert Ports(State(tmp_path / "three")).get("etcd", preferred=one) != one
    monkeypatch.setattr("devcluster.state._PORTS", range(one, one + 1))

    with pytest.raises(DevClusterError, match="No free port"):
        Ports(State(tmp_path / "two")).get("etcd")
    elsewhere = (
        "import sys; from devcluster import state; from pathlib import Path;"
        f"state._PORTS = range({one}, {one + 1});"
        "state.Ports(state.State(Path(sys.argv[1]))).get('etcd')"
    )
    other = subprocess.run(
        (sys.executable, "-c", elsewhere, tmp_path / "four"),
        env=os.environ | {"PYTHONPATH": str(CHECKOUT / "hack")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "No free port" in other.stderr


def test_a_port_that_somebody_took_is_chosen_anew(tmp_path: Path) -> None:
    state = State(tmp_path)
    ports = Ports(state)
    first = ports.get("etcd")
    with socket.create_server(("127.0.0.1", first)):
        ports.drop_taken()

        assert ports.get("etcd") != first


def test_the_instance_is_known_by_its_path() -> None:
    assert State(Path("/a")).id == State(Path("/a")).id
    assert State(Path("/a")).id != State(Path("/b")).id


def test_too_long_a_socket_path_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(DevClusterError, match="too long") as caught:
        socket_path(Path("/") / ("x" * 110))

    assert "WEIR_STATE_DIR" in caught.value.hint


def test_a_file_is_written_only_when_its_text_changes(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"

    assert write_file(path, "a")
    assert not write_file(path, "a")
    assert write_file(path, "b")

    assert path.read_text() == "b"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]
