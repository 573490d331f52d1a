"""`make demo` and `make down`, as a newcomer types them, and as an unlucky one does."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcluster import machine
from devcluster.state import CHECKOUT, State
from devcluster.supervise import Supervisor
from support.polling import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]


class Instance:
    """An instance reached only as a person does: by the command line and the env file."""

    def __init__(self, state: State) -> None:
        self.state = state

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command."""
        command = [sys.executable, "-m", "devcluster", "--state-dir", str(self.state.root)]
        return subprocess.Popen(
            [*command, *arguments],
            env=os.environ | {"PYTHONPATH": str(CHECKOUT / "hack")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> str:
        """Run a command, and return what it printed."""
        process = self.start(*arguments)
        output, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
        return output

    def shell(self, script: str) -> str:
        """Run a script after sourcing the env file."""
        done = subprocess.run(
            ["bash", "-ec", f". {self.state.env}; {script}"],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kill_supervisor(self) -> None:
        """kill -9, as soon as there is one."""
        os.kill(eventually(self._supervisor_pid), signal.SIGKILL)

    def _supervisor_pid(self) -> int:
        return Supervisor(self.state).pid() or 0

    def processes(self) -> list[str]:
        """Return the command lines of all processes that name the state directory."""
        found = []
        for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = cmdline.read_bytes().decode(errors="replace").replace("\0", " ")
            except OSError:
                continue
            if str(self.state.root) in words and int(cmdline.parent.name) != os.getpid():
                found.append(words)
        return found


@pytest.fixture
def instance(own_state: State) -> Iterator[Instance]:
    """An instance that is taken down at the end, if the test did not."""
    # Out of the way of the tests' own state, and gone: as on a machine that never saw Weir.
    state = State(own_state.root / "demo")
    made = Instance(state)
    yield made
    made.run("down")


def test_from_nothing_to_a_task_and_back_to_nothing(instance: Instance) -> None:
    shown = instance.run("demo", "--hosts", "2")

    assert "Task hello: Succeeded (Completed)" in shown
    assert "exit code  0" in shown
    assert "Hello from a container" in shown
    assert instance.shell("kubectl get wt hello -o jsonpath={.status.phase}") == "Succeeded"
    assert "Hello from" in instance.shell("kubectl weir logs hello")
    hosts = instance.shell("kubectl get wh -o name").split()
    assert len(hosts) == 2
    curl = 'curl -fsS -H "Authorization: Bearer $WEIR_TOKEN" "$WEIR_URL/api'
    assert len(json.loads(instance.shell(f'{curl}/nodes"'))) == 2
    (task,) = json.loads(instance.shell(f'{curl}/tasks"'))
    assert "Hello from" in instance.shell(f'{curl}/tasks/{task["task_id"]}/stdout"')
    password = re.findall(r"user admin, password (\S+)", shown)
    status = instance.run("status")
    for name in ("etcd", "kube-apiserver", "kube-controller-manager", "weir-operator", "weir-api"):
        assert name in status
    assert status.count("running") >= 7, status

    # Whatever is killed, whenever: the same command goes on from there.
    instance.kill_supervisor()
    interrupted = instance.start("demo", "--hosts", "1")
    instance.kill_supervisor()
    interrupted.kill()
    interrupted.communicate()

    again = instance.run("demo", "--hosts", "1")

    assert "Task hello: Succeeded (Completed)" in again
    assert instance.shell("kubectl get wh -o name").split() == hosts[:1]
    assert re.findall(r"user admin, password (\S+)", again) == password
    assert len(json.loads(instance.shell(f'{curl}/nodes"'))) == 1

    instance.run("down")

    assert not instance.state.root.exists()
    eventually(lambda: not instance.processes(), lambda: str(instance.processes()))
    bridge = machine.bridge_name(instance.state.id)
    assert not Path(f"/sys/class/net/{bridge}").exists()
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
    assert bridge not in rules
    assert str(instance.state.root) not in Path("/proc/mounts").read_text()
    assert instance.run("down") == "Nothing to stop.\n"
