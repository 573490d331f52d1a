"""The command line. What a command needs is imported when it runs, so that help comes at once."""

import argparse
import contextlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from weir_cli.commandline import (
    COMMANDS,
    COMMON,
    DESCRIPTION,
    SIGNAL_EXITS,
    Argument,
    Command,
    kubectl_flags,
)
from weir_cli.options import (
    HelpOptions,
    HostsOptions,
    LogsOptions,
    Options,
    TopOptions,
    VersionOptions,
    WhyOptions,
)
from weir_cli.output import discard_output, open_standard_streams
from weir_cli.parsing import ParsedLine, parse_line, reordered

_PROGRAM = "kubectl weir"
_BROKEN_PIPE = 141  # 128 + SIGPIPE, as a shell says it


class _Signalled(BaseException):
    """A signal that ends the process came; the argument is its number."""


class _Parser(argparse.ArgumentParser):
    """Complains the way kubectl does, and takes no flag by half its name."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def print_help(self, file: Any = None) -> None:
        """Print it as all output is: argparse would keep silent about a failure."""
        (file or sys.stdout).write(self.format_help())
        sys.stdout.flush()

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"error: {message}\nSee '{self.prog} --help' for usage.\n")
        sys.exit(1)


def main() -> NoReturn:
    """Run the command line of this process."""
    # As kubectl does: Ctrl-C ends at once, with no word; kubectl gets it from the terminal, too.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # not in a script's background
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # These may come to this process alone, so that it has to end the kubectl that it waits for.
    for number in (signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_DFL:  # not under nohup
            signal.signal(number, _raise)
    open_standard_streams()
    try:
        sys.exit(run(sys.argv[1:]))
    except _Signalled as signalled:
        (number,) = signalled.args
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        raise  # not reached


def _raise(number: int, _: object) -> NoReturn:
    for further in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(further, signal.SIG_IGN)
    raise _Signalled(number)


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code; failures are reported on stderr."""
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read has gone
        discard_output()
        return _BROKEN_PIPE
    except OSError as error:  # a full disk under the output, a closed stdout
        sys.stderr.write(f"error: cannot write the output: {error.strerror or error}\n")
        discard_output()
        return 1
    return code


def _run(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    from weir_cli.errors import message_of
    from weir_crds.errors import WeirError

    try:
        _execute(options)
    except WeirError as error:
        sys.stdout.flush()
        sys.stderr.write(f"{message_of(error)}\n")
        return 1
    return 0


def _execute(options: Options) -> None:
    from weir_cli.kubectl import Kubectl

    kubectl = Kubectl(options.kubectl, options.namespace)
    match options:
        case LogsOptions():
            from weir_cli.logs import print_logs

            print_logs(kubectl, options)
        case WhyOptions():
            from weir_cli.why import print_why

            print_why(kubectl, options)
        case HostsOptions():
            from weir_cli.hosts import print_hosts

            print_hosts(kubectl, options)
        case TopOptions():
            from weir_cli.top import print_top

            print_top(kubectl, options)
        case VersionOptions():
            from weir_cli.version import print_version

            print_version(kubectl, options)
        case HelpOptions(command=command):
            print(help_of(command), end="")


def parse(arguments: Sequence[str]) -> Options:
    """Return what a command line asks for; exits for ``--help`` and for mistakes."""
    line = parse_line(arguments)
    if line.unknown is not None:
        _refuse_unknown(line, line.unknown)
    parser = _complainer(line)
    found, surplus = _parser().parse_known_args(reordered(line))
    if surplus:
        parser.error(f"unrecognized arguments: {' '.join(surplus)}")
    common = Options(
        namespace=getattr(found, "namespace", None),
        kubectl=kubectl_flags(line.given, namespace=False),
    )
    match found.command:
        case "logs":
            if found.previous and found.run is not None:
                parser.error("--previous and --run exclude each other")
            return LogsOptions.extending(
                common,
                name=found.name,
                follow=found.follow,
                tail=None if found.tail < 0 else found.tail,
                stream=found.stream,
                run=found.run,
                previous=found.previous,
            )
        case "why":
            is_host, name = found.name
            return WhyOptions.extending(common, name=name, is_host=is_host)
        case "top":
            if found.selector and not found.what:
                parser.error("-l needs to know of what: top hosts, or top tasks")
            return TopOptions.extending(
                common,
                what=found.what,
                names=tuple(found.names),
                selector=_selector(parser, found),
                all_namespaces=found.all_namespaces,
                sort_by=found.sort_by,
                output=found.output,
                headers=not found.no_headers,
            )
        case "hosts":
            return HostsOptions.extending(
                common,
                names=tuple(found.names),
                selector=_selector(parser, found),
                numa=found.numa,
                output=found.output,
                headers=not found.no_headers,
            )
        case "version":
            return VersionOptions.extending(common, client=found.client, output=found.output)
        case _:
            return HelpOptions.extending(common, command=getattr(found, "topic", None))


def _selector(parser: argparse.ArgumentParser, found: argparse.Namespace) -> str | None:
    if found.selector and found.names:
        parser.error("names cannot be provided when a selector is specified")
    return found.selector or None


def _complainer(line: ParsedLine) -> _Parser:
    """Return what points to the help of the command that is on the line."""
    return _Parser(prog=f"{_PROGRAM} {line.command.name}" if line.command else _PROGRAM)


def _refuse_unknown(line: ParsedLine, unknown: str) -> NoReturn:
    if unknown.startswith("-"):
        message = f"unknown flag: {unknown}"
    else:
        message = f'unknown command "{unknown}" for "{_PROGRAM}"'
    if close := line.close_to_unknown():
        message += "\n\nDid you mean this?" + "".join(f"\n\t{word}" for word in close) + "\n"
    _complainer(line).error(message)


def help_of(command: str | None) -> str:
    """Return what ``--help`` prints, of a command or of all."""
    parser = _parser()
    if command is None:
        return parser.format_help()
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        parser.parse_args([command, "--help"])
    return printed.getvalue()


def _parser() -> _Parser:
    # Absent common flags leave no trace: else the command's default would hide what stood before.
    common = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    group = common.add_argument_group("flags as in kubectl")
    for argument in COMMON:
        _add(group, argument)
    usage = f"{_PROGRAM} [flags] COMMAND"
    parser = _Parser(prog=_PROGRAM, usage=usage, description=DESCRIPTION, parents=[common])
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for command in COMMANDS:
        parts = commands.add_parser(
            command.name,
            prog=f"{_PROGRAM} {command.name}",
            usage=_usage(command),
            help=command.summary,
            description=command.description,
            epilog=_epilog(command),
            parents=[common],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        for argument in command.arguments:
            _add(parts, argument)
    return parser


def _usage(command: Command) -> str:
    words = [_word(one) for one in command.arguments if not one.is_flag]
    return " ".join([_PROGRAM, command.name, *words, "[flags]"])


def _epilog(command: Command) -> str:
    codes = [(0, command.done), (1, command.failed), *SIGNAL_EXITS]
    return "exit codes:\n" + "\n".join(f"  {code:<5}{meaning}" for code, meaning in codes)


def _word(argument: Argument) -> str:
    settings = argument.settings
    choices = "|".join(settings.get("choices", ()))
    word = choices or str(settings.get("metavar", argument.names[0]))
    if settings.get("nargs") == "*":
        return f"[{word}…]"
    return f"[{word}]" if settings.get("nargs") == "?" else word


def _add(to: Any, argument: Argument) -> None:
    to.add_argument(*argument.names, help=argument.help, **argument.settings)
