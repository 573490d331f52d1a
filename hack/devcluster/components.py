"""Weir's own processes: what is to run for operator and facade, and for each host's daemon."""

import sys
from dataclasses import dataclass
from pathlib import Path

from devcluster.hosts import Share
from devcluster.identities import FACADE, NODE_DAEMON, OPERATOR, Identities
from devcluster.state import CHECKOUT, Ports
from devcluster.supervise import Program

OPERATOR_PROGRAM = "weir-operator"
FACADE_PROGRAM = "weir-api"
_SOURCES = ("crds", "operator", "nodedaemon", "api")


@dataclass(frozen=True)
class Component:
    """A program of ours and where its readiness is asked, by plain HTTP."""

    program: Program
    health: str


def operator(identities: Identities, ports: Ports, log_level: str = "info") -> Component:
    """Describe the operator."""
    listen = f"127.0.0.1:{ports.get(OPERATOR_PROGRAM)}"
    argv = (
        *_python("weir_operator"),
        f"--kubeconfig={identities.kubeconfig_for(OPERATOR)}",
        # One process at most, as the supervisor sees to: it leads again at once after a crash.
        "--identity=weir-dev",
        f"--listen={listen}",
        f"--log-level={log_level}",
    )
    return Component(Program(OPERATOR_PROGRAM, argv, environment()), listen)


def node_daemon(
    host: str,
    share: Share,
    *,
    docker_host: str,
    folder: Path,
    identities: Identities,
    ports: Ports,
    log_level: str = "info",
    arguments: tuple[str, ...] = (),
) -> Component:
    """Describe the daemon of one host, whose state is kept in ``folder``; see its ``--help``."""
    name = daemon_program(host)
    metrics = f"127.0.0.1:{ports.get(f'{name}-metrics')}"
    argv = [
        *_python("weir_nodedaemon"),
        f"--host-name={host}",
        f"--state-dir={folder}",
        f"--kubeconfig={identities.kubeconfig_for(NODE_DAEMON, host)}",
        f"--docker-host={docker_host}",
        f"--listen=127.0.0.1:{ports.get(name)}",
        "--advertise-address=127.0.0.1",
        f"--metrics-listen={metrics}",
        f"--log-level={log_level}",
    ]
    if share.cpus is not None:
        argv.append(f"--cpus={share.cpu_list}")
    if share.memory_mib is not None:
        argv.append(f"--memory={share.memory_mib}Mi")
    if not share.gpus:
        argv.append("--gpus=none")
    argv += arguments
    return Component(Program(name, tuple(argv), environment(), stop_grace_seconds=20), metrics)


def facade(
    identities: Identities,
    ports: Ports,
    *,
    environments: Path | None = None,
    log_level: str = "info",
    arguments: tuple[str, ...] = (),
    program: str = FACADE_PROGRAM,
) -> Component:
    """Describe the facade; it serves the host API on the port named as its program.

    Args:
        identities: makes its kubeconfig.
        ports: where its ports are remembered.
        environments: which images its environments mean.
        log_level: how much it tells.
        arguments: more of its flags; see its ``--help``.
        program: its name, where several run beside each other.
    """
    metrics = f"127.0.0.1:{ports.get(f'{program}-metrics')}"
    argv = [
        *_python("weir_api"),
        f"--kubeconfig={identities.kubeconfig_for(FACADE)}",
        f"--listen=127.0.0.1:{ports.get(program)}",
        f"--metrics-listen={metrics}",
        f"--log-level={log_level}",
    ]
    if environments is not None:
        argv.append(f"--environments={environments}")
    argv += arguments
    return Component(Program(program, tuple(argv), environment(), stop_grace_seconds=30), metrics)


def hash_password() -> tuple[str, ...]:
    """Return the command line that makes the hash of the password that is its input."""
    return (*_python("weir_api"), "hash-password")


def daemon_program(host: str) -> str:
    """Return the name under which a host's daemon is supervised."""
    return f"weir-nodedaemon-{host}"


def kubectl_plugin() -> tuple[str, ...]:
    """Return the command line of ``kubectl weir``."""
    return _python("weir_cli")


def _python(module: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module)


def environment() -> dict[str, str]:
    """Return what a program of ours needs to find its sources."""
    return {
        "PYTHONPATH": ":".join(str(CHECKOUT / source) for source in _SOURCES),
        "PYTHONUNBUFFERED": "1",
    }
