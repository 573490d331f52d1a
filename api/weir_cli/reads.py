"""Reads from the API server within the person's ``--request-timeout``."""

from weir_cli.options import Options
from weir_crds.kinds import HOST, TASK
from weir_kube.api import Api, Object, Objects

_DEFAULT_SECONDS = 15.0
_NO_LIMIT_SECONDS = 366 * 86400.0


def deadline_seconds(options: Options) -> float:
    """Return how long one answer may take."""
    if options.request_timeout_seconds is None:
        return _DEFAULT_SECONDS
    return options.request_timeout_seconds or _NO_LIMIT_SECONDS


def namespace_of(api: Api, options: Options) -> str:
    """Return the namespace that is meant."""
    return options.namespace or api.namespace


async def get_task(api: Api, options: Options, name: str) -> Object:
    """Return a Task; raises NotFoundError."""
    return await api.get(
        TASK, name, namespace_of(api, options), deadline_seconds=deadline_seconds(options)
    )


async def get_host(api: Api, options: Options, name: str) -> Object:
    """Return a Host; raises NotFoundError."""
    return await api.get(HOST, name, deadline_seconds=deadline_seconds(options))


async def list_hosts(api: Api, options: Options) -> Objects:
    """Return all Hosts."""
    return (await api.list(HOST, deadline_seconds=deadline_seconds(options))).items


async def list_tasks(api: Api, options: Options, namespace: str | None = None) -> Objects:
    """Return the Tasks of a namespace, or of all; raises ForbiddenError."""
    found = await api.list(TASK, namespace, deadline_seconds=deadline_seconds(options))
    return found.items
