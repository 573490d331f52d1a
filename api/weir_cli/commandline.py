"""The commands and their flags, as a table: argparse reads it, and so does shell completion."""

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_TASK_PREFIX = re.compile(r"(wt|tasks?(\.weir\.dev)?)/")

DESCRIPTION = (
    "Look at Tasks and Hosts of Weir: what they print, why they wait, what is free, what is used."
)
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
_HOSTS = """Show what hosts have and what of it is given to Tasks, as a table.

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

The daemons are asked twice, about two seconds apart. What a host that does not answer uses is
<unknown>.

examples:
  kubectl weir top
  kubectl weir top hosts
  kubectl weir top tasks -A --sort-by=memory
"""


class Noun(StrEnum):
    """What a word names."""

    TASK = "task"
    HOST = "host"
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
        return "action" not in self.settings

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


def _argument(
    *names: str, help: str, noun: Noun | Mapping[str, Noun] | None = None, **settings: Any
) -> Argument:
    return Argument(names, help, settings, noun)


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


COMMON = (
    _argument("-n", "--namespace", help="default: that of the context", noun=Noun.NAMESPACE),
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
)
"""Flags that may stand before or after the command."""

_TASK = _argument("name", help="name of the Task", noun=Noun.TASK, type=_task_name, metavar="NAME")

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
                help="go on until it ends; wait for its start first",
                action="store_true",
            ),
            _argument(
                "--tail",
                help="only the last N lines (default: all)",
                type=int,
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
        ),
    ),
    Command("why", "say why a Task waits or ended as it did", _WHY, (_TASK,)),
    Command(
        "hosts",
        "show capacity of hosts and what is given away",
        _HOSTS,
        (
            _argument(
                "names", help="only these (default: all)", noun=Noun.HOST, nargs="*", metavar="NAME"
            ),
            _argument(
                "-o",
                "--output",
                help="default: table",
                choices=("table", "wide", "json"),
                default="table",
            ),
        ),
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
                type=_task_name,
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
            _argument(
                "-o", "--output", help="default: table", choices=("table", "json"), default="table"
            ),
        ),
    ),
)
