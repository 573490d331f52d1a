"""The commands and their flags, as a table: argparse reads it, and so does shell completion."""

import argparse
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from weir_cli.formatting import parse_duration

TASK_PREFIX = re.compile(r"(wt|tasks?(\.weir\.dev)?)/")
HOST_PREFIX = re.compile(r"(wh|hosts?(\.weir\.dev)?)/")
# What the API server gives names to; anything else would be another path of it, of a list say.
_NAME = re.compile(r"[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?")

DESCRIPTION = (
    "Look at Tasks and Hosts of Weir: what they print, why they wait, what is free, what is used."
)
_LOGS = """Print what a Task printed, byte by byte; works while it runs and after it has ended.

examples:
  kubectl weir logs train-1                       all that is kept of the last run
  kubectl weir logs --previous train-1            of the run before it
  kubectl weir logs -f train-1                    go on until the run ends; waits for its start
  kubectl weir logs --tail 20 --stream stderr train-1
"""
_WHY = """Say in words why a Task waits, does not start, or ended as it did; or why a Host takes
nothing new.

For a Task that waits for a host, every host is looked at now, and what it lacks is told.

examples:
  kubectl weir why train-1
  kubectl weir why host/n1
"""
_HOSTS = """Show what hosts have and what of it is left, as a table.

  CPUS       cores, reserved ones included
  EXCLUSIVE  cores that belong to one Task each
  SHARED     cpu asked for by Tasks on the other cores
  FREE       cores that a Task could have for itself
  MEM-FREE   memory that no Task asked for
  GPU-FREE   GPUs that nobody has

Cores and memory that are reserved (spec.reserved of the Host) are not given to work; -o wide shows
them. --numa has a line for each NUMA node instead.

examples:
  kubectl weir hosts
  kubectl weir hosts -l gpu=a100 -o wide
  kubectl weir hosts --numa n1 n2
"""
_VERSION = """Show the version of this plugin and of the hosts' daemons."""
_HELP = """Show what a command does, and its flags."""
_TOP = """Show what hosts and running Tasks use at this moment, as their daemons measure it.

Hosts:
  CPU      cores busy, with whatever runs there / all there are
  MEMORY   in use, by whatever runs there / all there is
  LOAD     mean number of processes that want a core, over the last minute
  PIDS     processes and threads of the Tasks
GPUs of the hosts:
  LOAD     share of the last moments in which it worked
  MEMORY   in use / all there is
Tasks of the namespace (-A: of all):
  CPU      cores used / asked for
  MEMORY   in use, without page cache that could be dropped / the limit

The daemons are asked twice, about two seconds apart, many at once, those that are ready first.
What a host uses that does not answer is <unknown>, and a last column, ERROR, says why; after a
minute nobody is waited for any more.

examples:
  kubectl weir top
  kubectl weir top hosts
  kubectl weir top tasks -A --sort-by=memory
"""


class Noun(StrEnum):
    """What a word names."""

    TASK = "task"
    HOST = "host"
    TASK_OR_HOST = "task or host"  # a host with its kind before its name
    NAMESPACE = "namespace"
    CONTEXT = "context"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Argument:
    """A flag, or a word without one."""

    names: tuple[str, ...]
    help: str
    settings: Mapping[str, Any]
    """Further arguments of argparse's ``add_argument``."""
    noun: Noun | Mapping[str, Noun] | None = None
    """What it names; where that depends on the word before it, by that word."""

    @property
    def is_flag(self) -> bool:
        """Whether it begins with a dash."""
        return self.names[0].startswith("-")

    @property
    def takes_value(self) -> bool:
        """Whether a flag is followed by a word of its own."""
        return bool(self.settings.get("action", "append") == "append")

    @property
    def may_come_often(self) -> bool:
        """Whether a flag adds to what it said before, instead of replacing it."""
        return self.settings.get("action") == "append"

    @property
    def repeats(self) -> bool:
        """Whether a word without a flag may come any number of times."""
        return self.settings.get("nargs") == "*"


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand."""

    name: str
    summary: str
    description: str
    arguments: tuple[Argument, ...]
    done: str = "it is printed"
    """When the exit code is 0."""
    failed: str = "the API server refused or was not reached"
    """When it is 1; a mistake on the command line is 1, too."""


def _argument(
    *names: str, help: str, noun: Noun | Mapping[str, Noun] | None = None, **settings: Any
) -> Argument:
    return Argument(names, help, settings, noun)


def _task_name(text: str) -> str:
    return _name(TASK_PREFIX.sub("", text, count=1))


def _host_name(text: str) -> str:
    return _name(HOST_PREFIX.sub("", text, count=1))


def _bare_name(text: str) -> str:
    return _task_name(HOST_PREFIX.sub("", text, count=1))


def _named_object(text: str) -> tuple[bool, str]:
    """Return whether it is a host, and its name."""
    return bool(HOST_PREFIX.match(text)), _bare_name(text)


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"must be a name, not {text!r}")
    return text


def _run_number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a number from 1, not {text!r}")
    return int(text)


def _line_count(text: str) -> int:
    digits = text.removeprefix("-") if text == "-1" else text  # as kubectl says all
    if not digits.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a number from 0, or -1 for all, not {text!r}")
    return int(text)


def _duration(text: str) -> str:
    try:
        parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _of_kubectl(*names: str, help: str = "as kubectl's", **settings: Any) -> Argument:
    return _argument(*names, help=help, **settings)


COMMON = (
    _argument(
        "-n",
        "--namespace",
        help="default: that of the context",
        noun=Noun.NAMESPACE,
        type=lambda text: text and _name(text),
    ),
    _argument(
        "--kubeconfig", help="default: $KUBECONFIG, ~/.kube/config", noun=Noun.FILE, metavar="PATH"
    ),
    _argument(
        "--context", help="context of the kubeconfig; default: the current one", noun=Noun.CONTEXT
    ),
    _argument(
        "--request-timeout",
        help="longest wait for one answer: 5, 5s, 2m; 0: no limit (default: 15s)",
        type=_duration,
        metavar="TIME",
    ),
    _of_kubectl("--as", help="name of a user to act as", metavar="USER"),
    _of_kubectl(
        "--as-group", help="group to act in; may come often", action="append", metavar="GROUP"
    ),
    _of_kubectl("--as-uid", metavar="UID"),
    _of_kubectl("--as-user-extra", action="append", metavar="KEY=VALUE"),
    _of_kubectl("--cache-dir", metavar="PATH"),
    _of_kubectl("--certificate-authority", metavar="PATH", noun=Noun.FILE),
    _of_kubectl("--client-certificate", metavar="PATH", noun=Noun.FILE),
    _of_kubectl("--client-key", metavar="PATH", noun=Noun.FILE),
    _of_kubectl("--cluster", help="cluster of the kubeconfig", metavar="NAME"),
    _of_kubectl("--disable-compression", action="store_true"),
    _of_kubectl("--insecure-skip-tls-verify", action="store_true"),
    _of_kubectl("--kuberc", metavar="PATH", noun=Noun.FILE),
    _of_kubectl("--match-server-version", action="store_true"),
    _of_kubectl("--password", metavar="PASSWORD"),
    _of_kubectl("-s", "--server", help="address of the API server", metavar="URL"),
    _of_kubectl("--tls-server-name", metavar="NAME"),
    _of_kubectl("--token", help="bearer token for the API server"),
    _of_kubectl("--user", help="user of the kubeconfig", metavar="NAME"),
    _of_kubectl("--username", metavar="NAME"),
)
"""Flags that may stand before or after the command."""

_NAMESPACE = COMMON[0]


def kubectl_flags(
    given: Iterable[tuple[Argument, str | None]], *, namespace: bool = True
) -> tuple[str, ...]:
    """Return those flags of a command line that are kubectl's business, each as one word.

    Args:
        given: flags with their values; None: it takes none.
        namespace: False: without the namespace.
    """
    found = [(flag, value) for flag, value in given if flag in COMMON]
    return tuple(
        flag.names[-1] if value is None else f"{flag.names[-1]}={value}"
        for flag, value in found
        if namespace or flag is not _NAMESPACE
    )


_TASK = _argument("name", help="name of the Task", noun=Noun.TASK, type=_task_name, metavar="NAME")
_SELECTOR = _argument(
    "-l", "--selector", help="only those with these labels: a=b,c!=d", metavar="LABELS"
)
_NO_HEADERS = _argument("--no-headers", help="no line of column names", action="store_true")


def _output(*choices: str) -> Argument:
    return _argument("-o", "--output", help="default: table", choices=choices, default="table")


SIGNAL_EXITS = (
    (130, "Ctrl-C"),
    (141, "whoever read the output has gone"),
)
"""Exit codes that every command may have."""

COMMANDS = (
    Command(
        "logs",
        "print what a Task printed",
        _LOGS,
        (
            _TASK,
            _argument(
                "-f",
                "--follow",
                help="go on until the run ends; wait for its start first",
                action="store_true",
            ),
            _argument(
                "--tail",
                help="only the last N lines (default: all)",
                type=_line_count,
                default=-1,
                metavar="N",
            ),
            _argument(
                "--stream",
                help="only one stream (default: both, in order)",
                choices=("stdout", "stderr"),
            ),
            _argument(
                "--run", help="an earlier run (default: the last)", type=_run_number, metavar="N"
            ),
            _argument("-p", "--previous", help="the run before the last", action="store_true"),
        ),
        done="all of it is printed, however the Task ended",
        failed="there is no output, or what was printed is not all of it",
    ),
    Command(
        "why",
        "say why a Task waits or ended as it did",
        _WHY,
        (
            _argument(
                "name",
                help="name of the Task, or host/NAME",
                noun=Noun.TASK_OR_HOST,
                metavar="NAME",
                type=_named_object,
            ),
        ),
        done="it is printed, whatever the reason",
    ),
    Command(
        "hosts",
        "show capacity of hosts and what is given away",
        _HOSTS,
        (
            _argument(
                "names",
                help="only these (default: all)",
                noun=Noun.HOST,
                nargs="*",
                metavar="NAME",
                type=_host_name,
            ),
            _SELECTOR,
            _argument("--numa", help="a line for each NUMA node", action="store_true"),
            _output("table", "wide", "json", "yaml", "name"),
            _NO_HEADERS,
        ),
        done="they are printed; without the right to list Tasks, their use is <unknown>",
    ),
    Command(
        "top",
        "show what hosts and running Tasks use now",
        _TOP,
        (
            _argument(
                "what", help="only hosts, or only Tasks", nargs="?", choices=("hosts", "tasks")
            ),
            _argument(
                "names",
                help="only these (default: all)",
                noun={"hosts": Noun.HOST, "tasks": Noun.TASK},
                nargs="*",
                metavar="NAME",
                type=_bare_name,
            ),
            _argument(
                "-A",
                "--all-namespaces",
                help="Tasks of all namespaces",
                action="store_true",
            ),
            _argument(
                "--sort-by",
                help="hosts and Tasks: the greatest first, or by name (default)",
                choices=("name", "cpu", "memory", "pids"),
                default="name",
            ),
            _SELECTOR,
            _output("table", "json", "yaml"),
            _NO_HEADERS,
        ),
        done="all that were asked have answered",
        failed="the figures of a host are missing, or the API server refused",
    ),
    Command(
        "version",
        "show the versions of plugin and daemons",
        _VERSION,
        (
            _argument("--client", help="only the plugin's: ask nobody", action="store_true"),
            _output("table", "json", "yaml"),
        ),
    ),
    Command(
        "help",
        "show what a command does",
        _HELP,
        (
            _argument(
                "topic",
                help="a command",
                nargs="?",
                choices=("logs", "why", "hosts", "top", "version"),
            ),
        ),
        failed="there is no such command",
    ),
)
