"""The command line. What a command needs is imported when it runs, so that help comes at once."""

import argparse
import re
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from weir_cli.options import HostsOptions, LogsOptions, Options, WhyOptions

_PROGRAM = "kubectl weir"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_TASK_PREFIX = re.compile(r"(wt|tasks?(\.weir\.dev)?)/")

_DESCRIPTION = "Look at Tasks and Hosts of Weir: what they print, why they wait, what is free."
_LOGS = """Print what a Task printed, byte by byte; works while it runs and after it has ended.

examples:
  kubectl weir logs train-1                       all that is kept of the last run
  kubectl weir logs -f train-1                    go on until it ends; waits for its start
  kubectl weir logs --tail 20 --stream stderr train-1
"""
_WHY = """Say in words why a Task waits, does not start, or ended as it did.

For a Task that waits for a host, every host is looked at now, and what it lacks is told.

examples:
  kubectl weir why train-1
"""
_HOSTS = """Show what hosts have and what of it is in use, as a table.

  EXCLUSIVE  cores that belong to one Task each
  SHARED     cpu asked for by Tasks on the remaining cores / how many cores remain
  MEMORY     asked for by Tasks / all there is
  GPUS       in use / all there are

A host with several NUMA nodes has a line for each of them. Cores and memory that are reserved
(spec.reserved of the Host) are not given to work; -o wide shows them.

examples:
  kubectl weir hosts
  kubectl weir hosts -o wide n1 n2
"""


class _Parser(argparse.ArgumentParser):
    """Complains the way kubectl does."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"error: {message}\nSee '{self.prog} --help' for usage.\n")
        sys.exit(1)


def main() -> NoReturn:
    """Run the command line of this process."""
    # As kubectl does: Ctrl-C ends at once, with no word and nothing to clean up.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code."""
    options = parse(arguments)
    from weir_cli.commands import execute

    return execute(options)


def parse(arguments: Sequence[str]) -> Options:
    """Return what a command line asks for; exits for ``--help`` and for mistakes."""
    found = _parser().parse_args(arguments)
    common = Options(
        namespace=getattr(found, "namespace", None),
        kubeconfig=getattr(found, "kubeconfig", None),
        context=getattr(found, "context", None),
        request_timeout_seconds=getattr(found, "request_timeout", None),
    )
    match found.command:
        case "logs":
            return LogsOptions.extending(
                common,
                name=found.name,
                follow=found.follow,
                tail=None if found.tail < 0 else found.tail,
                stream=found.stream,
                run=found.run,
            )
        case "why":
            return WhyOptions.extending(common, name=found.name)
        case _:
            return HostsOptions.extending(common, names=tuple(found.names), output=found.output)


def _parser() -> _Parser:
    common = _common_flags()
    parser = _Parser(prog=_PROGRAM, description=_DESCRIPTION, parents=[common])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, summary: str, description: str) -> _Parser:
        return commands.add_parser(
            name,
            help=summary,
            description=description,
            parents=[common],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    logs = add("logs", "print what a Task printed", _LOGS)
    logs.add_argument("name", type=_task_name, metavar="NAME", help="name of the Task")
    logs.add_argument(
        "-f", "--follow", action="store_true", help="go on until it ends; wait for its start first"
    )
    logs.add_argument(
        "--tail", type=int, default=-1, metavar="N", help="only the last N lines (default: all)"
    )
    logs.add_argument(
        "--stream", choices=("stdout", "stderr"), help="only one stream (default: both, in order)"
    )
    logs.add_argument(
        "--run", type=_run_number, metavar="N", help="an earlier run (default: the last)"
    )
    why = add("why", "say why a Task waits or ended as it did", _WHY)
    why.add_argument("name", type=_task_name, metavar="NAME", help="name of the Task")
    hosts = add("hosts", "show capacity and use of hosts", _HOSTS)
    hosts.add_argument("names", nargs="*", metavar="NAME", help="only these (default: all)")
    hosts.add_argument(
        "-o", "--output", choices=("table", "wide", "json"), default="table", help="default: table"
    )
    return parser


def _common_flags() -> _Parser:
    """Flags that may stand before or after the command; absent ones leave no trace."""
    flags = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    group = flags.add_argument_group("flags as in kubectl")
    group.add_argument("-n", "--namespace", help="default: that of the context")
    group.add_argument("--kubeconfig", metavar="PATH", help="default: $KUBECONFIG, ~/.kube/config")
    group.add_argument("--context", help="context of the kubeconfig; default: the current one")
    group.add_argument(
        "--request-timeout",
        type=_duration,
        metavar="TIME",
        help="longest wait for one answer of the API server: 5, 5s, 2m; 0: no limit (default: 15s)",
    )
    return flags


def _task_name(text: str) -> str:
    return _TASK_PREFIX.sub("", text, count=1)


def _run_number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a number from 1, not {text!r}")
    return int(text)


def _duration(text: str) -> float:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)?", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"must be a time such as 5, 5s or 2m, not {text!r}")
    return float(match[1]) * _UNITS[match[2] or "s"]
