"""The command line. What a command needs is imported when it runs, so that help comes at once."""

import argparse
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from weir_cli.commandline import COMMANDS, COMMON, DESCRIPTION, Argument
from weir_cli.options import HostsOptions, LogsOptions, Options, TopOptions, WhyOptions
from weir_cli.walk import arranged

_PROGRAM = "kubectl weir"


class _Parser(argparse.ArgumentParser):
    """Complains the way kubectl does, and takes no flag by half its name."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

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
    found = _parser().parse_args(arranged(arguments))
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
        case "top":
            return TopOptions.extending(
                common,
                what=found.what,
                names=tuple(found.names),
                all_namespaces=found.all_namespaces,
                sort_by=found.sort_by,
                output=found.output,
            )
        case _:
            return HostsOptions.extending(common, names=tuple(found.names), output=found.output)


def _parser() -> _Parser:
    # Absent common flags leave no trace: else the command's default would hide what stood before.
    common = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    group = common.add_argument_group("flags as in kubectl")
    for argument in COMMON:
        _add(group, argument)
    parser = _Parser(prog=_PROGRAM, description=DESCRIPTION, parents=[common])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        parts = commands.add_parser(
            command.name,
            help=command.summary,
            description=command.description,
            parents=[common],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        for argument in command.arguments:
            _add(parts, argument)
    return parser


def _add(to: Any, argument: Argument) -> None:
    to.add_argument(*argument.names, help=argument.help, **argument.settings)
