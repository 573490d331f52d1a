"""What the operator can be told: by flag, or by environment as WEIR_<FLAG>."""

import argparse
import datetime as dt
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from weir_crds.names import SYSTEM_NAMESPACE
from weir_kube.flags import add_flag, add_switch


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the operator can be told."""

    kubeconfig: str | None = None
    system_namespace: str = SYSTEM_NAMESPACE
    listen: str = "127.0.0.1:8081"
    approve_hosts: bool = True
    ttl_after_finished: dt.timedelta = dt.timedelta(days=30)
    finished_tasks_per_namespace: int = 10_000
    drain_after_seconds: int = 300
    identity: str = ""
    log_level: str = "info"
    log_json: bool = False


def parse(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings; a flag wins over the environment. Exits with usage when malformed."""
    parser = argparse.ArgumentParser(
        prog="weir_operator",
        description="Decides where Weir's Tasks run. Replicas: one acts, the others wait.",
        epilog="Every flag can also be given by environment: --log-level is WEIR_LOG_LEVEL.",
    )

    flag = partial(add_flag, parser, environ)
    switch = partial(add_switch, parser, environ)
    flag("--kubeconfig", "how to reach the API server (else $KUBECONFIG, the pod's account)")
    flag("--system-namespace", "where Leases are (%(default)s)", default=SYSTEM_NAMESPACE)
    flag(
        "--listen",
        "host:port of /healthz, /readyz, /metrics (%(default)s)",
        default="127.0.0.1:8081",
    )
    switch("--approve-hosts", "approve Hosts that wait for it (on)", default=True)
    flag(
        "--ttl-seconds-after-finished",
        "how long finished Tasks stay that do not say it (%(default)s)",
        type=_count,
        default="2592000",
        metavar="SECONDS",
    )
    flag(
        "--finished-tasks-per-namespace",
        "how many finished Tasks a namespace keeps (%(default)s)",
        type=_count,
        default="10000",
        metavar="N",
    )
    flag(
        "--drain-after-seconds",
        "how long the most urgent Task waits before a host is kept free for it; 0: for ever"
        " (%(default)s)",
        type=_count,
        default="300",
        metavar="SECONDS",
    )
    flag("--identity", "this process's name on the Lease (host name and process id)")
    flag(
        "--log-level",
        "debug, info, warning or error (%(default)s)",
        type=str.lower,
        choices=("debug", "info", "warning", "error"),
        default="info",
    )
    switch("--log-json", "log one JSON object a line (off)")
    given = parser.parse_args(argv)
    return Settings(
        kubeconfig=given.kubeconfig,
        system_namespace=given.system_namespace,
        listen=given.listen,
        approve_hosts=given.approve_hosts,
        ttl_after_finished=dt.timedelta(seconds=given.ttl_seconds_after_finished),
        finished_tasks_per_namespace=given.finished_tasks_per_namespace,
        drain_after_seconds=given.drain_after_seconds,
        identity=given.identity or f"{socket.gethostname()}-{os.getpid()}",
        log_level=given.log_level,
        log_json=given.log_json,
    )


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return number
