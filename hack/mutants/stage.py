"""A copy of the checkout in which mutmut can work: our packages lie at its top.

mutmut tells a module's name from its path, and runs the tests in a folder below its own. What it
found out stays in the copy: the next run looks only at functions that have changed.
"""

import shutil
import tomllib
from pathlib import Path
from typing import Any

from devcluster.state import CHECKOUT

# What is looked at is what this import contract is about, and who may do what.
_CONTRACT = "decisions do no I/O, not by what they import either"
_ALSO = ("weir_api.access",)
# Which tests shall notice: those of the same component, as far as they start no server.
TESTS = {
    "weir_crds": "tests/crds",
    "weir_operator": "tests/operator",
    "weir_nodedaemon": "tests/nodedaemon",
    "weir_api": "tests/api",
}
_ROOTS = ("crds", "operator", "nodedaemon", "api")
_FOLDERS = ("tests", "hack", "docs", "manifests", "crds/yaml")

_SETTINGS = """\
[tool.mutmut]
source_paths = {sources}
only_mutate = {modules}
also_copy = ["hack", "docs", "manifests", "crds"]
pytest_add_cli_args = ["-m", "quick", "-p", "no:cacheprovider"]
pytest_add_cli_args_test_selection = ["{tests}"]
track_dependencies = false
use_git_change_detection = false
timeout_constant = 5.0

[tool.pytest.ini_options]
pythonpath = ["tests", "hack"]
addopts = ["--strict-markers", "--import-mode=importlib"]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "function"
timeout = 60
markers = {markers}
"""


def prepare(stage: Path, package: str) -> None:
    """Bring the copy up to date; a file that did not change keeps its time of change.

    Args:
        stage: where it is, or is to be.
        package: the one of ours that is mutated there.
    """
    sources = sorted(path for root in _ROOTS for path in (CHECKOUT / root).glob("weir_*"))
    mutated = stage / "mutants"
    for source in sources:
        _mirror(source, stage / source.name)
        _drop_stale(stage / source.name, mutated / source.name)
    for name in _FOLDERS:
        _mirror(CHECKOUT / name, stage / name)
        shutil.rmtree(mutated / name, ignore_errors=True)  # mutmut copies them again
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    settings = _SETTINGS.format(
        sources=[source.name for source in sources],
        modules=[pattern for module in _modules(project, package) for pattern in _files(module)],
        tests=TESTS[package],
        markers=project["tool"]["pytest"]["ini_options"]["markers"],
    )
    (stage / "pyproject.toml").write_text(settings)


def _modules(project: dict[str, Any], package: str) -> list[str]:
    contracts = project["tool"]["importlinter"]["contracts"]
    pure = next(one["source_modules"] for one in contracts if one["name"] == _CONTRACT)
    return [module for module in (*pure, *_ALSO) if module.split(".")[0] == package]


def _files(module: str) -> list[str]:
    path = module.replace(".", "/")
    return [f"{path}.py", f"{path}/*.py"]


def _mirror(source: Path, target: Path) -> None:
    """Make a folder like another; of files that are the same already nothing is touched."""
    wanted = {
        path.relative_to(source)
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    for path in target.rglob("*"):
        if path.is_file() and path.relative_to(target) not in wanted:
            path.unlink()
    for name in wanted:
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if not (copy.exists() and copy.read_bytes() == (source / name).read_bytes()):
            shutil.copy(source / name, copy)


def _drop_stale(source: Path, copy: Path) -> None:
    """Remove what mutmut copied before and would keep: modules that changed, or are gone."""
    for path in copy.rglob("*.py"):
        original, meta = source / path.relative_to(copy), path.with_name(f"{path.name}.meta")
        if not original.exists():
            meta.unlink(missing_ok=True)
            path.unlink()
        elif not meta.exists() and path.read_bytes() != original.read_bytes():
            path.unlink()
