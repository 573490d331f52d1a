"""An instance from nothing to ready, and from whatever it is to nothing."""

import shutil
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shlex import quote

from devcluster import binaries, components, dockerd, image, leftovers, manifests
from devcluster.components import Component
from devcluster.console import say
from devcluster.controlplane import ControlPlane, plan_control_plane, start_control_plane
from devcluster.hosts import host_names, machine_shares
from devcluster.identities import Identities
from devcluster.kubeconfig import client_certificate, kubeconfig_text
from devcluster.login import Login, ensure_login
from devcluster.rest import Rest
from devcluster.state import Ports, State, write_file
from devcluster.supervise import Supervisor, wait_for

_READY_SECONDS = 120.0
# Where clients of the host API look for it; taken if it is free.
_HOST_API_PORT = 8000
# There when the image in Docker is of this instance's making.
_MADE_IMAGE = "made-image"
_HOSTS = "/apis/weir.dev/v1alpha1/hosts"


@dataclass(frozen=True)
class Base:
    """What Weir's components stand on, up and ready."""

    state: State
    plane: ControlPlane
    docker: dockerd.Docker
    supervisor: Supervisor
    ports: Ports


@dataclass(frozen=True)
class Instance(Base):
    """All of Weir, up and ready."""

    login: Login


def up_base(state: State) -> Base:
    """Bring up the control plane and Docker; idempotent. The instance's lock is held.

    Raises:
        DevClusterError: something is missing, or is not ready in time.
    """
    found = binaries.find_all()
    supervisor = Supervisor(state)
    ports = Ports(state)
    if supervisor.start():
        ports.drop_taken()
        say(f"started supervisord, with all state in {state.root}")
    docker = dockerd.find_or_start(state, supervisor)
    plane = plan_control_plane(state, ports, found, durable=True)
    start_control_plane(plane, ports, supervisor)
    if image.ensure_busybox(docker.host):
        (state.root / _MADE_IMAGE).touch()
    user = client_certificate(plane.pki.admin)
    write_file(state.kubeconfig, kubeconfig_text(plane.server, plane.pki.ca, user))
    _write_env(state, plane, docker)
    return Base(state, plane, docker, supervisor, ports)


def up(state: State, hosts: int) -> Instance:
    """Bring up all of Weir with that many hosts; idempotent. The instance's lock is held.

    Raises:
        DevClusterError: something is missing, or is not ready in time.
    """
    base = up_base(state)
    manifests.apply_all(base.plane, state.kubeconfig)
    identities = Identities(base.plane.admin, state.pki)
    names = host_names(state.id if not base.docker.ours else "", hosts)
    _remove_hosts(base, sorted(set(_known_hosts(state)) - set(names)))
    wanted = [components.operator(identities, base.ports), _facade(base, identities)]
    for name, share in zip(names, machine_shares(hosts), strict=True):
        folder = _host_folder(state, name)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        wanted.append(
            components.node_daemon(
                name,
                share,
                docker_host=base.docker.host,
                folder=folder,
                identities=identities,
                ports=base.ports,
            )
        )
    for component in wanted:
        base.supervisor.ensure(component.program)
    for component in wanted:
        _wait_until_ready(base, component)
    for name in names:
        program = components.daemon_program(name)
        ready = partial(_is_ready, base.plane.admin, name)
        wait_for(base.supervisor, program, ready, _READY_SECONDS)
        say(f"host {name} is ready")
    url = f"http://127.0.0.1:{base.ports.get(components.FACADE_PROGRAM)}"
    login = ensure_login(state, base.plane.admin, url)
    _write_env(state, base.plane, base.docker, login)
    return Instance(base.state, base.plane, base.docker, base.supervisor, base.ports, login)


def down(state: State) -> None:
    """Stop all of the instance and remove what it made; idempotent. The lock is held."""
    docker = dockerd.chosen(state)
    supervisor = Supervisor(state)
    hosts = _known_hosts(state)
    ours = [
        components.OPERATOR_PROGRAM,
        components.FACADE_PROGRAM,
        *map(components.daemon_program, hosts),
    ]
    supervisor.stop_programs(ours)
    if docker is not None and dockerd.answers(docker.host):
        leftovers.remove_containers(docker.host, None if docker.ours else hosts)
        if not docker.ours and (state.root / _MADE_IMAGE).exists():
            leftovers.remove_image(docker.host, image.BUSYBOX)
    supervisor.stop_programs([dockerd.PROGRAM])
    supervisor.kill()
    dockerd.clean_up(state)
    state.remove()
    say(f"stopped all, and removed {state.root}")


def _facade(base: Base, identities: Identities) -> Component:
    """Describe the facade, whose environments are all the image that was made here."""
    environments = base.state.root / "environments.yaml"
    name = "kohakuriver-base"
    write_file(environments, f"default: {name}\nimages: {{{name}: {quote(image.BUSYBOX)}}}\n")
    base.ports.get(components.FACADE_PROGRAM, preferred=_HOST_API_PORT)
    return components.facade(identities, base.ports, environments=environments)


def _wait_until_ready(base: Base, component: Component) -> None:
    name = component.program.name
    probe = Rest(f"http://{component.health}")
    took = wait_for(base.supervisor, name, partial(probe.answers, "/readyz"), _READY_SECONDS)
    say(f"{name} is ready ({took:.1f} s)")


def _is_ready(admin: Rest, host: str) -> bool:
    found = admin.find(f"{_HOSTS}/{host}") or {}
    conditions = found.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _remove_hosts(base: Base, names: list[str]) -> None:
    """Take hosts away that are no longer wanted; one that still has work is only stopped."""
    tasks = base.plane.admin.json("GET", "/apis/weir.dev/v1alpha1/tasks")["items"]
    for name in names:
        base.supervisor.remove(components.daemon_program(name))
        at_work = [
            f"{task['metadata']['namespace']}/{task['metadata']['name']}"
            for task in tasks
            if task.get("status", {}).get("nodeName") == name and "finishedAt" not in task["status"]
        ]
        if at_work:
            say(f"host {name} is stopped, but kept for its Tasks: {', '.join(at_work)}")
            continue
        for path in (
            f"{_HOSTS}/{name}",
            f"/apis/coordination.k8s.io/v1/namespaces/weir-system/leases/{name}",
            f"/api/v1/nodes/{name}",
        ):
            if base.plane.admin.find(path) is not None:
                base.plane.admin.request("DELETE", path)
        shutil.rmtree(_host_folder(base.state, name))
        say(f"removed host {name}")


def _known_hosts(state: State) -> list[str]:
    folder = state.root / "hosts"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def _host_folder(state: State, name: str) -> Path:
    return state.root / "hosts" / name


def _write_env(
    state: State, plane: ControlPlane, docker: dockerd.Docker, login: Login | None = None
) -> None:
    installed = Path(sys.executable).parent
    programs = {
        "kubectl": plane.kubectl,
        "kubectl-weir": installed / "kubectl-weir",
        "kubectl_complete-weir": installed / "kubectl_complete-weir",
    }
    for name, program in programs.items():
        link = state.bin / name
        link.unlink(missing_ok=True)
        link.symlink_to(program)
    own_docker = f"export DOCKER_HOST={quote(docker.host)}\n" if docker.ours else ""
    host_api = ""
    if login is not None:
        host_api = f"export WEIR_URL={login.url}\nexport WEIR_TOKEN={login.token}\n"
    write_file(
        state.env,
        "# To be sourced: kubectl, kubectl weir and docker then speak to this instance.\n"
        f"export KUBECONFIG={quote(str(state.kubeconfig))}\n"
        f"export WEIR_API={plane.server}\n"
        f"{host_api}"
        f"{own_docker}"
        f'case ":$PATH:" in *":{state.bin}:"*) ;; *) export PATH=\'{state.bin}\':"$PATH" ;; esac\n',
    )
