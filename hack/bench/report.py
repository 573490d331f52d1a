"""What a benchmark found: a table for people, JSON for everything else."""

import datetime as dt
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from devcluster.state import CHECKOUT

_MIB = 1024 * 1024


@dataclass(frozen=True)
class Figure:
    """One number, and what it should be; a goal is told, never enforced."""

    name: str
    value: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def reached(self) -> bool | None:
        """Whether the goal is met; None: there is none."""
        if self.at_most is not None:
            return self.value <= self.at_most
        if self.at_least is not None:
            return self.value >= self.at_least
        return None

    @property
    def goal(self) -> str:
        """The goal in words."""
        if self.at_most is not None:
            return f"at most {self.at_most:g}"
        return "" if self.at_least is None else f"at least {self.at_least:g}"

    @property
    def text(self) -> str:
        """It in words, with its goal."""
        told = f"{self.name} {_shown(self.value)} {self.unit}".rstrip()
        return f"{told} ({self.goal})" if self.goal else told


@dataclass(frozen=True)
class Table:
    """Numbers side by side; the first column names the row."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    def text(self) -> str:
        """Return it with aligned columns."""
        cells = [self.columns, *(tuple(map(_shown, row)) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = []
        for cell in cells:
            first, *rest = zip(cell, widths, strict=True)
            padded = [first[0].ljust(first[1]), *(text.rjust(width) for text, width in rest)]
            lines.append("  " + "   ".join(padded).rstrip())
        return "\n".join([self.title, *lines])


@dataclass
class Report:
    """The result of one benchmark."""

    benchmark: str
    size: str
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    samples: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """All that has a goal in one line, what is missed first."""
        judged = [one for one in self.figures if one.reached is not None]
        missed = [one.text for one in judged if not one.reached]
        reached = [one.text for one in judged if one.reached]
        word = f"MISSED {'; '.join(missed)} | reached" if missed else "reached"
        return f"{self.benchmark}: {word} {'; '.join(reached)}".rstrip()

    def text(self) -> str:
        """Return it for a person."""
        figures = Table(
            f"{self.benchmark} ({self.size})",
            ("FIGURE", "VALUE", "UNIT", "GOAL", ""),
            [
                (one.name, one.value, one.unit, one.goal, _WORDS[one.reached])
                for one in self.figures
            ],
        )
        return "\n\n".join(table.text() for table in (figures, *self.tables))

    def as_json(self) -> dict[str, Any]:
        """Return it for a program."""
        return {
            "benchmark": self.benchmark,
            "size": self.size,
            "figures": {
                one.name: {key: value for key, value in asdict(one).items() if value is not None}
                | ({} if one.reached is None else {"reached": one.reached})
                for one in self.figures
            },
            "tables": {
                table.title: [dict(zip(table.columns, row, strict=True)) for row in table.rows]
                for table in self.tables
            },
            "samples": self.samples,
            "environment": self.environment,
        }


_WORDS = {True: "reached", False: "MISSED", None: ""}


def spread(values: Sequence[float], digits: int = 3) -> tuple[float, ...]:
    """Return median, 10th and 90th percentile."""
    if len(values) < 2:
        return (round(values[0], digits),) * 3
    tenths = statistics.quantiles(values, n=10, method="inclusive")
    return tuple(round(v, digits) for v in (statistics.median(values), tenths[0], tenths[-1]))


def environment() -> dict[str, Any]:
    """Return what the figures depend on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _MIB
    return {
        "when": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "cores": len(os.sched_getaffinity(0)),
        "memoryMiB": memory,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "loadAverage": round(os.getloadavg()[0], 2),
        "command": " ".join(["python", "-m", "bench", *sys.argv[1:]]),
    }


def _commit() -> str:
    done = subprocess.run(
        ["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


def _shown(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3f}"
