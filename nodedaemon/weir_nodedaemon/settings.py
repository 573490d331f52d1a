"""The command line of the node daemon; every flag may be given by the environment, too."""

import argparse
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from weir_crds.errors import WeirError
from weir_crds.quantities import InvalidQuantityError, memory_bytes
from weir_kube.flags import add_flag, variable_of
from weir_nodedaemon.engines.engine_type import EngineType
from weir_nodedaemon.engines.registry import ENGINES
from weir_nodedaemon.machine.cpulist import InvalidCpuListError, parse_cpulist

_LEAST_PIDS = 16  # what starts a container is several threads itself


@dataclass(frozen=True, slots=True)
class Settings:
    """What the daemon was told to do."""

    state_dir: Path
    host_name: str
    kubeconfig: str | None
    engine: EngineType
    docker_host: str
    cpus: tuple[int, ...] | None
    memory_bytes: int | None
    smt: bool
    gpus: tuple[str, ...] | None
    listen: str
    metrics_listen: str
    advertise_address: str | None
    sysfs_root: Path
    log_limit_bytes: int
    min_free_disk_bytes: int
    pids_limit: int
    always_pull_images: bool
    log_level: str
    log_json: bool


def parse(
    argv: Sequence[str],
    environ: Mapping[str, str] = os.environ,
    *,
    engines: Sequence[EngineType] = ENGINES,
) -> Settings:
    """Return the settings; a flag wins over its variable ``WEIR_<FLAG>``. Exits on bad usage."""
    args = _parser(environ, engines).parse_args(argv)
    return Settings(
        state_dir=args.state_dir,
        host_name=args.host_name,
        kubeconfig=args.kubeconfig,
        engine=next(engine for engine in engines if engine.name == args.engine),
        docker_host=args.docker_host,
        cpus=args.cpus,
        memory_bytes=args.memory,
        smt=args.smt == "on",
        gpus=args.gpus,
        listen=args.listen,
        metrics_listen=args.metrics_listen,
        advertise_address=args.advertise_address,
        sysfs_root=args.sysfs_root,
        log_limit_bytes=args.log_limit,
        min_free_disk_bytes=args.min_free_disk,
        pids_limit=args.pids_limit,
        always_pull_images=args.always_pull_images,
        log_level=args.log_level,
        log_json=args.log_json,
    )


def _parser(environ: Mapping[str, str], engines: Sequence[EngineType]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m weir_nodedaemon",
        description="Runs the Tasks that are bound to this host.",
        epilog="Every flag can be given as WEIR_<FLAG> in the environment (WEIR_STATE_DIR=...).",
    )

    flag = partial(add_flag, parser, environ)
    flag(
        "--state-dir",
        "where logs, hints about runs and the certificate are kept",
        type=Path,
        required=True,
        metavar="DIR",
    )
    flag(
        "--host-name",
        "name of this machine's Host object (default: %(default)s)",
        default=socket.gethostname().lower(),
        metavar="NAME",
    )
    flag(
        "--kubeconfig",
        "default: $KUBECONFIG, the pod's service account, ~/.kube/config",
        metavar="PATH",
    )
    flag(
        "--engine",
        "what runs the containers (default: %(default)s)",
        choices=[engine.name for engine in engines],
        default=engines[0].name,
    )
    flag(
        "--docker-host",
        "where Docker answers (default: $DOCKER_HOST, else %(default)s)",
        default=environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"),
        metavar="URL",
    )
    flag(
        "--cpus",
        "use only these cores, such as 0-3,8 (default: all that are not isolated)",
        type=_cpus,
    )
    flag(
        "--smt",
        "whether each hardware thread counts as a core; off: one of each physical core does"
        " (default: %(default)s)",
        choices=["on", "off"],
        default="on",
    )
    flag("--memory", "use only so much memory, such as 8Gi (default: all)", type=_memory)
    flag(
        "--gpus",
        "use only these GPUs, by uuid and comma separated, or none (default: all)",
        type=_gpus,
        metavar="UUIDS",
    )
    flag(
        "--listen",
        "address of the HTTPS port for logs and stats (default: %(default)s)",
        default="0.0.0.0:8443",
        metavar="ADDRESS:PORT",
    )
    flag(
        "--metrics-listen",
        "address of the HTTP port for health and metrics (default: %(default)s)",
        default="127.0.0.1:8444",
        metavar="ADDRESS:PORT",
    )
    flag(
        "--advertise-address",
        "address under which others reach the HTTPS port (default: that of the default route)",
        metavar="ADDRESS",
    )
    flag("--sysfs-root", "default: %(default)s", type=Path, default=Path("/sys"), metavar="DIR")
    flag(
        "--log-limit",
        "how much output of a run is kept (default: %(default)s)",
        type=_memory,
        default="32Mi",
        metavar="SIZE",
    )
    flag(
        "--min-free-disk",
        "take no new work below this room on the state directory's disk (default: %(default)s)",
        type=_memory,
        default="1Gi",
        metavar="SIZE",
    )
    flag(
        "--pids-limit",
        "processes and threads of a container whose Task sets no limit (default: %(default)s)",
        type=_pids,
        default="4096",
        metavar="COUNT",
    )
    flag(
        "--log-level",
        "default: %(default)s",
        choices=["debug", "info", "warning", "error"],
        default="info",
    )
    for name, help in (
        (
            "--always-pull-images",
            "ask the registry before each start, with the Task's imagePullSecrets alone",
        ),
        ("--log-json", "log JSON objects"),
    ):
        given = environ.get(variable_of(name), "").lower() in ("1", "true", "yes")
        parser.add_argument(name, action="store_true", default=given, help=help)
    return parser


def _cpus(text: str) -> tuple[int, ...]:
    try:
        cpus = parse_cpulist(text)
    except InvalidCpuListError as exc:
        raise _wrong(exc) from exc
    if not cpus:
        raise argparse.ArgumentTypeError("at least one core is needed")
    return cpus


def _gpus(text: str) -> tuple[str, ...]:
    uuids = tuple(filter(None, (part.strip() for part in text.split(","))))
    if not uuids:
        raise argparse.ArgumentTypeError("at least one uuid is needed, or the word none")
    return () if uuids == ("none",) else uuids


def _pids(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) < _LEAST_PIDS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from {_LEAST_PIDS} on")
    return int(text)


def _memory(text: str) -> int:
    try:
        return memory_bytes(text)
    except InvalidQuantityError as exc:
        raise _wrong(exc) from exc


def _wrong(exc: WeirError) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(str(exc))
