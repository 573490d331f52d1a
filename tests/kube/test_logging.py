"""Log lines: one for each message, whatever stands in it."""

import json
import logging
from collections.abc import Iterator

import pytest

from weir_kube.logging import setup_logging

FORGED = "there is no host x\n2026-11-22T10:00:00.000Z ERROR weir: forged\x1b[2J\u2028\x85\u202eé"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """The log goes where it went before."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_nobody_writes_lines_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging()
    logging.getLogger("weir").info("refused: %s", FORGED)

    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(
        r"refused: there is no host x\n2026-11-22T10:00:00.000Z ERROR weir: forged"
        r"\x1b[2J\u2028\x85\u202eé"
    )


def test_a_traceback_has_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging()
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("weir").exception("failed")

    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("ERROR weir: failed")
    assert lines[1:2] == ["Traceback (most recent call last):"]
    assert lines[-1] == "ValueError: why"


def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging(json=True)
    logging.getLogger("weir").info("refused: %s", FORGED)

    (line,) = capsys.readouterr().err.splitlines()
    assert r"\x1b[2J\u2028\x85\u202eé".replace(r"\x", r"\u00") in line
    told = json.loads(line)
    assert (told["level"], told["message"]) == ("info", f"refused: {FORGED}")
