"""The command line: ``python -m devcluster``."""

import argparse
import sys
from pathlib import Path

from devcluster import instance
from devcluster.errors import DevClusterError
from devcluster.state import State, locked, state_at


def _up(state: State, _options: argparse.Namespace) -> None:
    with locked(state):
        instance.up_base(state)


def _down(state: State, _options: argparse.Namespace) -> None:
    with locked(state):
        instance.down(state)


def main() -> int:
    """Run one command; return the exit status."""
    parser = argparse.ArgumentParser(prog="devcluster", description=__doc__)
    parser.add_argument("--state-dir", type=Path)
    commands = parser.add_subparsers(required=True)
    up = commands.add_parser("up")
    up.add_argument("--control-plane-only", action="store_true")
    up.set_defaults(run=_up)
    down = commands.add_parser("down")
    down.set_defaults(run=_down)
    options = parser.parse_args()
    try:
        options.run(state_at(options.state_dir), options)
    except DevClusterError as exc:
        print(f"\nerror: {exc}\n{exc.hint}".rstrip(), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
