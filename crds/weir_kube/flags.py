"""Flags of a component's command line, for which the environment can stand in."""

import argparse
from collections.abc import Mapping


def variable_of(flag: str) -> str:
    """Return the variable that stands in for a flag: ``WEIR_LOG_LEVEL`` for ``--log-level``."""
    return "WEIR_" + flag.strip("-").replace("-", "_").upper()


def add_flag(
    parser: argparse.ArgumentParser,
    environ: Mapping[str, str],
    name: str,
    help: str,
    **options: object,
) -> None:
    """Add a flag; what the environment has in its place is its default, checked like the flag.

    Args:
        parser: where to.
        environ: the environment.
        name: with its dashes.
        help: for people.
        options: as for ``ArgumentParser.add_argument``.
    """
    variable = variable_of(name)
    if variable in environ:
        options["default"] = environ[variable]
        options.pop("required", None)
    parser.add_argument(name, help=help, **options)  # type: ignore[arg-type]
