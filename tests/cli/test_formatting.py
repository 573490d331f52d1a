import datetime as dt
import json

import pytest
import yaml

from weir_cli.formatting import (
    escape_control,
    format_age,
    format_bytes,
    format_cpu,
    format_ranges,
    serialize,
    table,
)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0s"),
        (0.9, "0s"),
        (119, "119s"),
        (120, "2m"),
        (192, "3m12s"),
        (600, "10m"),
        (10799, "179m"),
        (10800, "3h"),
        (3 * 3600 + 60, "3h1m"),
        (8 * 3600 + 60, "8h"),
        (47 * 3600, "47h"),
        (48 * 3600, "2d"),
        (53 * 3600, "2d5h"),
        (8 * 86400, "8d"),
        (729 * 86400, "729d"),
        (730 * 86400, "2y"),
        (731 * 86400, "2y1d"),
        (3000 * 86400, "8y"),
    ],
)
def test_ages_are_kubectls(seconds: float, words: str) -> None:
    assert format_age(dt.timedelta(seconds=seconds)) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0"),
        (1023, "1023"),
        (1536, "1.5Ki"),
        (2**33, "8Gi"),
        (8053063680, "7.5Gi"),
        (250 * 2**30 + 2**29, "250Gi"),
        (2**60 * 3, "3Ei"),
    ],
)
def test_memory_is_rounded_to_what_matters(count: int, words: str) -> None:
    assert format_bytes(count) == words


@pytest.mark.parametrize(
    ("millis", "words"), [(0, "0"), (500, "500m"), (4000, "4"), (1500, "1.5"), (2250, "2.25")]
)
def test_cpu(millis: int, words: str) -> None:
    assert format_cpu(millis) == words


def test_ranges() -> None:
    assert format_ranges([8, 0, 2, 1, 3]) == "0-3,8"
    assert format_ranges([4, 5]) == "4-5"
    assert format_ranges([]) == ""


def test_no_cell_goes_beyond_its_line() -> None:
    (cell, *_), *_ = rows = [[r"x\ny\tz\x1b[2J", "1"], ["x", "2"]]
    shown = table(("A", "B"), [("x\ny\tz\x1b[2J", "1"), ("x", "2")])
    lines = [["A", "B"], *rows]
    assert shown == "\n".join(f"{a:{len(cell) + 3}}{b}" for a, b in lines)


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_what_programs_read_is_ascii_and_comes_back_as_it_was(output: str) -> None:
    value = {"name": "Größe \x1b[31m \u202e \x7f \x9b \n"}
    text = serialize(value, output)
    assert text.isascii()
    assert escape_control(text) == text
    assert (json.loads(text) if output == "json" else yaml.safe_load(text)) == value


def test_columns_line_up_and_no_cell_is_empty() -> None:
    assert table(("A", "LONG"), [("abc", "1"), ("", "22")]) == (
        "A        LONG\nabc      1\n<none>   22"
    )
