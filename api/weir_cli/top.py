"""``kubectl weir top``."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

from weir_cli.daemon import (
    Daemon,
    DaemonBrokeOffError,
    DaemonRefusedError,
    DaemonUnavailableError,
)
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
    is_readable,
    runs,
    task_figures,
    task_json,
    tasks_table,
)
from weir_cli.kubectl import Kubectl, named
from weir_cli.options import TopOptions
from weir_cli.words import data
from weir_crds.daemon_endpoint import NotContactedError
from weir_crds.facts import is_external
from weir_crds.kinds import HOST, TASK
from weir_kube.store import Object

_PATH = "/v1/stats"
# A daemon looks anew when its last look is two seconds old.
_APART_SECONDS = 2.1
_HOSTS_AT_ONCE = 32


def print_top(kubectl: Kubectl, options: TopOptions) -> None:
    """Show what hosts and running Tasks use now.

    Raises:
        CommandError: not one of the hosts answered.
    """
    tasks: list[Object] = []
    if options.what != "hosts":
        namespace = None if options.all_namespaces else kubectl.namespace
        tasks = kubectl.list(TASK, namespace, options.selector)
        if options.what == "tasks" and options.names:
            tasks = named(TASK, tasks, options.names)
            _report_idle(tasks)
        tasks = [task for task in tasks if runs(task)]
    hosts = kubectl.list(HOST, selector=options.selector if options.what == "hosts" else None)
    if not (options.what == "hosts" and options.names):
        # A runner of another make has no port of a daemon; who names its host is told so.
        hosts = [host for host in hosts if not is_external(host)]
    if options.what == "tasks":
        needed = {task["status"]["nodeName"] for task in tasks}
        hosts = [host for host in hosts if host["metadata"]["name"] in needed]
    elif options.what == "hosts" and options.names:
        hosts = named(HOST, hosts, options.names)
    seen = _ask_all(kubectl, hosts)
    host_rows = [host_figures(name, found) for name, found in seen.items()]
    _print(options, host_rows, gpu_figures(seen), task_figures(tasks, seen))
    if seen and all(isinstance(found, Silence) for found in seen.values()):
        raise CommandError("not one host told what it uses")


def _ask_all(kubectl: Kubectl, hosts: list[Object]) -> dict[str, Answers | Silence]:
    if not hosts:
        return {}
    with ThreadPoolExecutor(min(_HOSTS_AT_ONCE, len(hosts))) as threads:
        found = list(threads.map(lambda host: _ask(kubectl, host), hosts))
    return {host["metadata"]["name"]: seen for host, seen in zip(hosts, found, strict=True)}


def _ask(kubectl: Kubectl, host: Object) -> Answers | Silence:
    try:
        daemon = Daemon(kubectl, host)
        first = daemon.get_json(_PATH, kubectl.deadline_seconds)
        time.sleep(_APART_SECONDS)
        answers = Answers(first, daemon.get_json(_PATH, kubectl.deadline_seconds))
    except DaemonRefusedError as error:
        return Silence(f"host {error.host} refused ({error.said}): {error}")
    except (DaemonUnavailableError, DaemonBrokeOffError, NotContactedError) as error:
        return Silence(str(error))
    name = host["metadata"]["name"]
    if not is_readable(name, answers):
        return Silence(f"host {name} answered with what cannot be read")
    return answers


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
        print(data(shown, options.output))
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
    for row in hosts:
        if row.silence:
            print(f"error: {row.silence}", file=sys.stderr)
