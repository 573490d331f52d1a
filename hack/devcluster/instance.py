"""An instance from nothing to ready, and from whatever it is to nothing."""

import shutil
from dataclasses import dataclass

from devcluster import binaries, dockerd, image
from devcluster.console import say
from devcluster.controlplane import ControlPlane, plan_control_plane, start_control_plane
from devcluster.kubeconfig import client_certificate, kubeconfig_text
from devcluster.state import Ports, State, write_file
from devcluster.supervise import Supervisor


@dataclass(frozen=True)
class Base:
    """What Weir's components stand on, up and ready."""

    plane: ControlPlane
    docker: dockerd.Docker
    supervisor: Supervisor
    ports: Ports


def up_base(state: State, *, durable: bool = True) -> Base:
    """Bring up the control plane and Docker; idempotent. The instance's lock is held."""
    found = binaries.find_all()
    supervisor = Supervisor(state)
    ports = Ports(state)
    if supervisor.start():
        ports.drop_taken()
        say(f"started supervisord, state in {state.root}")
    docker = dockerd.find_or_start(state, supervisor)
    plane = plan_control_plane(state, ports, found, durable=durable)
    start_control_plane(plane, ports, supervisor)
    image.ensure_busybox(docker.host)
    _write_kubeconfig(state, plane)
    _write_env(state, plane, docker)
    return Base(plane, docker, supervisor, ports)


def down(state: State) -> None:
    """Stop all of the instance and remove what it made; idempotent. The lock is held."""
    Supervisor(state).stop()
    dockerd.clean_up(state)
    shutil.rmtree(state.root)
    say(f"stopped, and removed {state.root}")


def _write_kubeconfig(state: State, plane: ControlPlane) -> None:
    user = client_certificate(plane.pki.admin)
    write_file(state.kubeconfig, kubeconfig_text(plane.server, plane.pki.ca, user))


def _write_env(state: State, plane: ControlPlane, docker: dockerd.Docker) -> None:
    kubectl = state.bin / "kubectl"
    kubectl.unlink(missing_ok=True)
    kubectl.symlink_to(plane.kubectl)
    lines = [
        "# To be sourced.",
        f"export WEIR_STATE_DIR='{state.root}'",
        f"export KUBECONFIG='{state.kubeconfig}'",
        f"export WEIR_API='{plane.server}'",
        *([f"export DOCKER_HOST='{docker.host}'"] if docker.ours else []),
        f'case ":$PATH:" in *":{state.bin}:"*) ;; *) export PATH="{state.bin}:$PATH" ;; esac',
    ]
    write_file(state.env, "\n".join(lines) + "\n")
