"""docs/operations.md says what the programs have, all of it and nothing else."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from weir_crds.conditions import ConditionType, Reason

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
COMPONENTS = {"Operator": "weir_operator", "Node daemon": "weir_nodedaemon", "Facade": "weir_api"}
# Prints what the registry has, as Prometheus gets it, with labels.
_METRICS = """
import importlib, json, sys
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase
importlib.import_module(sys.argv[1] + ".main")
found = {}
for collector in set(REGISTRY._collector_to_names):
    if isinstance(collector, MetricWrapperBase):
        (family,) = collector.describe()
        total = "_total" if family.type == "counter" else ""
        found[family.name + total] = list(collector._labelnames)
print(json.dumps(found))
"""


def section(title: str) -> str:
    """Return the part of the page below a heading of the second level."""
    _, _, rest = PAGE.read_text().partition(f"\n## {title}\n")
    assert rest, f"the page has no section {title}"
    return rest.partition("\n## ")[0]


def tables(title: str) -> dict[str, list[str]]:
    """Return the first cells of a section's tables, by their headings of the third level."""
    found: dict[str, list[str]] = {}
    for part in section(title).split("\n### ")[1:]:
        heading = part.partition("\n")[0]
        assert heading not in found, f"there are two sections {heading}"
        found[heading] = list(_first_cells(part))
        assert len(set(found[heading])) == len(found[heading]), f"{heading} says something twice"
    return found


def _first_cells(text: str) -> Iterator[str]:
    yield from re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def test_every_reason_is_explained_and_no_other() -> None:
    explained = {reason for found in tables("Reasons").values() for reason in found}
    assert explained == set(Reason)


def test_reasons_stand_below_conditions_that_there_are() -> None:
    for heading in tables("Reasons"):
        kind, _, types = heading.partition(": ")
        assert kind in ("Task", "Host")
        assert set(types.split(" and ")) <= set(ConditionType)


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_metric_is_explained_with_its_labels_and_no_other(component: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _METRICS, COMPONENTS[component]],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = {
        f"{name}{{{','.join(labels)}}}" if labels else name
        for name, labels in json.loads(done.stdout).items()
    }
    explained = tables("Metrics")
    assert {*explained["All"], *explained[component]} == found


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_flag_is_explained_and_no_other(component: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", COMPONENTS[component], "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = set(re.findall(r"^  (?:-h, )?(--[a-z-]+)", done.stdout, re.MULTILINE)) - {"--help"}
    assert set(tables("Flags")[component]) == found


def test_links_within_the_page_lead_somewhere() -> None:
    text = PAGE.read_text()
    headings = {
        line.lstrip("# ").lower().replace(" ", "-").replace(":", "")
        for line in text.splitlines()
        if line.startswith("#")
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings
