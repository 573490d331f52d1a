"""``kubectl_complete-weir``: kubectl runs it when somebody presses TAB after ``kubectl weir``.

It is given the words so far, the last of them half written or empty, and prints what may stand
there, a line each, and last a directive for the shell (``Completions`` and ``ShellCompDirective``
of https://github.com/spf13/cobra). Names of things are left to kubectl, which knows how to reach
the API server, and starts much faster than our own client.
"""

import subprocess
import sys

from weir_cli.completion import AskKubectl, Choices, Files, complete

_DEFAULT = ":0"
_NO_FILES = ":4"
# Whoever pressed TAB waits.
_REQUEST_TIMEOUT = "--request-timeout=2s"
_DEADLINE_SECONDS = 4.0


def main() -> None:
    """Answer for the command line of this process."""
    match complete(sys.argv[1:]):
        case Choices(words=words):
            lines = [f"{word}\t{help}" if help else word for word, help in words]
            print(*lines, _NO_FILES, sep="\n")
        case Files():
            print(_DEFAULT)
        case AskKubectl(arguments=arguments):
            print(_ask(arguments) or _NO_FILES)


def _ask(arguments: tuple[str, ...]) -> str:
    *command, current = arguments
    try:
        done = subprocess.run(  # noqa: S603 (the kubectl that is on the person's own path)
            ["kubectl", "__complete", *command, _REQUEST_TIMEOUT, current],  # noqa: S607
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_DEADLINE_SECONDS,
            check=False,
            text=True,
            errors="backslashreplace",  # a context may have any name
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
