"""``kubectl weir why``."""

import datetime as dt
from collections.abc import Iterable

from weir_cli.explain import explain, explain_host
from weir_cli.kubectl import Kubectl, KubectlError
from weir_cli.options import WhyOptions
from weir_cli.tasks import all_tasks, bound_tasks
from weir_crds.kinds import HOST, TASK
from weir_kube.store import Object


def print_why(kubectl: Kubectl, options: WhyOptions) -> None:
    """Say why a Task waits or ended as it did, or why a Host takes nothing new."""
    now = dt.datetime.now(dt.UTC)
    if options.is_host:
        host = kubectl.get(HOST, options.name)
        print("\n".join(explain_host(host, bound_tasks(kubectl, [options.name]), now)))
        return
    task = kubectl.get(TASK, options.name, kubectl.namespace)
    status = task.get("status") or {}
    hosts: list[Object] | None = []
    tasks: Iterable[Object] | None = None
    if not status.get("finishedAt"):
        hosts = _hosts(kubectl, status.get("nodeName"))
        if hosts and not status.get("nodeName"):
            tasks = all_tasks(kubectl)
    print("\n".join(explain(task, hosts, tasks, now)))


def _hosts(kubectl: Kubectl, name: str | None) -> list[Object] | None:
    """Return the Host of this name if there is one, or all; None: the person may not see them."""
    try:
        if name is None:
            return kubectl.list(HOST)
        host = kubectl.find(HOST, name)
    except KubectlError as error:
        if error.status != "Forbidden":
            raise
        return None
    return [host] if host else []
