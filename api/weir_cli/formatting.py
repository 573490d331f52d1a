"""Amounts, times, tables and objects the way kubectl prints them."""

import datetime as dt
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from weir_crds.unprintable import escape_unprintable

_BINARY = ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_GAP = 3
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


def format_bytes(count: int) -> str:
    """Return an amount of memory for people, rounded to what matters: ``7.5Gi``."""
    value, unit = float(count), ""
    for larger in _BINARY:
        if value < 1024:
            break
        value, unit = value / 1024, larger
    rounded = f"{value:.1f}" if value < 100 else f"{value:.0f}"
    return rounded.removesuffix(".0") + unit


def format_cpu(millis: int) -> str:
    """Return an amount of cpu: ``500m``, ``4``, ``1.5``."""
    if millis % 1000 and millis < 1000:
        return f"{millis}m"
    return f"{millis / 1000:g}"


def format_age(age: dt.timedelta) -> str:
    """Return a time span as kubectl does, the longer the coarser: ``45s``, ``3m12s``, ``5d``.

    Source: ``HumanDuration`` in k8s.io/apimachinery/pkg/util/duration.
    """
    seconds = max(0, int(age.total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 365 * 2:
        return f"{days}d"
    if days < 365 * 8:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}" + (f"{small}{small_unit}" if small else "")


def format_ranges(numbers: Iterable[int]) -> str:
    """Return numbers in the kernel's list format: ``0-3,8``."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)


def escape_control(text: str) -> str:
    """Return text with ``\\x1b`` and the like for what a terminal would obey."""
    return escape_unprintable(text, keep="\t\n")


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, with_header: bool = True) -> str:
    """Return columns that line up, as kubectl's; an empty cell is shown as ``<none>``.

    No cell goes beyond its line, whatever a host wrote into it.
    """
    cells = ([_cell(cell) for cell in row] for row in rows)
    lines = [list(header), *cells]
    widths = [max(map(len, column)) + _GAP for column in zip(*lines, strict=True)]
    return "\n".join(
        "".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (lines if with_header else lines[1:])
    )


def _cell(text: str) -> str:
    return escape_control(text).replace("\n", "\\n").replace("\t", "\\t") or "<none>"


def serialize(value: Any, output: str) -> str:
    """Return what programs read, as ``json`` or ``yaml``."""
    if output == "json":
        return json.dumps(value, indent=2)
    import yaml  # only where it is asked for

    # All ASCII, as the JSON is: the same bytes in every locale, and nothing that needs escaping.
    text: str = yaml.safe_dump(value, sort_keys=False)
    return text.rstrip("\n")


def parse_duration(text: str) -> float:
    """Return a time such as ``5``, ``5s`` or ``1m30s`` in seconds.

    Raises:
        ValueError: it is none.
    """
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"must be a time such as 5, 5s or 2m, not {text!r}")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
