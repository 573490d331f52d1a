"""``kubectl weir top``."""

import asyncio
import json
import sys
from collections.abc import Iterable, Mapping

from weir_cli.access import open_daemons
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
from weir_cli.options import TopOptions
from weir_cli.reads import deadline_seconds, list_hosts, list_tasks, namespace_of
from weir_crds.daemon_endpoint import NotContactedError
from weir_crds.facts import is_external
from weir_crds.kinds import HOST, TASK, Kind
from weir_kube.api import Api, Object, Objects
from weir_kube.daemons import Daemons
from weir_kube.errors import DaemonRefusedError, DaemonUnavailableError, NotFoundError

_PATH = "/v1/stats"
# A daemon looks anew when its last look is two seconds old.
_APART_SECONDS = 2.1
_HOSTS_AT_ONCE = 32


async def print_top(api: Api, options: TopOptions) -> None:
    """Show what hosts and running Tasks use now.

    Raises:
        CommandError: not one of the hosts answered.
    """
    tasks: Objects = []
    if options.what != "hosts":
        namespace = None if options.all_namespaces else namespace_of(api, options)
        tasks = await list_tasks(api, options, namespace)
        if options.what == "tasks" and options.names:
            tasks = _named(TASK, tasks, options.names)
            _tell_idle(tasks)
        tasks = [task for task in tasks if runs(task)]
    hosts = await list_hosts(api, options)
    if not (options.what == "hosts" and options.names):
        # A runner of another make has no port of a daemon; who names its host is told so.
        hosts = [host for host in hosts if not is_external(host)]
    if options.what == "tasks":
        needed = {task["status"]["nodeName"] for task in tasks}
        hosts = [host for host in hosts if host["metadata"]["name"] in needed]
    elif options.what == "hosts" and options.names:
        hosts = _named(HOST, hosts, options.names)
    seen = await _ask_all(api, options, hosts)
    host_rows = [host_figures(name, found) for name, found in seen.items()]
    _print(options, host_rows, gpu_figures(seen), task_figures(tasks, seen))
    if seen and all(isinstance(found, Silence) for found in seen.values()):
        raise CommandError("not one host told what it uses")


async def _ask_all(api: Api, options: TopOptions, hosts: Objects) -> dict[str, Answers | Silence]:
    if not hosts:
        return {}
    seconds = deadline_seconds(options)
    at_once = asyncio.Semaphore(_HOSTS_AT_ONCE)

    async with open_daemons(api, options) as daemons:

        async def ask(host: Object) -> Answers | Silence:
            async with at_once:
                return await _ask(daemons, host, seconds)

        found = await asyncio.gather(*map(ask, hosts))
    return {host["metadata"]["name"]: seen for host, seen in zip(hosts, found, strict=True)}


async def _ask(daemons: Daemons, host: Object, seconds: float) -> Answers | Silence:
    try:
        first = await daemons.get_json(host, _PATH, {}, seconds)
        await asyncio.sleep(_APART_SECONDS)
        return Answers(first, await daemons.get_json(host, _PATH, {}, seconds))
    except DaemonRefusedError as error:
        return Silence(f"host {error.host} refused ({error.said}): {error.message}")
    except (DaemonUnavailableError, NotContactedError) as error:
        return Silence(str(error))


def _named(kind: Kind, objects: Objects, names: Iterable[str]) -> Objects:
    found: Mapping[str, Object] = {obj["metadata"]["name"]: obj for obj in objects}
    for name in names:
        if name not in found:
            raise NotFoundError(f'{kind.plural}.{kind.group} "{name}" not found', status=404)
    return [found[name] for name in dict.fromkeys(names)]


def _tell_idle(tasks: Objects) -> None:
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
    if options.output == "json":
        shown = {}
        if options.what != "tasks":
            shown["hosts"] = [host_json(row) for row in hosts]
            shown["gpus"] = [gpu_json(row) for row in gpus]
        if options.what != "hosts":
            shown["tasks"] = [task_json(row) for row in tasks]
        print(json.dumps(shown, indent=2))
        return
    parts = []
    if options.what != "tasks" and hosts:
        parts.append(hosts_table(hosts))
        if gpus:
            parts.append(gpus_table(gpus))
    if options.what != "hosts" and tasks:
        parts.append(tasks_table(tasks))
    if parts:
        print("\n\n".join(parts))
    else:
        print("No hosts found." if options.what == "hosts" else "Nothing runs.", file=sys.stderr)
    for row in hosts:
        if row.silence:
            print(f"error: {row.silence}", file=sys.stderr)
