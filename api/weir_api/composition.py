"""What the facade is made of, put together once."""

import datetime as dt
import socket
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from weir_api.access.service import AuthService, AuthSettings
from weir_api.hostapi.access import HostAccess
from weir_api.hostapi.accounts.routes import account_routes
from weir_api.hostapi.app import PREFIX, host_api
from weir_api.hostapi.environments import (
    Environments,
    InvalidEnvironmentsError,
    parse_environments,
)
from weir_api.hostapi.known_hosts import KnownHosts
from weir_api.hostapi.nodes.health_history import HealthHistory
from weir_api.hostapi.nodes.node_rows import NodeRows
from weir_api.hostapi.nodes.routes import NodeRoutes
from weir_api.hostapi.nodes.sampler import Sampler
from weir_api.hostapi.runners.heartbeats import Heartbeats
from weir_api.hostapi.runners.reports import RunnerReports
from weir_api.hostapi.runners.routes import RunnerRoutes
from weir_api.hostapi.tasks.approval import PendingExpiry
from weir_api.hostapi.tasks.request import TaskDefaults
from weir_api.hostapi.tasks.routes import task_routes
from weir_api.hostapi.tasks.view import TaskWorkload
from weir_api.hostapi.usernames import Usernames
from weir_api.hostapi.workloads import WorkloadIndex
from weir_api.listeners import Listener
from weir_api.settings import Settings
from weir_api.state.caches import Caches
from weir_api.state.writer import Writer
from weir_api.web.app import Ready, make_app
from weir_api.web.connections import ConnectionLimits
from weir_api.web.endpoint import Family
from weir_api.web.origin import Origins, own_host_names
from weir_api.web.server import HttpServer
from weir_api.web.validation import Limits
from weir_crds.kinds import GROUP, HOST, TASK
from weir_crds.names import SERVICE_ACCOUNT_API
from weir_kube.api import Api
from weir_kube.daemon_tokens import DaemonTokens
from weir_kube.daemons import Daemons
from weir_kube.events import EventRecorder
from weir_kube.kinds import LEASE

Work = Callable[[], Coroutine[Any, Any, None]]
"""Something that goes on until it is cancelled."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the process serves, and what it does beside."""

    families: tuple[Family, ...]
    listeners: tuple[Listener, ...]
    background: tuple[Work, ...]


def compose(
    chosen: Settings, api: Api, caches: Caches, stack: AsyncExitStack, ready: Ready
) -> Parts:
    """Put everything together; nothing is listed yet, and nothing runs.

    Args:
        chosen: what the facade was told to do.
        api: the API server.
        caches: what is read; they are filled later.
        stack: takes what has to be closed at the end.
        ready: tells whether requests can be served.

    Raises:
        InvalidEnvironmentsError: the file of environments is not what it should be.
    """
    events = EventRecorder(api, controller=f"{GROUP}/api", instance=socket.gethostname())
    stack.push_async_callback(events.close)
    writer = Writer(api, caches, events)
    auth = AuthService(_auth_settings(chosen), caches, writer)
    stack.callback(auth.close)
    daemons = Daemons(DaemonTokens(api, SERVICE_ACCOUNT_API), user_agent="weir-api")
    stack.push_async_callback(daemons.close)
    hosts = KnownHosts(caches)
    workloads = WorkloadIndex(caches, hosts, Usernames(caches), [TaskWorkload()])
    sampler = Sampler(daemons, caches[HOST].list)
    heartbeats = Heartbeats(caches[LEASE])
    rows = NodeRows(caches[HOST], caches[LEASE], sampler, workloads, heartbeats)
    for kind in (HOST, LEASE, TASK):
        caches.listen(kind, rows.changed)
    history = HealthHistory(rows)
    expiry = PendingExpiry(workloads, writer, dt.timedelta(days=chosen.pending_days))
    host = host_api(
        HostAccess(auth.authenticate, auth.peers),
        (
            *account_routes(auth),
            NodeRoutes(rows, history),
            RunnerRoutes(RunnerReports(caches, writer, workloads, heartbeats)),
            *task_routes(workloads, hosts, writer, daemons, _task_defaults(chosen)),
        ),
    )

    def serve(family: Family) -> HttpServer:
        app = make_app(
            family,
            stale_seconds=lambda: caches.stale_seconds,
            ready=ready,
            limits=Limits(body_bytes=chosen.max_body_bytes),
            origins=_origins(chosen),
        )
        return HttpServer(app, ConnectionLimits(proxies=chosen.trusted_proxy))

    return Parts(
        (host,),
        (Listener(host.name, chosen.listen, partial(serve, host)),),
        (auth.run, sampler.run, history.run, expiry.run, events.run),
    )


def _origins(chosen: Settings) -> Origins:
    known_hosts = None if chosen.auth else own_host_names(chosen.public_url)
    return Origins(known_hosts, frozenset(chosen.public_url))


def _auth_settings(chosen: Settings) -> AuthSettings:
    return AuthSettings(
        enabled=chosen.auth,
        session_hours=chosen.session_hours,
        secure_cookie=chosen.secure_cookie,
        admin_secret=chosen.admin_secret,
        admin_register_secret=chosen.admin_register_secret,
        invitations_path=f"{PREFIX}/auth/invitations",
        trusted_proxies=chosen.trusted_proxy,
        max_stale_seconds=chosen.max_stale_seconds,
    )


def _task_defaults(chosen: Settings) -> TaskDefaults:
    return TaskDefaults(
        namespace=chosen.namespace,
        working_dir=chosen.working_dir,
        shared_dir=chosen.shared_dir,
        environments=_environments(chosen.environments),
        max_pending=chosen.max_pending_tasks,
    )


def _environments(path: Path | None) -> Environments:
    if path is None:
        return Environments()
    try:
        return parse_environments(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidEnvironmentsError(f"cannot read {path}: {exc}") from exc
