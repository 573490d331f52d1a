"""Every example can be applied as it stands, says what it shows, and is what the models expect."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from support.cluster import Cluster
from weir_crds.task import Task

EXAMPLES = sorted((Path(__file__).parents[2] / "manifests" / "examples").glob("*.yaml"))


@pytest.fixture(params=EXAMPLES, ids=lambda path: path.name)
def example(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def tasks(example: Path) -> list[dict[str, Any]]:
    objects = yaml.safe_load_all(example.read_text())
    return [obj for obj in objects if obj["kind"] == "Task"]


def test_there_are_examples() -> None:
    assert "hello.yaml" in {path.name for path in EXAMPLES}


def test_the_api_server_takes_it_and_takes_it_again(example: Path, cluster: Cluster) -> None:
    for _ in range(2):
        cluster.kubectl("apply", "-f", str(example))
    for obj in tasks(example):
        name, namespace = obj["metadata"]["name"], obj["metadata"]["namespace"]
        assert name in cluster.kubectl("get", "wt", name, "-n", namespace, "-o", "name")
    cluster.kubectl("delete", "--timeout=60s", "-f", str(example))


def test_its_task_is_what_the_model_expects(example: Path) -> None:
    assert tasks(example)
    for obj in tasks(example):
        Task.model_validate({key: obj[key] for key in ("metadata", "spec")}, extra="forbid")


def test_it_begins_with_what_it_shows(example: Path) -> None:
    assert example.read_text().startswith("# ")
