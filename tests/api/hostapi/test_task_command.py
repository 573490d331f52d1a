"""Command text and argv."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir_api.hostapi.tasks.request import Argv, argv_of, text_of

TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"))


@pytest.mark.parametrize(
    ("text", "arguments", "argv"),
    [
        ("python", [], Argv(("python",))),
        ("python train.py --lr=0.1", [], Argv(("python", "train.py", "--lr=0.1"))),
        ("python", ["train.py", "a b"], Argv(("python",), ("train.py", "a b"))),
        ("  python\ttrain.py\n", [], Argv(("python", "train.py"))),
        ("", [], Argv()),
        (" ", ["--help"], Argv(None, ("--help",))),
        ("echo a | wc -c", [], Argv(("/bin/sh", "-c", "echo a | wc -c", "sh"))),
        ("echo a\necho b", [], Argv(("/bin/sh", "-c", "echo a\necho b", "sh"))),
        ("A=1 env", [], Argv(("/bin/sh", "-c", "A=1 env", "sh"))),
        ("exit 3", [], Argv(("/bin/sh", "-c", "exit 3", "sh"))),
        ("echo $HOME", ["x"], Argv(("/bin/sh", "-c", 'echo $HOME "$@"', "sh"), ("x",))),
        ("ls *", [], Argv(("/bin/sh", "-c", "ls *", "sh"))),
        ("/bin/sh -c x", [], Argv(("/bin/sh", "-c", "/bin/sh -c x", "sh"))),
    ],
)
def test_argv(text: str, arguments: list[str], argv: Argv) -> None:
    assert argv_of(text, arguments) == argv


@pytest.mark.parametrize(
    ("command", "args", "text"),
    [
        (None, None, ""),
        (None, ["--help"], ""),
        (["python", "a b.py"], None, "python 'a b.py'"),
        (["/bin/sh", "-c", "echo a; echo b"], None, "/bin/sh -c 'echo a; echo b'"),
        (["/bin/sh", "-c", 'printf %s "$@"', "sh"], None, 'printf %s "$@"'),
    ],
)
def test_text_of_what_kubectl_made(
    command: list[str] | None, args: list[str] | None, text: str
) -> None:
    assert text_of(command, args) == text


@given(TEXT, st.lists(TEXT, max_size=3))
def test_what_was_sent_is_shown(text: str, arguments: list[str]) -> None:
    argv = argv_of(text, arguments)
    assert text_of(argv.command, argv.args).split() == text.split()
    assert list(argv.args or ()) == arguments


@pytest.mark.parametrize(
    ("text", "arguments", "output"),
    [
        ("printf %s.", ["a b", "$HOME"], "a b.$HOME."),
        ("X=1; printf %s.", ["a b", "$HOME"], "a b.$HOME."),
        ("printf %s $((1 + 1))", [], "2"),
    ],
)
def test_what_runs(text: str, arguments: list[str], output: str) -> None:
    argv = argv_of(text, arguments)
    done = subprocess.run(
        [*(argv.command or ()), *(argv.args or ())], capture_output=True, text=True, check=True
    )
    assert done.stdout == output
