"""etcd, kube-apiserver and kube-controller-manager on loopback."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from devcluster.console import say
from devcluster.kubeconfig import client_certificate, kubeconfig_text
from devcluster.pki import Pki, ensure_pki
from devcluster.rest import Rest
from devcluster.state import Ports, State, write_file
from devcluster.supervise import Program, Runner, wait_for

_READY_SECONDS = 120.0
# What the design leans on (garbage collection, namespaces, service accounts) and what makes RBAC
# and admission policies behave as on any cluster; nothing that manages workloads.
_CONTROLLERS = (
    "clusterrole-aggregation-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "validatingadmissionpolicy-status-controller",
)


@dataclass(frozen=True)
class ControlPlane:
    """How to reach the API server as administrator, and the programs behind it."""

    server: str
    pki: Pki
    kubectl: Path
    programs: tuple[Program, ...]

    @property
    def admin(self) -> Rest:
        """A connection as administrator."""
        return Rest(self.server, self.pki.ca, self.pki.admin.cert, self.pki.admin.key)


def plan_control_plane(
    state: State, ports: Ports, binaries: dict[str, Path], *, durable: bool
) -> ControlPlane:
    """Make the keys and choose the ports, if not done yet, and say what is to run.

    Args:
        durable: whether etcd waits for the disk; without, a power cut may lose data.
    """
    pki = ensure_pki(state.pki)
    server = f"https://127.0.0.1:{ports.get('kube-apiserver')}"
    return ControlPlane(
        server=server,
        pki=pki,
        kubectl=binaries["kubectl"],
        programs=(
            _etcd(state, ports, pki, binaries["etcd"], durable),
            _apiserver(ports, pki, binaries["kube-apiserver"]),
            _controller_manager(state, ports, pki, binaries["kube-controller-manager"], server),
        ),
    )


def start_control_plane(plane: ControlPlane, ports: Ports, runner: Runner) -> None:
    """Start the three, each when the one before is ready; idempotent.

    Raises:
        DevClusterError: one of them is not ready in time; the hint holds the end of its log.
    """
    etcd = Rest(
        f"https://127.0.0.1:{ports.get('etcd')}",
        plane.pki.ca,
        plane.pki.etcd.cert,
        plane.pki.etcd.key,
    )
    manager = Rest(f"https://127.0.0.1:{ports.get('kube-controller-manager')}")
    probes = ((etcd, "/health"), (plane.admin, "/readyz"), (manager, "/healthz"))
    for program, (rest, path) in zip(plane.programs, probes, strict=True):
        runner.ensure(program)
        took = wait_for(runner, program.name, partial(rest.answers, path), _READY_SECONDS)
        say(f"{program.name} is ready ({took:.1f} s)")


def _etcd(state: State, ports: Ports, pki: Pki, binary: Path, durable: bool) -> Program:
    client = f"https://127.0.0.1:{ports.get('etcd')}"
    peer = f"https://127.0.0.1:{ports.get('etcd-peer')}"
    argv = [
        str(binary),
        "--name=weir",
        f"--data-dir={state.root / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=weir={peer}",
        # Anyone who can write to etcd is root here: so not without a certificate, even on loopback.
        "--client-cert-auth",
        f"--trusted-ca-file={pki.ca}",
        f"--cert-file={pki.etcd.cert}",
        f"--key-file={pki.etcd.key}",
        "--peer-client-cert-auth",
        f"--peer-trusted-ca-file={pki.ca}",
        f"--peer-cert-file={pki.etcd.cert}",
        f"--peer-key-file={pki.etcd.key}",
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=10m",
        "--quota-backend-bytes=4294967296",
        "--log-level=warn",
    ]
    if not durable:
        argv.append("--unsafe-no-fsync")
    return Program("etcd", tuple(argv))


def _apiserver(ports: Ports, pki: Pki, binary: Path) -> Program:
    return Program(
        "kube-apiserver",
        (
            str(binary),
            f"--etcd-servers=https://127.0.0.1:{ports.get('etcd')}",
            f"--etcd-cafile={pki.ca}",
            f"--etcd-certfile={pki.etcd.cert}",
            f"--etcd-keyfile={pki.etcd.key}",
            "--bind-address=127.0.0.1",
            f"--secure-port={ports.get('kube-apiserver')}",
            # No pod runs here that would reach it by its Service; loopback is no valid endpoint.
            "--endpoint-reconciler-type=none",
            f"--tls-cert-file={pki.apiserver.cert}",
            f"--tls-private-key-file={pki.apiserver.key}",
            f"--client-ca-file={pki.ca}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={pki.service_account_public_key}",
            f"--service-account-signing-key-file={pki.service_account_key}",
            "--service-cluster-ip-range=10.96.0.0/24",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--anonymous-auth=false",
            "--allow-privileged=true",
            "--profiling=false",
            "--shutdown-delay-duration=0s",
        ),
    )


def _controller_manager(state: State, ports: Ports, pki: Pki, binary: Path, server: str) -> Program:
    kubeconfig = state.pki / "controller-manager.kubeconfig"
    write_file(
        kubeconfig, kubeconfig_text(server, pki.ca, client_certificate(pki.controller_manager))
    )
    return Program(
        "kube-controller-manager",
        (
            str(binary),
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--bind-address=127.0.0.1",
            f"--secure-port={ports.get('kube-controller-manager')}",
            f"--cert-dir={state.pki / 'controller-manager'}",
            f"--client-ca-file={pki.ca}",
            "--authentication-skip-lookup",
            f"--root-ca-file={pki.ca}",
            f"--service-account-private-key-file={pki.service_account_key}",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            f"--controllers={','.join(_CONTROLLERS)}",
            "--profiling=false",
        ),
    )
