"""docs/cli.md says what the plugin has, all of it and nothing else."""

import re
import shlex
from pathlib import Path

import pytest

from weir_cli.commandline import COMMANDS, Command
from weir_cli.main import parse

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "cli.md").read_text()
README = DOCS.parent / "README.md"


def section(title: str) -> str:
    """Return the part of the page below a heading, up to the next one as high or higher."""
    level = title.partition(" ")[0]
    _, found, rest = PAGE.partition(f"\n{title}\n")
    assert found, f"the page has no {title}"
    return re.split(rf"\n#{{1,{len(level)}}} ", rest)[0]


def test_every_command_has_its_place_and_no_other() -> None:
    headings = re.findall(r"^### (.*)$", section("## Commands"), re.MULTILINE)
    assert headings == [command.name for command in COMMANDS]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_flag_of_a_command_is_explained_and_no_other(command: Command) -> None:
    rows = re.findall(r"^\| (`-.*?) \|", section(f"### {command.name}"), re.MULTILINE)
    explained = {name for row in rows for name in re.findall(r"`(-[^`]+)`", row)}
    assert explained == {name for flag in command.arguments if flag.is_flag for name in flag.names}


def test_the_exit_codes_are_those_of_the_help() -> None:
    rows = re.findall(r"^\| `(.*?)` \| (.*?) \| (.*?) \|$", section("## Exit codes"), re.MULTILINE)
    assert rows == [(command.name, command.done, command.failed) for command in COMMANDS]


@pytest.mark.parametrize("path", [README, *sorted(DOCS.rglob("*.md"))], ids=lambda path: path.stem)
def test_what_the_pages_type_is_understood(path: Path) -> None:
    """Every ``kubectl weir …`` in them parses, as it stands there."""
    text = path.read_text()
    typed = re.findall(r"^(?:\$ )?kubectl weir ([^#\n]+)", text, re.MULTILINE)
    for arguments in map(shlex.split, [*typed, *re.findall(r"`kubectl weir ([^`]+)`", text)]):
        if len(arguments) == 1:  # prose that names a command
            assert arguments[0] in {command.name for command in COMMANDS}
        elif arguments != ["help", "COMMAND"]:
            try:
                parse(arguments)
            except SystemExit:
                pytest.fail(f"{path.name}: kubectl weir {shlex.join(arguments)}")
