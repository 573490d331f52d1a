"""Flags of a component's command line, for which the environment can stand in."""

import argparse
from collections.abc import Mapping

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


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


def add_switch(
    parser: argparse.ArgumentParser,
    environ: Mapping[str, str],
    name: str,
    help: str,
    *,
    default: bool = False,
) -> None:
    """Add a flag ``--name`` and its opposite ``--no-name``; exits when its variable is neither.

    Args:
        parser: where to.
        environ: the environment; an empty variable is as an absent one.
        name: with its dashes.
        help: for people.
        default: what holds where neither is given.
    """
    variable = variable_of(name)
    word = (environ.get(variable) or str(default)).lower()
    if word not in _TRUE | _FALSE:
        parser.error(f"{variable} is either true or false, not {environ[variable]!r}")
    parser.add_argument(
        name, action=argparse.BooleanOptionalAction, default=word in _TRUE, help=help
    )
