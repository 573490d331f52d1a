"""``kubectl weir why``."""

import datetime as dt

from weir_cli.explain import explain
from weir_cli.options import WhyOptions
from weir_cli.reads import get_task, list_hosts, list_tasks
from weir_kube.api import Api, Objects
from weir_kube.errors import ForbiddenError


async def print_why(api: Api, options: WhyOptions) -> None:
    """Say why a Task waits or ended as it did."""
    task = await get_task(api, options, options.name)
    status = task.get("status") or {}
    hosts: Objects = []
    tasks: Objects | None = None
    if not status.get("finishedAt"):
        hosts = await list_hosts(api, options)
        if not status.get("nodeName"):
            try:
                tasks = await list_tasks(api, options)
            except ForbiddenError:
                tasks = None
    print("\n".join(explain(task, hosts, tasks, dt.datetime.now(dt.UTC))))
