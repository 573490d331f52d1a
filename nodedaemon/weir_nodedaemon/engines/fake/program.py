"""What a fake container runs: a handful of shell words, read once into steps. Pure.

The same ``sh -c`` lines do the same under a real shell, so that a manifest or a test runs on either
engine. Known words: ``true false exit sleep echo printf yes … | head -c N, cat, trap, kill, wait``,
``tail /dev/zero`` (which eats all memory), joined by ``;``, ``&&`` or new lines, with ``>&2``.
"""

import codecs
import re
import shlex
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import Template

from weir_nodedaemon.engines.port import Stream

_SHELLS = {"sh", "/bin/sh", "ash", "bash", "/bin/bash"}
_SEPARATORS = {";", "&&", "&", "\n"}
_PUNCTUATION = ";&|<>\n"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_FOR_EVER = 1e9
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")


@dataclass(frozen=True, slots=True)
class Write:
    """Put bytes on a stream."""

    stream: Stream
    data: bytes


@dataclass(frozen=True, slots=True)
class Sleep:
    """Do nothing for so long; time in which the container is paused does not count."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Exit:
    """End with this code."""

    code: int


@dataclass(frozen=True, slots=True)
class Die:
    """End by this signal."""

    signal_number: int


@dataclass(frozen=True, slots=True)
class Trap:
    """From now on end with this code at that signal; None: ignore it."""

    signal_number: int
    code: int | None


@dataclass(frozen=True, slots=True)
class EatMemory:
    """Take memory until the limit, and be killed there."""


Step = Write | Sleep | Exit | Die | Trap | EatMemory


def parse(argv: Sequence[str], env: Mapping[str, str]) -> list[Step] | None:
    """Return what a program does, or None when there is no such program."""
    if len(argv) >= 3 and argv[0] in _SHELLS and argv[1] == "-c":
        return list(_script(argv[2], env))
    return _command(list(argv))


def _script(text: str, env: Mapping[str, str]) -> Iterator[Step]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=_PUNCTUATION)
    lexer.whitespace = " \t"
    lexer.whitespace_split = True
    lexer.commenters = ""
    words: list[str] = []
    for token in [*lexer, ";"]:
        if token not in _SEPARATORS:
            words.append(Template(token).safe_substitute(env))
            continue
        if words:
            steps = _command(words)
            yield from steps if steps is not None else _not_found(words[0])
        words = []


def _not_found(word: str) -> list[Step]:
    return [Write(Stream.STDERR, f"sh: {word}: not found\n".encode())]


def _command(words: list[str]) -> list[Step] | None:
    stream = Stream.STDOUT
    if words[-2:] == [">&", "2"]:
        stream, words = Stream.STDERR, words[:-2]
        if words[-1:] == ["1"]:
            words = words[:-1]
    name, rest = words[0].rpartition("/")[2], words[1:]
    match name:
        case "true" | "wait" | ":":
            return []
        case "false":
            return [Exit(1)]
        case "exit":
            return [Exit(int(rest[0]) if rest else 0)]
        case "sleep":
            return [Sleep(_seconds(rest[0]))]
        case "echo" | "print":
            newline = "" if rest[:1] == ["-n"] else "\n"
            line = " ".join(rest if newline else rest[1:]) + newline
            return [Write(stream, line.encode())]
        case "printf":
            data, _ = codecs.escape_decode(rest[0].encode())
            return [Write(stream, data)]
        case "yes":
            return _flood(stream, rest)
        case "trap":
            return [_trap(*rest)]
        case "kill":
            return [Die(int(rest[0].removeprefix("-")))]
        case "tail" if rest == ["/dev/zero"]:
            return [EatMemory()]
    return None


def _flood(stream: Stream, words: list[str]) -> list[Step]:
    """``yes <text> | head -c <bytes>``."""
    *text, _, _, _, count = words
    line = (" ".join(text) or "y").encode() + b"\n"
    size = int(count)
    return [Write(stream, (line * (size // len(line) + 1))[:size])]


def _trap(action: str, name: str) -> Trap:
    """``trap '' TERM`` or ``trap 'exit 5' TERM``."""
    number = signal.Signals[f"SIG{name}"].value
    return Trap(number, int(action.removeprefix("exit ")) if action else None)


def _seconds(text: str) -> float:
    match = _DURATION.fullmatch(text)
    return float(match[1]) * _SECONDS[match[2] or "s"] if match else _FOR_EVER
