"""Reads a command line, finished or not, by the table of commands. Pure."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field

from weir_cli.commandline import COMMANDS, COMMON, Argument, Command

_BOOLEANS = {"true": True, "false": False}


@dataclass(slots=True)
class ParsedLine:
    """What was read so far."""

    command: Command | None = None
    positionals: list[str] = field(default_factory=list)
    """Arguments that belong to no flag, the command aside."""
    flags: list[str] = field(default_factory=list)
    """Flags and their values, as argparse takes them."""
    given: list[tuple[Argument, str | None]] = field(default_factory=list)
    """The flags that are complete, each with its value; None: it takes none."""
    open_flag: Argument | None = None
    """A flag whose value comes next."""
    unknown: str | None = None
    """The first flag or command that nobody knows, as it was written."""

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """What may come: of the command, if there is one, and of all."""
        return (*(self.command.arguments if self.command else ()), *COMMON)

    def flag(self, name: str) -> Argument | None:
        """Return the flag of that name, or None."""
        return next((flag for flag in self.arguments if name in flag.names), None)

    @property
    def next_positional(self) -> Argument | None:
        """What the next argument without a flag is; None: there may be none."""
        wanted = [argument for argument in self.arguments if not argument.is_flag]
        for at, argument in enumerate(wanted):
            if argument.repeats or at == len(self.positionals):
                return argument
        return None

    def close_to_unknown(self) -> list[str]:
        """Return what the unknown flag or command may have been meant to be."""
        if self.unknown is None:
            return []
        if self.unknown.startswith("-"):
            known = [name for flag in self.arguments for name in flag.names]
        else:
            known = [command.name for command in COMMANDS]
        return difflib.get_close_matches(self.unknown, known, cutoff=0.75)


def parse_line(arguments: Sequence[str]) -> ParsedLine:
    """Read a command line."""
    line = ParsedLine()
    flags_end = False
    for word in arguments:
        if word == "--" and not flags_end:
            flags_end = True
        elif line.open_flag is not None:
            line.given.append((line.open_flag, word))
            line.flags.append(word)
            line.open_flag = None
        elif word.startswith("-") and word != "-" and not flags_end:
            for flag in _separated(line, word):
                _add_flag(line, flag)
        elif line.command is None:
            line.command = next((known for known in COMMANDS if known.name == word), None)
            if line.command is None:
                line.unknown = line.unknown or word
        else:
            line.positionals.append(word)
    return line


def reordered(line: ParsedLine) -> Sequence[str]:
    """Return the command, its flags, then its positionals: argparse wants those in one row."""
    return [*([line.command.name] if line.command else []), *line.flags, *line.positionals]


def _separated(line: ParsedLine, word: str) -> list[str]:
    """Return flags that were written as one, each by itself: ``-fn`` is ``-f`` and ``-n``."""
    if word.startswith("--"):
        return [word]
    flag, rest = line.flag(word[:2]), word[2:]
    if not rest or rest.startswith("=") or flag is None or flag.takes_value:
        return [word]
    return [word[:2], *_separated(line, f"-{rest}")]


def _add_flag(line: ParsedLine, word: str) -> None:
    name, equals, value = word.partition("=")
    if not equals and not word.startswith("--"):
        name, value = word[:2], word[2:]  # -nteam
    flag = line.flag(name)
    if flag is None and name not in ("-h", "--help"):
        line.unknown = line.unknown or name
    elif flag is not None and not flag.takes_value:
        _add_switch(line, flag, word, value if equals else "true")
        return
    elif flag is not None and (equals or value):
        line.given.append((flag, value))
    else:
        line.open_flag = flag
    line.flags.append(word)


def _add_switch(line: ParsedLine, flag: Argument, word: str, value: str) -> None:
    """Take a flag without a value, or with one as Go's programs take it: ``--follow=false``."""
    on = _BOOLEANS.get(value)
    if on is not False:
        line.given.append((flag, None))
        line.flags.append(word if on is None else word.partition("=")[0])
