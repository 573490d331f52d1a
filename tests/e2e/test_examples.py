"""The examples do what their first lines say."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.tasks import condition
from support.weir_system import WeirSystem

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).parents[2] / "manifests" / "examples"


def approve(weir: WeirSystem) -> None:
    weir.wait_condition("default", "approval", "Scheduled", "False")
    weir.patch_spec("default", "approval", approval="Approved")


def let_go(weir: WeirSystem) -> None:
    for name in ("urgent", "later"):
        weir.wait_condition("default", name, "Scheduled", "False")
        weir.patch_spec("default", name, suspend=False)


def nothing(weir: WeirSystem) -> None:
    pass


CASES: list[tuple[str, Callable[[WeirSystem], None], dict[str, str]]] = [
    ("hello.yaml", nothing, {"default/hello": "Completed"}),
    ("exit-code.yaml", nothing, {"default/exit-code": "NonZeroExit"}),
    ("timeout.yaml", nothing, {"default/timeout": "TimedOut"}),
    ("approval.yaml", approve, {"default/approval": "Completed"}),
    ("priority.yaml", let_go, {"default/urgent": "Completed", "default/later": "Completed"}),
    ("secrets.yaml", nothing, {"example-secrets/secrets": "Completed"}),
    ("host-folder.yaml", nothing, {"example-privileged/host-folder": "Completed"}),
]


@pytest.mark.parametrize(("example", "act", "ends"), CASES)
def test_an_example(
    example: str, act: Callable[[WeirSystem], None], ends: dict[str, str], weir: WeirSystem
) -> None:
    weir.cluster.kubectl("apply", "-f", str(EXAMPLES / example))
    act(weir)
    for task, reason in ends.items():
        namespace, _, name = task.partition("/")
        seen = weir.wait_finished(namespace, name)
        assert condition(seen, "Succeeded")["reason"] == reason, seen["status"]
    weir.cluster.kubectl("delete", "--timeout=60s", "-f", str(EXAMPLES / example))


def test_every_example_is_tried() -> None:
    assert {example for example, _, _ in CASES} == {path.name for path in EXAMPLES.glob("*.yaml")}
