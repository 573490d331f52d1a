"""The command line of the facade; every flag may be given by the environment, too."""

import argparse
import ipaddress
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from weir_api.peers import Network
from weir_api.web.origin import origin_of
from weir_crds.errors import WeirError
from weir_kube.errors import ConfigError
from weir_kube.flags import add_flag, add_switch
from weir_kube.http import parse_listen


class InvalidSettingsError(WeirError):
    """What the facade was told cannot be."""

    reason = "InvalidSettings"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the facade was told to do."""

    kubeconfig: str | None
    listen: str
    metrics_listen: str
    auth: bool
    allow_unauthenticated_network: bool
    namespace: str
    environments: Path | None
    shared_dir: str | None
    working_dir: str
    session_hours: int
    secure_cookie: bool
    max_stale_seconds: int
    trusted_proxy: tuple[Network, ...]
    public_url: tuple[str, ...]
    max_body_bytes: int
    max_pending_tasks: int
    pending_days: int
    log_level: str
    log_json: bool
    admin_secret: str | None = field(repr=False)
    admin_register_secret: str | None = field(repr=False)


def parse(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings; a flag wins over its variable ``WEIR_<FLAG>``. Exits on bad usage.

    Raises:
        InvalidSettingsError: a secret's file cannot be read, or everyone in the network could do
            everything without anybody having said so.
    """
    args = _parser(environ).parse_args(argv)
    chosen = Settings(
        kubeconfig=args.kubeconfig,
        listen=args.listen,
        metrics_listen=args.metrics_listen,
        auth=args.auth,
        allow_unauthenticated_network=args.allow_unauthenticated_network,
        namespace=args.namespace,
        environments=args.environments,
        shared_dir=args.shared_dir or None,
        working_dir=args.working_dir,
        session_hours=args.session_hours,
        secure_cookie=args.secure_cookie,
        max_stale_seconds=args.max_stale_seconds,
        trusted_proxy=args.trusted_proxy,
        public_url=args.public_url,
        max_body_bytes=args.max_body_bytes,
        max_pending_tasks=args.max_pending_tasks,
        pending_days=args.pending_days,
        log_level=args.log_level,
        log_json=args.log_json,
        admin_secret=_secret(args.admin_secret_file, environ.get("WEIR_ADMIN_SECRET")),
        admin_register_secret=_secret(
            args.admin_register_secret_file, environ.get("WEIR_ADMIN_REGISTER_SECRET")
        ),
    )
    _refuse_open_network(chosen)
    return chosen


def _refuse_open_network(chosen: Settings) -> None:
    if chosen.auth or chosen.allow_unauthenticated_network:
        return
    try:
        host, _ = parse_listen(chosen.listen)
    except ConfigError as exc:
        raise InvalidSettingsError(str(exc)) from exc
    if not _is_loopback(host):
        raise InvalidSettingsError(
            f"without authentication everyone who reaches {chosen.listen} could run anything; "
            "if that is meant so, say --allow-unauthenticated-network"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name: who knows where it leads


def _secret(path: Path | None, given: str | None) -> str | None:
    """Return a secret: what its file holds if there is one, else what was given."""
    if path is None:
        return given or None
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidSettingsError(f"cannot read the secret in {path}: {exc}") from exc


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m weir_api",
        allow_abbrev=False,  # nobody shall put a secret where a file's name goes
        description="Serves REST clients by reading and writing Weir's resources.",
        epilog=(
            "Every flag can be given as WEIR_<FLAG> in the environment (WEIR_LISTEN=...), the two "
            "secrets as WEIR_ADMIN_SECRET and WEIR_ADMIN_REGISTER_SECRET. "
            "`python -m weir_api hash-password` makes the passwordHash of a User."
        ),
    )

    flag = partial(add_flag, parser, environ)
    switch = partial(add_switch, parser, environ)

    flag(
        "--kubeconfig",
        "default: $KUBECONFIG, the pod's service account, ~/.kube/config",
        metavar="PATH",
    )
    flag(
        "--listen",
        "address of the host API (default: %(default)s)",
        default="127.0.0.1:8000",
        metavar="ADDRESS:PORT",
    )
    flag(
        "--metrics-listen",
        "address of the HTTP port for health and metrics (default: %(default)s)",
        default="127.0.0.1:8082",
        metavar="ADDRESS:PORT",
    )
    switch("--auth", "ask who calls, and let them do what their role may", default=True)
    switch(
        "--allow-unauthenticated-network",
        "with --no-auth: serve more than this machine, so that all who reach it may do all",
    )
    flag(
        "--namespace",
        "where Tasks are created; those of all namespaces are seen (default: %(default)s)",
        default="weir",
        metavar="NAME",
    )
    flag(
        "--environments",
        "YAML file with the image of each environment, and the default one",
        type=Path,
        metavar="FILE",
    )
    flag(
        "--shared-dir",
        "folder of every host that Tasks see as /shared (default: none)",
        type=_absolute,
        metavar="DIR",
    )
    flag(
        "--working-dir",
        "where commands start (default: %(default)s)",
        type=_absolute,
        default="/shared",
        metavar="DIR",
    )
    flag(
        "--session-hours",
        "how long a login lasts (default: %(default)s)",
        type=_positive,
        default=720,
        metavar="HOURS",
    )
    switch("--secure-cookie", "send the session's cookie over HTTPS only")
    flag(
        "--max-stale-seconds",
        "how long credentials count, and it is ready, while the API server is away"
        " (default: %(default)s)",
        type=_positive,
        default=60,
        metavar="SECONDS",
    )
    flag(
        "--trusted-proxy",
        "addresses of proxies whose X-Forwarded-For names the client (default: none)",
        type=_networks,
        default="",
        metavar="NETWORK,...",
    )
    flag(
        "--public-url",
        "where browsers reach it, if not by the address or name of this machine, or if a proxy"
        " changes the Host header (https://weir.example.org)",
        type=_origins,
        default="",
        metavar="URL,...",
    )
    flag(
        "--max-body-bytes",
        "how large a request's body may be (default: %(default)s)",
        type=_positive,
        default=1024 * 1024,
        metavar="BYTES",
    )
    flag(
        "--max-pending-tasks",
        "how many tasks of one user may wait for an approval (default: %(default)s)",
        type=_positive,
        default=100,
        metavar="COUNT",
    )
    flag(
        "--pending-days",
        "after so many days without a decision a task is rejected (default: %(default)s)",
        type=_positive,
        default=30,
        metavar="DAYS",
    )
    flag(
        "--admin-secret-file",
        "file with the secret by which the first invitation can be made, as X-Admin-Token",
        type=Path,
        metavar="FILE",
    )
    flag(
        "--admin-register-secret-file",
        "file with the secret by which the first administrator can register",
        type=Path,
        metavar="FILE",
    )
    flag(
        "--log-level",
        "default: %(default)s",
        choices=["debug", "info", "warning", "error"],
        default="info",
    )
    switch("--log-json", "log JSON objects")
    return parser


def _networks(text: str) -> tuple[Network, ...]:
    words = filter(None, (word.strip() for word in text.split(",")))
    try:
        return tuple(ipaddress.ip_network(word) for word in words)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def _origins(text: str) -> tuple[str, ...]:
    """Return the origins of URLs, as browsers write them."""
    found = []
    for word in filter(None, (one.strip() for one in text.split(","))):
        origin = origin_of(word)
        if origin is None:
            raise argparse.ArgumentTypeError(f"{word!r} is no http or https URL")
        found.append(origin)
    return tuple(found)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _absolute(text: str) -> str:
    if text and not PurePosixPath(text).is_absolute():
        raise argparse.ArgumentTypeError(f"{text!r} is no absolute path")
    return text
