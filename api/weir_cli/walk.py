"""Reads a command line, finished or not, by the table of commands. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from weir_cli.commandline import COMMANDS, COMMON, Argument, Command


@dataclass(slots=True)
class Walk:
    """What was read so far."""

    command: Command | None = None
    words: list[str] = field(default_factory=list)
    """Words that belong to no flag, the command aside."""
    flags: list[str] = field(default_factory=list)
    """Flags and their values, as given."""
    values: dict[str, str] = field(default_factory=dict)
    """Values of flags, by the flag's last name."""
    open_flag: Argument | None = None
    """A flag whose value comes next."""
    unknown: bool = False
    """Whether there was a flag or a command that nobody knows."""

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """What may come: of the command, if there is one, and of all."""
        return (*(self.command.arguments if self.command else ()), *COMMON)

    def flag(self, name: str) -> Argument | None:
        """Return the flag of that name, or None."""
        return next((flag for flag in self.arguments if name in flag.names), None)

    @property
    def next_word(self) -> Argument | None:
        """What the next word without a flag is; None: there may be none."""
        wanted = [argument for argument in self.arguments if not argument.is_flag]
        for at, argument in enumerate(wanted):
            if argument.repeats or at == len(self.words):
                return argument
        return None


def walk(arguments: Sequence[str]) -> Walk:
    """Read a command line."""
    read = Walk()
    for word in arguments:
        if read.open_flag is not None:
            _take_value(read, read.open_flag, word)
            read.flags.append(word)
        elif word.startswith("-") and word != "-":
            _take_flag(read, word)
        elif read.command is None:
            read.command = next((known for known in COMMANDS if known.name == word), None)
            read.unknown |= read.command is None
        else:
            read.words.append(word)
    return read


def arranged(arguments: Sequence[str]) -> Sequence[str]:
    """Return the command, its flags, then its words: argparse wants words in one row.

    What is not understood is returned as it is, for argparse to complain about.
    """
    read = walk(arguments)
    if read.unknown or read.command is None:
        return arguments
    return [read.command.name, *read.flags, *read.words]


def _take_flag(read: Walk, word: str) -> None:
    read.flags.append(word)
    name, equals, value = word.partition("=")
    if not equals and not word.startswith("--"):
        name, value = word[:2], word[2:]  # -nteam
    flag = read.flag(name)
    if flag is None:
        read.unknown = True
    elif not flag.takes_value:
        pass
    elif equals or value:
        _take_value(read, flag, value)
    else:
        read.open_flag = flag


def _take_value(read: Walk, flag: Argument, value: str) -> None:
    read.open_flag = None
    read.values[flag.names[-1]] = value
