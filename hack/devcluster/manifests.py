"""Weir's CRDs, roles and admission policies, from the files that a cluster install uses too."""

import subprocess
import time
from pathlib import Path

from devcluster.console import say
from devcluster.controlplane import ControlPlane
from devcluster.errors import DevClusterError
from devcluster.identities import NODE_DAEMON, SYSTEM_NAMESPACE
from devcluster.rest import Rest, RestError
from devcluster.state import CHECKOUT
from weir_crds.resources import RESOURCES

_EFFECTIVE_SECONDS = 60.0
_FACADE = "weir-api"
_NODE_NAME = "Impersonate-Extra-authentication.kubernetes.io%2Fnode-name"


def apply_all(plane: ControlPlane, kubeconfig: Path) -> None:
    """Apply CRDs and base, and wait until the API server acts by them; idempotent.

    Raises:
        DevClusterError: something was refused, or is not in force in time.
    """
    if not (CHECKOUT / "manifests" / "base").is_dir():
        return
    kubectl(plane, kubeconfig, *_SERVER_SIDE, "-f", str(CHECKOUT / "crds" / "yaml"))
    kubectl(
        plane,
        kubeconfig,
        *("wait", "--for=condition=Established", "--timeout=60s"),
        *("-f", str(CHECKOUT / "crds" / "yaml")),
    )
    kubectl(plane, kubeconfig, *_SERVER_SIDE, "-k", str(CHECKOUT / "manifests" / "base"))
    _wait_for_storage(plane.admin)
    _wait_for_policies(plane.admin)
    say("CRDs, roles and admission policies are in force")


_SERVER_SIDE = ("apply", "--server-side", "--force-conflicts")


def kubectl(plane: ControlPlane, kubeconfig: Path, *arguments: str) -> str:
    """Run kubectl and return what it printed.

    Raises:
        DevClusterError: it failed; the hint holds what it said.
    """
    done = subprocess.run(
        [plane.kubectl, f"--kubeconfig={kubeconfig}", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode != 0:
        raise DevClusterError(f"kubectl {' '.join(arguments)} failed.", done.stderr.strip())
    return done.stdout


def _wait_for_storage(admin: Rest) -> None:
    """List each kind until it can be listed: an established CRD may still refuse for a moment."""
    deadline = time.monotonic() + _EFFECTIVE_SECONDS
    for kind in (one.kind for one in RESOURCES):
        while True:
            try:
                admin.json("GET", f"{kind.path()}?limit=1")
                break
            except RestError as exc:
                if time.monotonic() > deadline:
                    message = f"The API server does not list {kind.plural}: {exc}"
                    raise DevClusterError(message) from exc
            time.sleep(0.1)


def _wait_for_policies(admin: Rest) -> None:
    """Try what each policy must refuse, as a dry run, until it is refused.

    A policy is in force some time after it was accepted, and nothing in its status says when.
    """
    task = {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "Task",
        "metadata": {"name": "probe"},
        "spec": {"image": "probe", "command": ["true"], "privileged": True},
    }
    host = {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "Host",
        "metadata": {"name": "probe"},
        "spec": {},
    }
    daemon = _as_account(admin, NODE_DAEMON, {_NODE_NAME: "another-host"})
    tasks = "/apis/weir.dev/v1alpha1/namespaces/default/tasks"
    hosts = "/apis/weir.dev/v1alpha1/hosts"
    probes = (
        (admin, tasks, task),
        (daemon, hosts, host),
        (_as_account(admin, _FACADE), hosts, host),
    )
    deadline = time.monotonic() + _EFFECTIVE_SECONDS
    for rest, path, body in probes:
        said = ""
        while "ValidatingAdmissionPolicy" not in said:
            if time.monotonic() > deadline:
                raise DevClusterError(
                    f"The admission policies are not in force after {_EFFECTIVE_SECONDS:.0f} s.",
                    f"POST {path} as a dry run: {said or 'was accepted'}",
                )
            try:
                rest.json("POST", f"{path}?dryRun=All", body)
                said = ""
            except RestError as exc:
                said = str(exc)
            time.sleep(0.1)


def _as_account(admin: Rest, account: str, headers: dict[str, str] | None = None) -> Rest:
    """Return the API server as a ServiceAccount of ours sees it."""
    user = f"system:serviceaccount:{SYSTEM_NAMESPACE}:{account}"
    asked = {"Impersonate-User": user, "Impersonate-Group": "system:authenticated"}
    return Rest(admin.server, admin.ca, admin.cert, admin.key, asked | (headers or {}))
