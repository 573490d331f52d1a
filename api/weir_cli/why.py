"""``kubectl weir why``."""

import datetime as dt

from weir_cli.explain import explain, explain_host
from weir_cli.kubectl import Kubectl, KubectlError
from weir_cli.options import WhyOptions
from weir_crds.kinds import HOST, TASK
from weir_kube.store import Object


def print_why(kubectl: Kubectl, options: WhyOptions) -> None:
    """Say why a Task waits or ended as it did, or why a Host takes nothing new."""
    now = dt.datetime.now(dt.UTC)
    if options.is_host:
        host = kubectl.get(HOST, options.name)
        print("\n".join(explain_host(host, _all_tasks(kubectl), now)))
        return
    task = kubectl.get(TASK, options.name, kubectl.namespace)
    status = task.get("status") or {}
    hosts: list[Object] = []
    tasks: list[Object] | None = None
    if not status.get("finishedAt"):
        hosts = kubectl.list(HOST)
        if not status.get("nodeName"):
            tasks = _all_tasks(kubectl)
    print("\n".join(explain(task, hosts, tasks, now)))


def _all_tasks(kubectl: Kubectl) -> list[Object] | None:
    """Return the Tasks of all namespaces; None: the person may not see them."""
    try:
        return kubectl.list(TASK)
    except KubectlError as error:
        if error.status != "Forbidden":
            raise
        return None
