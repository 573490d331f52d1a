"""Every benchmark runs, at its smallest, and tells what it is to tell. No figure is judged here."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bench import scheduler
from bench.__main__ import measure
from bench.report import Figure, Report, Table
from bench.sizes import SIZES
from bench.system import System
from devcluster import dockerd
from support.cluster import OwnCluster


@pytest.fixture(scope="module")
def system(own_cluster: OwnCluster) -> Iterator[System]:
    """A control plane on which nothing of the other tests runs."""
    with own_cluster("bench", dockerd.clean_up) as cluster:
        found = System(cluster)
        try:
            yield found
        finally:
            found.close()


@pytest.mark.docker
@pytest.mark.parametrize("name", ["latency", "throughput"])
async def test_tasks_are_compared_with_raw_docker(system: System, name: str) -> None:
    found = _checked(await measure(name, system, SIZES["tiny"]))

    assert any("raw" in figure and "x" in value["unit"] for figure, value in found.items())


async def test_the_control_path_is_compared_with_bare_calls(system: System) -> None:
    found = _checked(await measure("control", system, SIZES["tiny"]))

    # Created, bound, started, ended, deleted; a start and an end that are near each other are told
    # in one write, and how near they are is a matter of the machine.
    assert 4 <= found["writes per Task, with its later deletion"]["value"] <= 5
    assert 4 <= found["writes per Task that ends at once, likewise"]["value"] <= 5


async def test_a_restart_is_measured(system: System) -> None:
    report = await measure("restart", system, SIZES["tiny"])

    assert any("ready with 20 finished and 5 waiting" in figure for figure in _checked(report))


async def test_the_facade_is_compared_with_a_bare_server(system: System) -> None:
    found = _checked(await measure("facade", system, SIZES["tiny"]))

    assert found["GET /status/{id} to the bare handler"]["value"] > 0
    assert found["POST /submit, 16 clients"]["value"] > 0
    assert "memory with 20 Tasks, rows of 1000 made" in found


async def test_status_writes_are_compared_with_those_without_rules(system: System) -> None:
    found = _checked(await measure("writes", system, SIZES["tiny"]))

    assert "status write of a Task to one without rules" in found


async def test_the_plugin_is_measured_in_a_fleet(system: System) -> None:
    report = await measure("cli", system, SIZES["tiny"])

    assert _checked(report)["CPU of `hosts`, 10 hosts, 40 Tasks"]["value"] > 0
    assert {row[:2] for row in report.tables[0].rows} == {(1, 4), (10, 40)}


@pytest.mark.docker
async def test_good_tasks_end_right_in_a_storm(system: System) -> None:
    found = _checked(await measure("storm", system, SIZES["tiny"]))

    assert found["good Tasks that ended otherwise than they should"]["value"] == 0
    assert found["others are served by the facade meanwhile"]["value"] == 1


async def test_scheduling_alone_is_measured_by_number_of_hosts() -> None:
    report = await scheduler.run(SIZES["tiny"])

    found = _checked(report)
    assert found["CPU per bind"]["value"] > 0
    assert [row[0] for row in report.tables[0].rows] == [*SIZES["tiny"].fleets]
    assert all(row[3] > 0 for row in report.tables[0].rows), "nothing was bound"


def _checked(report: Report) -> dict[str, Any]:
    """Return the figures after a look at both forms of a report."""
    written = json.loads(json.dumps(report.as_json()))
    assert all(figure.name in report.text() for figure in report.figures)
    assert all(table.rows and table.title in report.text() for table in report.tables)
    figures: dict[str, Any] = written["figures"]
    assert all(figure["value"] >= 0 for figure in figures.values())
    return figures


@pytest.mark.parametrize(
    ("figure", "reached"),
    [
        (Figure("a", 1.2, at_most=1.25), True),
        (Figure("a", 1.3, at_most=1.25), False),
        (Figure("a", 0.8, at_least=0.7), True),
        (Figure("a", 0.6, at_least=0.7), False),
        (Figure("a", 0.6), None),
    ],
)
def test_a_goal_is_told_and_not_enforced(figure: Figure, reached: bool | None) -> None:
    assert figure.reached is reached


def test_a_verdict_is_one_line_that_begins_with_what_is_missed() -> None:
    report = Report("some", "tiny")
    report.figures += [Figure("kept", 1.5, "x", at_most=2), Figure("told", 7.0)]
    assert report.verdict == "some: reached kept 1.500 x (at most 2)"

    report.figures.append(Figure("lost", 0.5, "x", at_least=0.85))
    assert report.verdict == (
        "some: MISSED lost 0.500 x (at least 0.85) | reached kept 1.500 x (at most 2)"
    )


def test_a_table_is_aligned() -> None:
    table = Table("title", ("NAME", "VALUE"), [("a", 0.5), ("longer", 12.34)])

    assert table.text() == "title\n  NAME     VALUE\n  a        0.500\n  longer    12.3"
