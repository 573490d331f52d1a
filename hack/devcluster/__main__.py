"""The command line of the development control plane.

A real etcd, kube-apiserver, kube-controller-manager and Docker, and Weir on them, as processes of
one machine. All state is in one directory; instances in different directories do not meet.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from devcluster import demo, instance, status
from devcluster.binaries import find_all
from devcluster.errors import DevClusterError
from devcluster.state import State, locked, state_at


def _up(state: State, options: argparse.Namespace) -> None:
    with locked(state):
        if options.control_plane_only:
            instance.up_base(state)
        else:
            instance.up(state, options.hosts)


def _demo(state: State, options: argparse.Namespace) -> None:
    with locked(state):
        base = instance.up(state, options.hosts)
    print(demo.run(base))


def _down(state: State, _options: argparse.Namespace) -> None:
    if not state.root.exists():
        print("Nothing to stop.")
        return
    with locked(state):
        instance.down(state)


def _status(state: State, _options: argparse.Namespace) -> None:
    print(status.text(state))


def _binaries(_state: State, _options: argparse.Namespace) -> None:
    for name, path in find_all().items():
        print(f"{name}\t{path}")


def _host_count(text: str) -> int:
    hosts = int(text)
    if not 1 <= hosts <= 50:
        raise argparse.ArgumentTypeError("between 1 and 50")
    return hosts


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="devcluster",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--state-dir",
        type=Path,
        metavar="DIR",
        help="where all of the instance is kept (default: $WEIR_STATE_DIR, else .weir)",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="start what does not run; safe at any time")
    up.add_argument(
        "--control-plane-only", action="store_true", help="without Weir: the API server and Docker"
    )
    up.set_defaults(run=_up)
    run = commands.add_parser("demo", help="up, then run a first Task and show its result")
    run.set_defaults(run=_demo)
    for command in (up, run):
        command.add_argument(
            "--hosts",
            type=_host_count,
            default=1,
            metavar="N",
            help="hosts that share this machine's cores (default: 1)",
        )
    for name, function, text in (
        ("status", _status, "what runs, since when, and its last error"),
        ("down", _down, "stop all and remove all that was made"),
        ("binaries", _binaries, "find or build the Kubernetes programs, and say where they are"),
    ):
        commands.add_parser(name, help=text).set_defaults(run=function)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        options.run(state_at(options.state_dir), options)
    except DevClusterError as exc:
        print(f"\nerror: {exc}\n{exc.hint}".rstrip(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
