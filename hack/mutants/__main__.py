"""Put small faults into pure modules and access rules, one by one: which does no test notice?

The tests are those of the same component that start no server (marker ``quick``). It prints each
fault that nothing noticed, and the share of those that were.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mutmut.stats import status_by_exit_code

from devcluster.console import say
from devcluster.state import CHECKOUT
from mutants.stage import TESTS, prepare

_STAGES = CHECKOUT / ".mutants"
_MUTMUT = str(Path(sys.executable).with_name("mutmut"))
_NOTICED = {"killed", "timeout", "segfault", "caught by type check"}


def main() -> int:
    """Run; return the exit status."""
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__)
    parser.add_argument(
        "modules", nargs="*", help=f"such as weir_operator.scheduling (default: {', '.join(TESTS)})"
    )
    parser.add_argument("--diffs", action="store_true", help="show what was not noticed")
    options = parser.parse_args()
    asked = options.modules or list(TESTS)
    packages = {module.split(".")[0] for module in asked}
    if unknown := packages - TESTS.keys():
        parser.error(f"no tests are known for {', '.join(sorted(unknown))}")
    for package in sorted(packages):
        status = try_out(package, [one for one in asked if one.split(".")[0] == package])
        if status != 0:
            return status
    report(sorted(packages), diffs=options.diffs)
    return 0


def try_out(package: str, modules: list[str]) -> int:
    """Mutate modules of a package; return mutmut's exit status."""
    stage = _STAGES / package
    say(f"{package}: {TESTS[package]}, in {os.path.relpath(stage)}; what is known is not repeated")
    prepare(stage, package)
    patterns = [] if package in modules else [f"{module}.*" for module in modules]
    with tempfile.TemporaryDirectory(prefix="weir-mutants-") as run:
        # As part of a run that exists already, the tests do not look at the machine each time.
        environ = os.environ | {"WEIR_TEST_RUN": run}
        command = [_MUTMUT, "run", *patterns]
        return subprocess.run(command, cwd=stage, env=environ, check=False).returncode


def report(packages: list[str], *, diffs: bool) -> None:
    """Print what was not noticed, and the scores."""
    scores: dict[str, Counter[bool]] = {}
    for package in packages:
        for mutant, status in _outcomes(package):
            noticed = status in _NOTICED
            scores.setdefault(mutant.rpartition(".")[0], Counter())[noticed] += 1
            if not noticed:
                print(f"{status}: {mutant}")
                if diffs:
                    show = [_MUTMUT, "show", mutant]
                    subprocess.run(show, cwd=_STAGES / package, check=False)
    print()
    for module, score in sorted(scores.items()):
        _print_score(module, score)
    _print_score("all", sum(scores.values(), Counter()))


def _outcomes(package: str) -> Iterator[tuple[str, str]]:
    """Return each mutant that was tried, and what became of it."""
    for meta in sorted((_STAGES / package / "mutants").rglob("*.py.meta")):
        for mutant, code in json.loads(meta.read_text())["exit_code_by_key"].items():
            if status_by_exit_code[code] != "not checked":
                yield mutant, status_by_exit_code[code]


def _print_score(name: str, score: Counter[bool]) -> None:
    tried = score.total()
    print(f"{name:50} {score[True]:5} of {tried:5} noticed {score[True] / max(tried, 1):7.1%}")


if __name__ == "__main__":
    sys.exit(main())
