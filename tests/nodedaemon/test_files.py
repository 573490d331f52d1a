import json
import os
from pathlib import Path

import pytest

from weir_nodedaemon.files import write_atomically, write_json


def test_a_new_file_takes_the_place_of_the_old_one_and_leaves_nothing_beside_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "gpus.json"
    write_json(path, {"a": 1})
    write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 2}
    assert [entry.name for entry in tmp_path.iterdir()] == ["gpus.json"]


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "note"
    write_atomically(path, b"x")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_disk_that_refuses_it_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "note"
    write_atomically(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new and longer")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["note"]


def test_the_disk_has_it_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "note"
    synced: list[bytes | None] = []
    monkeypatch.setattr(
        os, "fsync", lambda _: synced.append(path.read_bytes() if path.exists() else None)
    )
    write_atomically(path, b"x")
    assert synced == [None, b"x"]  # the file before it is renamed, its folder after


def test_what_a_crash_left_half_written_is_in_nobodys_way(tmp_path: Path) -> None:
    path = tmp_path / "note"
    (tmp_path / ".note.draft").write_bytes(b"half of something much longer")
    write_atomically(path, b"x")
    assert path.read_bytes() == b"x"
