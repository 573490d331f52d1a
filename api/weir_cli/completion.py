"""What may come next on a command line. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from weir_cli.commandline import COMMANDS, Argument, Noun
from weir_cli.walk import Walk, walk

# Flags of the person's own command line that tell kubectl where to look.
_WHERE = ("--kubeconfig", "--context", "--namespace")
_RESOURCES: Mapping[Noun, str] = {
    Noun.TASK: "tasks.weir.dev",
    Noun.HOST: "hosts.weir.dev",
    Noun.NAMESPACE: "namespaces",
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
    read = walk(before)
    if read.unknown:
        return Choices()
    if read.open_flag is not None:
        return _values(read, read.open_flag, current)
    if current.startswith("-"):
        name, equals, value = current.partition("=")
        flag = read.flag(name)
        if equals:
            return _values(read, flag, value) if flag and flag.takes_value else Choices()
        return _beginning(current, _flags(read))
    if read.command is None:
        return _beginning(current, ((known.name, known.summary) for known in COMMANDS))
    argument = read.next_word
    return _values(read, argument, current) if argument else Choices()


def _values(read: Walk, argument: Argument, current: str) -> Choices | Files | AskKubectl:
    choices = argument.settings.get("choices")
    if choices:
        return _beginning(current, ((choice, "") for choice in choices))
    match _noun(read, argument):
        case None:
            return Choices()
        case Noun.FILE:
            return Files()
        case Noun.CONTEXT:
            return AskKubectl(("config", "use-context", *_where(read), current))
        case noun:
            return AskKubectl(("get", _RESOURCES[noun], *_where(read), current))


def _noun(read: Walk, argument: Argument) -> Noun | None:
    if isinstance(argument.noun, Mapping):
        return argument.noun.get(read.words[0]) if read.words else None
    return argument.noun


def _where(read: Walk) -> Iterable[str]:
    return (f"{flag}={read.values[flag]}" for flag in _WHERE if flag in read.values)


def _flags(read: Walk) -> Iterable[tuple[str, str]]:
    for flag in read.arguments:
        if flag.is_flag and not any(name in read.flags for name in flag.names):
            yield flag.names[-1], flag.help
    yield "--help", "show what there is"


def _beginning(current: str, words: Iterable[tuple[str, str]]) -> Choices:
    return Choices(tuple((word, help) for word, help in words if word.startswith(current)))
