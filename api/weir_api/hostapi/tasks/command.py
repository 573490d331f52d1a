"""Between the command text of REST and the argv of a Task, both ways. Pure.

A text of plain words is that argv: no shell needs to be in the image. Anything else is a shell's to
read, and becomes ``/bin/sh -c TEXT sh ARGUMENTS…``.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

_SHELL = ("/bin/sh", "-c")
_SHELL_NAME = "sh"
_ALL_ARGUMENTS = ' "$@"'

_WORD = r"[A-Za-z0-9_@%+:,./=-]+"
_PLAIN = re.compile(rf"{_WORD}([ \t]+{_WORD})*")
# Words that only a shell knows; those that are programs too (echo, test, kill) are not among them.
_SHELL_WORD = re.compile(
    r"[.:]|alias|bg|break|case|cd|command|continue|do|done|elif|else|esac|eval|exec|exit|export|fc"
    r"|fg|fi|for|function|getopts|hash|if|in|jobs|local|read|readonly|return|select|set|shift"
    r"|source|then|time|times|trap|type|ulimit|umask|unalias|unset|until|wait|while"
)


@dataclass(frozen=True, slots=True)
class Argv:
    """What stands in a Task's ``spec.command`` and ``spec.args``; None: the image's own."""

    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None


def argv_of(text: str, arguments: Sequence[str]) -> Argv:
    """Return what runs a command text with these arguments."""
    args = tuple(arguments) or None
    if not text.strip():
        return Argv(None, args)
    words = tuple(text.split()) if _PLAIN.fullmatch(text.strip()) else ()
    if words and not _needs_shell(words):
        return Argv(words, args)
    return Argv((*_SHELL, text + _ALL_ARGUMENTS if args else text, _SHELL_NAME), args)


def text_of(command: Sequence[str] | None, args: Sequence[str] | None) -> str:
    """Return the command text of a Task, as it was sent, or as a shell would take it."""
    if not command:
        return ""
    if len(command) == 4 and tuple(command[:2]) == _SHELL and command[3] == _SHELL_NAME:
        return command[2].removesuffix(_ALL_ARGUMENTS) if args else command[2]
    return shlex.join(command)


def _needs_shell(words: tuple[str, ...]) -> bool:
    first = words[0]
    # What looks like our own shell line would be read back as one.
    return "=" in first or _SHELL_WORD.fullmatch(first) is not None or words[:2] == _SHELL
