"""Where the Kubernetes programs come from."""

from pathlib import Path

import pytest

from devcluster import binaries


def _fake(folder: Path, name: str, version_line: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{version_line}'\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [
        ("1.35.4", "1.35.4", True),
        ("1.35.0", "1.35.4", True),
        ("1.34.9", "1.35.4", False),
        ("3.4.23", "3.6.8", False),
        ("", "3.6.8", False),
    ],
)
def test_the_minor_version_decides(found: str, wanted: str, expected: bool) -> None:
    assert binaries.fits(found, wanted) is expected


def test_versions_are_those_that_go_mod_pins() -> None:
    assert all(source.version[0].isdigit() for source in binaries.SOURCES)


def test_what_is_there_is_preferred_if_it_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KUBEBUILDER_ASSETS first; an old etcd there is passed over."""
    wanted = {source.name: source.version for source in binaries.SOURCES}
    kubectl = _fake(tmp_path, "kubectl", f"Client Version: v{wanted['kubernetes']}")
    old_etcd = _fake(tmp_path, "etcd", "etcd Version: 3.4.23")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))

    found = binaries.find_all()

    assert found["kubectl"] == kubectl
    assert found["etcd"] != old_etcd


def test_a_link_on_path_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`. .weir/env` puts a link to kubectl on PATH, which the next start makes anew."""
    version = next(source.version for source in binaries.SOURCES if source.name == "kubernetes")
    real, linked = tmp_path / "real", tmp_path / "linked"
    real.mkdir()
    linked.mkdir()
    kubectl = _fake(real, "kubectl", f"Client Version: v{version}")
    (linked / "kubectl").symlink_to(kubectl)
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("PATH", f"{linked}:/usr/bin:/bin")

    assert binaries.find_all()["kubectl"] == kubectl
