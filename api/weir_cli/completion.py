"""What may come next on a command line. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from weir_cli.commandline import (
    COMMANDS,
    HOST_PREFIX,
    TASK_PREFIX,
    Argument,
    Noun,
    kubectl_flags,
)
from weir_cli.parsing import ParsedLine, parse_line

_RESOURCES: Mapping[Noun, str] = {
    Noun.TASK: "tasks.weir.dev",
    Noun.HOST: "hosts.weir.dev",
    Noun.TASK_OR_HOST: "tasks.weir.dev",
    Noun.NAMESPACE: "namespaces",
}
_PREFIXES: Mapping[Noun, Sequence[re.Pattern[str]]] = {
    Noun.TASK: (TASK_PREFIX,),
    Noun.HOST: (HOST_PREFIX,),
    Noun.TASK_OR_HOST: (TASK_PREFIX, HOST_PREFIX),
}


@dataclass(frozen=True, slots=True)
class Choices:
    """These words, each with a line of help."""

    words: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Files:
    """The shell's own choice of files."""


@dataclass(frozen=True, slots=True)
class AskKubectl:
    """Whatever kubectl would complete at the end of this command line of its own."""

    arguments: tuple[str, ...]


def complete(words: Sequence[str]) -> Choices | Files | AskKubectl:
    """Return what may stand in place of the last word, which may be empty or half written."""
    *before, current = words or [""]
    line = parse_line(before)
    if line.unknown is not None:
        return Choices()
    if line.open_flag is not None:
        return _values(line, line.open_flag, current)
    if current.startswith("-"):
        name, equals, value = current.partition("=")
        flag = line.flag(name)
        if equals:
            return _values(line, flag, value) if flag and flag.takes_value else Choices()
        return _beginning(current, _flags(line))
    if line.command is None:
        return _beginning(current, ((known.name, known.summary) for known in COMMANDS))
    argument = line.next_positional
    return _values(line, argument, current) if argument else Choices()


def _values(line: ParsedLine, argument: Argument, current: str) -> Choices | Files | AskKubectl:
    choices = argument.settings.get("choices")
    if choices:
        return _beginning(current, ((choice, "") for choice in choices))
    match _noun(line, argument):
        case None:
            return Choices()
        case Noun.FILE:
            return Files()
        case Noun.CONTEXT:
            return AskKubectl(("config", "use-context", *_where(line), current))
        case noun:
            if any(prefix.match(current) for prefix in _PREFIXES.get(noun, ())):
                return AskKubectl(("get", *_where(line), current))
            return AskKubectl(("get", _RESOURCES[noun], *_named(line), *_where(line), current))


def _noun(line: ParsedLine, argument: Argument) -> Noun | None:
    if isinstance(argument.noun, Mapping):
        return argument.noun.get(line.positionals[0]) if line.positionals else None
    return argument.noun


def _named(line: ParsedLine) -> Sequence[str]:
    """Return the names that are there already: kubectl offers them no more."""
    singles = [one for one in line.arguments if not one.is_flag and not one.repeats]
    return line.positionals[len(singles) :]


def _where(line: ParsedLine) -> Sequence[str]:
    """Return the person's own flags that say where and as whom kubectl shall look."""
    return kubectl_flags(line.given)


def _flags(line: ParsedLine) -> Iterable[tuple[str, str]]:
    given = [flag for flag, _ in line.given if not flag.may_come_often]
    for flag in line.arguments:
        if flag.is_flag and flag not in given:
            yield flag.names[-1], flag.help
    yield "--help", "show what there is"


def _beginning(current: str, words: Iterable[tuple[str, str]]) -> Choices:
    return Choices(tuple((word, help) for word, help in words if word.startswith(current)))
