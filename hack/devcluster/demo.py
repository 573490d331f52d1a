"""One Task through the whole of Weir, and what to try next."""

import json
import os
import subprocess
import time
from typing import Any

from devcluster.console import say
from devcluster.errors import DevClusterError
from devcluster.instance import Instance
from devcluster.manifests import kubectl
from devcluster.state import CHECKOUT

_EXAMPLE = CHECKOUT / "manifests" / "examples" / "hello.yaml"
_TASK = "/apis/weir.dev/v1alpha1/namespaces/default/tasks/hello"
_DEADLINE_SECONDS = 120.0


def run(base: Instance) -> str:
    """Run the Task ``hello`` anew, unless it is on its way, and return a report for a person.

    Raises:
        DevClusterError: it did not end in time; the hint says what is known.
    """
    seen = base.plane.admin.find(_TASK)
    if seen is not None and _finished(seen):
        kubectl(base.plane, base.state.kubeconfig, "delete", "-f", str(_EXAMPLE))
    kubectl(base.plane, base.state.kubeconfig, "apply", "-f", str(_EXAMPLE))
    say(f"applied {_EXAMPLE.relative_to(CHECKOUT)}")
    task = _follow(base)
    return _report(base, task, _output(base))


def _follow(base: Instance) -> dict[str, Any]:
    """Wait for the Task's end, telling each step."""
    told = ""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while True:
        task = base.plane.admin.json("GET", _TASK)
        step = _step(task)
        if step != told:
            say(f"Task hello: {step}")
            told = step
        if _finished(task):
            return task
        if time.monotonic() > deadline:
            raise DevClusterError(
                f"The Task hello has not ended after {_DEADLINE_SECONDS:.0f} s; it is {step}.",
                "\n".join(_why(base, task)),
            )
        time.sleep(0.1)


def _finished(task: dict[str, Any]) -> bool:
    return "finishedAt" in task.get("status", {})


def _step(task: dict[str, Any]) -> str:
    status = task.get("status", {})
    where = f" on {status['nodeName']}" if status.get("nodeName") else ""
    return f"{status.get('phase', 'accepted')}{where}"


def _why(base: Instance, task: dict[str, Any]) -> list[str]:
    """Return the Task's conditions, then the log of whoever has to move next."""
    status = task.get("status", {})
    lines = [
        f"{c['type']}={c['status']} {c['reason']}: {c.get('message', '')}"
        for c in status.get("conditions", [])
    ]
    host = status.get("nodeName")
    culprit = f"weir-nodedaemon-{host}" if host else "weir-operator"
    return [*lines, base.supervisor.log_tail(culprit)]


def _output(base: Instance) -> str:
    done = subprocess.run(
        [base.state.bin / "kubectl", "weir", "logs", "hello"],
        env=os.environ
        | {
            "KUBECONFIG": str(base.state.kubeconfig),
            "PATH": f"{base.state.bin}:{os.environ['PATH']}",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
        check=False,
    )
    if done.returncode != 0:
        raise DevClusterError("`kubectl weir logs hello` failed.", done.stderr.strip())
    return done.stdout


def _report(base: Instance, task: dict[str, Any], output: str) -> str:
    status = task["status"]
    ended = next(c for c in status["conditions"] if c["type"] == "Succeeded")
    lines = [
        "",
        f"Task hello: {status.get('phase')} ({ended['reason']})",
        f"  host       {status.get('nodeName')}",
        f"  cores      {', '.join(map(str, status.get('cpus', [])))}",
        f"  exit code  {status.get('exitCode')}",
        "  output",
        *(f"    {line}" for line in output.splitlines()),
        "",
        f"Host API: {base.login.url}  (its documentation: {base.login.url}/docs)",
        f"  user {base.login.username}, password {base.login.password}",
        "",
        "Now try:",
        f"  . {os.path.relpath(base.state.env)}",
        "  kubectl get wt,wh                       # Tasks and Hosts",
        "  kubectl weir logs hello",
        "  kubectl weir hosts                      # what is free where",
        "  kubectl explain task.spec --api-version=weir.dev/v1alpha1",
        "  kubectl apply -f manifests/examples/    # more Tasks",
        "  kubectl get wt -w                       # and watch them",
        '  curl -H "Authorization: Bearer $WEIR_TOKEN" $WEIR_URL/api/tasks',
        "  make demo HOSTS=3                       # three hosts on this machine",
        "  make status                             # what runs here",
        "  make down                               # stop all, leave nothing",
    ]
    if ended["status"] != "True":
        raise DevClusterError("The Task hello did not succeed.", json.dumps(status, indent=1))
    return "\n".join(lines)
