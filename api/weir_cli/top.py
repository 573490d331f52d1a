"""``kubectl weir top``."""

import sys
from collections.abc import Iterable, Iterator

from weir_cli.daemon import Daemon
from weir_cli.errors import CommandError
from weir_cli.figures import (
    Answers,
    GpuFigures,
    HostFigures,
    Silence,
    TaskFigures,
    by_use,
    gpu_figures,
    gpu_json,
    gpus_table,
    host_figures,
    host_json,
    hosts_table,
    runs,
    task_figures,
    task_json,
    tasks_table,
)
from weir_cli.formatting import serialize
from weir_cli.kubectl import ONE_BY_ONE, Kubectl
from weir_cli.options import TopOptions
from weir_cli.proxy import kubectl_proxy
from weir_cli.stats import read_stats
from weir_crds.facts import is_external
from weir_crds.kinds import HOST, TASK
from weir_kube.store import Object

_ALL_SECONDS = 60.0


def print_top(kubectl: Kubectl, options: TopOptions) -> None:
    """Show what hosts and running Tasks use now.

    Raises:
        CommandError: the figures of some hosts are missing.
        KubectlError: the API server refused, or was not reached.
    """
    tasks: list[Object] = []
    if options.what == "tasks" and options.names:
        named = kubectl.named(TASK, options.names, kubectl.namespace)
        _report_idle(named)
        tasks = [task for task in named if runs(task)]
    elif options.what != "hosts":
        tasks = [*filter(runs, _bound(kubectl, options))]
    hosts = _hosts(kubectl, options, {task["status"]["nodeName"] for task in tasks})
    seen = _ask_all(kubectl, hosts)
    host_rows = [host_figures(name, found) for name, found in seen.items()]
    _print(options, host_rows, gpu_figures(seen), task_figures(tasks, seen))
    missing = [found for found in seen.values() if isinstance(found, Silence)]
    if any(found.failed for found in missing) or (missing and len(missing) == len(seen)):
        of = f"{len(seen)} host{'s' if len(seen) > 1 else ''}"
        raise CommandError(f"{len(missing)} of {of} gave no figures")


def _bound(kubectl: Kubectl, options: TopOptions) -> Iterator[Object]:
    selectors = {"fieldSelector": "status.nodeName!="}
    if options.selector:
        selectors["labelSelector"] = options.selector
    return kubectl.each(TASK, None if options.all_namespaces else kubectl.namespace, selectors)


def _hosts(kubectl: Kubectl, options: TopOptions, of_tasks: set[str]) -> list[Object]:
    if options.what == "hosts" and options.names:
        # One of another make, too, which has no port of a daemon: its row says so.
        return kubectl.named(HOST, options.names)
    if options.what == "tasks" and len(of_tasks) <= ONE_BY_ONE:
        found: Iterable[Object | None] = [kubectl.find(HOST, name) for name in sorted(of_tasks)]
    elif options.what == "tasks":
        found = (host for host in kubectl.each(HOST) if host["metadata"]["name"] in of_tasks)
    else:
        found = kubectl.list(HOST, selector=options.selector if options.what else None)
    return [host for host in found if host and not is_external(host)]


def _ask_all(kubectl: Kubectl, hosts: list[Object]) -> dict[str, Answers | Silence]:
    if not hosts:
        return {}
    with kubectl_proxy(kubectl) as proxy:
        return read_stats(
            hosts,
            lambda host: Daemon(proxy, host),
            answer_seconds=kubectl.deadline_seconds,
            all_seconds=_ALL_SECONDS,
        )


def _report_idle(tasks: list[Object]) -> None:
    for task in tasks:
        if not runs(task):
            print(f"Task {task['metadata']['name']} does not run.", file=sys.stderr)


def _print(
    options: TopOptions,
    hosts: list[HostFigures],
    gpus: list[GpuFigures],
    tasks: list[TaskFigures],
) -> None:
    hosts, tasks = by_use(hosts, options.sort_by), by_use(tasks, options.sort_by)
    if options.output != "table":
        shown = {}
        if options.what != "tasks":
            shown["hosts"] = [host_json(row) for row in hosts]
            shown["gpus"] = [gpu_json(row) for row in gpus]
        if options.what != "hosts":
            shown["tasks"] = [task_json(row) for row in tasks]
        print(serialize(shown, options.output))
        return
    parts = []
    if options.what != "tasks" and hosts:
        parts.append(hosts_table(hosts, headers=options.headers))
        if gpus:
            parts.append(gpus_table(gpus, headers=options.headers))
    if options.what != "hosts" and tasks:
        parts.append(tasks_table(tasks, headers=options.headers))
    if parts:
        print("\n\n".join(parts))
    else:
        print("No hosts found." if options.what == "hosts" else "Nothing runs.", file=sys.stderr)
    if options.what == "tasks":  # there is no table of hosts to say it
        for row in hosts:
            if row.error:
                print(f"error: {row.error}", file=sys.stderr)
