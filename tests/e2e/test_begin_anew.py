"""A test that fails takes no other with it: the next one finds no trace of it."""

import pytest

from support.tasks import task
from support.weir_system import WeirSystem
from weir_crds.kinds import TASK

pytestmark = pytest.mark.e2e


def test_what_an_earlier_test_left_is_gone(weir: WeirSystem, namespace: str) -> None:
    """Running, paused and waiting Tasks in any namespace, with no part of Weir alive."""
    for where, name in (("default", "runs"), (namespace, "paused")):
        weir.create(task(name, where, command=["sleep", "600"]))
        weir.wait_condition(where, name, "Started", "True")
    weir.create(task("waits", namespace, command=["sleep", "600"]))
    weir.patch_spec(namespace, "paused", desiredState="Paused")
    weir.wait_condition(namespace, "paused", "Paused", "True")
    weir.kill("daemon")
    weir.kill("operator")
    weir.cluster.kill_apiserver()
    assert len(weir.containers()) == 2

    weir.begin_anew()

    assert weir.containers() == []
    assert weir.cluster.admin.json("GET", TASK.path())["items"] == []
    assert weir.process("daemon").running()
    assert weir.process("operator").running()
