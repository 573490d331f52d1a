"""What the operator can be told: by flag, or by environment as WEIR_<FLAG>."""

import argparse
import datetime as dt
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from weir_crds.names import SYSTEM_NAMESPACE
from weir_kube.flags import variable_of

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the operator can be told."""

    kubeconfig: str | None = None
    system_namespace: str = SYSTEM_NAMESPACE
    listen: str = "127.0.0.1:8081"
    approve_hosts: bool = True
    ttl_after_finished: dt.timedelta = dt.timedelta(days=30)
    finished_tasks_per_namespace: int = 10_000
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

    def default(flag: str, otherwise: str | None) -> str | None:
        return environ.get(variable_of(flag), otherwise)

    def add(flag: str, otherwise: str | None, help: str, **more: object) -> None:
        parser.add_argument(f"--{flag}", default=default(flag, otherwise), help=help, **more)  # type: ignore[arg-type]

    add("kubeconfig", None, "how to reach the API server (else $KUBECONFIG, the pod's account)")
    add("system-namespace", SYSTEM_NAMESPACE, "where Leases are (%(default)s)")
    add("listen", "127.0.0.1:8081", "host:port of /healthz, /readyz, /metrics (%(default)s)")
    parser.add_argument(
        "--approve-hosts",
        action=argparse.BooleanOptionalAction,
        default=_boolean(parser, default("approve-hosts", "true") or ""),
        help="approve Hosts that wait for it (on)",
    )
    add(
        "ttl-seconds-after-finished",
        "2592000",
        "how long finished Tasks stay that do not say it (%(default)s)",
        type=_count,
        metavar="SECONDS",
    )
    add(
        "finished-tasks-per-namespace",
        "10000",
        "how many finished Tasks a namespace keeps (%(default)s)",
        type=_count,
        metavar="N",
    )
    add("identity", None, "this process's name on the Lease (host name and process id)")
    add(
        "log-level",
        "info",
        "debug, info, warning or error (%(default)s)",
        type=str.lower,
        choices=("debug", "info", "warning", "error"),
    )
    parser.add_argument(
        "--log-json",
        action=argparse.BooleanOptionalAction,
        default=_boolean(parser, default("log-json", "false") or ""),
        help="log one JSON object a line (off)",
    )
    given = parser.parse_args(argv)
    return Settings(
        kubeconfig=given.kubeconfig,
        system_namespace=given.system_namespace,
        listen=given.listen,
        approve_hosts=given.approve_hosts,
        ttl_after_finished=dt.timedelta(seconds=given.ttl_seconds_after_finished),
        finished_tasks_per_namespace=given.finished_tasks_per_namespace,
        identity=given.identity or f"{socket.gethostname()}-{os.getpid()}",
        log_level=given.log_level,
        log_json=given.log_json,
    )


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return number


def _boolean(parser: argparse.ArgumentParser, text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() not in _FALSE:
        parser.error(f"{text!r} is neither true nor false")
    return False
