"""How a program is built from source."""

from pathlib import Path

import pytest

from devcluster.errors import DevClusterError
from devcluster.gobuild import build


def _module(folder: Path, source: str) -> Path:
    folder.mkdir()
    (folder / "go.mod").write_text("module example.test/hello\n\ngo 1.25.0\n")
    (folder / "main.go").write_text(source)
    return folder


def test_a_program_appears_whole(tmp_path: Path) -> None:
    module = _module(
        tmp_path / "hello", "package main\n\nvar v string\n\nfunc main() { print(v) }\n"
    )

    build(module, "example.test/hello", "-X main.v=1.2.3", tmp_path / "out", "hello")

    assert (tmp_path / "out").stat().st_mode & 0o111
    assert b"1.2.3" in (tmp_path / "out").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hello", "out"]


def test_a_failed_build_leaves_nothing_and_says_why(tmp_path: Path) -> None:
    module = _module(tmp_path / "broken", "package main\n\nfunc main() { nonsense() }\n")

    with pytest.raises(DevClusterError) as caught:
        build(module, "example.test/hello", "", tmp_path / "out", "broken")

    assert "undefined: nonsense" in caught.value.hint
    assert not (tmp_path / "out").exists()


def test_modules_that_cannot_be_fetched_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = _module(
        tmp_path / "far", 'package main\n\nimport _ "example.test/away"\n\nfunc main() {}\n'
    )
    (module / "go.mod").write_text(
        "module example.test/hello\n\ngo 1.25.0\n\nrequire example.test/away v1.0.0\n"
    )
    monkeypatch.setenv("GOPROXY", "off")

    with pytest.raises(DevClusterError, match="could not be fetched") as caught:
        build(module, "example.test/hello", "", tmp_path / "out", "far")

    assert "example.test/away" in caught.value.hint
