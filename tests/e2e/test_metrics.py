"""What Prometheus gets is what docs/operations.md explains."""

import re
from pathlib import Path

import pytest

from devcluster.components import OPERATOR_PROGRAM, daemon_program
from devcluster.rest import Rest
from support.facade_process import FacadeProcess
from support.tasks import task
from support.weir_system import WeirSystem

pytestmark = pytest.mark.e2e

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
FROM_THE_LIBRARY = ("python_", "process_")


def served(weir: WeirSystem, program: str) -> str:
    address = f"http://127.0.0.1:{weir.cluster.ports.get(program)}"
    return Rest(address).request("GET", "/metrics").decode()


def explained(part: str) -> set[str]:
    """Return the metrics of one table of the page."""
    text = PAGE.read_text().partition("\n## Metrics\n")[2].partition(f"\n### {part}\n")[2]
    return set(re.findall(r"^\| `(\w+)", text.partition("\n###")[0].partition("\n## ")[0], re.M))


def test_each_endpoint_serves_what_the_page_explains(
    weir: WeirSystem, facade: FacadeProcess, namespace: str
) -> None:
    """No metric more, none less, and the counts of a Task's life."""
    weir.create(task("counted", namespace, command=["true"]))
    weir.wait_finished(namespace, "counted")
    weir.wait_no_containers()
    assert facade.request("GET", "/api/auth/status").status == 200
    endpoints = {
        "Operator": served(weir, OPERATOR_PROGRAM),
        "Node daemon": served(weir, f"{daemon_program(weir.hosts[0])}-metrics"),
        "Facade": facade.health.request("GET", "/metrics").decode(),
    }
    for part, text in endpoints.items():
        names = set(re.findall(r"^# HELP (\w+)", text, re.M))
        ours = {name for name in names if not name.startswith(FROM_THE_LIBRARY)}
        assert ours == explained("All") | explained(part)
    assert "weir_operator_leader 1.0" in endpoints["Operator"]
    assert 'route="/api/auth/status"' in endpoints["Facade"]
    assert "weir_daemon_engine_ready 1.0" in endpoints["Node daemon"]
    assert 'weir_daemon_runs_ended_total{reason="Completed"}' in endpoints["Node daemon"]
