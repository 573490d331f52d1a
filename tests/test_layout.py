"""The tree keeps the shape that the imports rely on."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE_ROOTS = ("crds", "operator", "nodedaemon", "api")
PACKAGES = sorted(
    package.parent for root in SOURCE_ROOTS for package in (ROOT / root).glob("weir_*/__init__.py")
)
MODULES = sorted(module for package in PACKAGES for module in package.rglob("*.py"))


@pytest.mark.parametrize("root", SOURCE_ROOTS)
def test_a_source_root_is_no_package(root: str) -> None:
    # With operator/__init__.py, the stdlib's operator is shadowed for all that starts in the root.
    assert not (ROOT / root / "__init__.py").exists()
    assert not list((ROOT / root).glob("*.py")), "modules belong into the import package"


def test_the_standard_librarys_operator_is_found_from_the_repository_root() -> None:
    # -S: without site-packages, whose .pth files may load it beforehand and hide the mistake.
    command = [sys.executable, "-S", "-c", "from operator import eq"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)


def test_all_packages_are_installed_and_typed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(wheel) == [str(package.relative_to(ROOT)) for package in PACKAGES]
    assert set(project["tool"]["mypy"]["packages"]) >= {package.name for package in PACKAGES}
    for package in PACKAGES:
        assert (package / "py.typed").exists(), package


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_has_one_subject(module: Path) -> None:
    names = {part.removesuffix(".py") for part in module.relative_to(ROOT).parts[1:]}
    assert not names & {"operator", "utils", "util", "helpers", "common", "misc"}
    assert module.name != "docker.py"  # the SDK is imported by that name
    assert len(module.read_text(encoding="utf-8").splitlines()) < 400
