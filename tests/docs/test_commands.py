"""What the pages tell an administrator to type does what they say, on a real API server."""

import base64
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from support.cluster import Cluster
from support.served_host import with_kubectl
from weir_crds.kinds import HOST
from weir_kube.connect import connect
from weir_kube.errors import ForbiddenError

DOCS = Path(__file__).parents[2] / "docs"


def commands(page: str, containing: str) -> str:
    """Return the one block of shell commands of a page that has these words in it."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    (found,) = (block for block in blocks if containing in block)
    return str(found)


def run(cluster: Cluster, script: str, folder: Path) -> str:
    """Run it as an administrator; return what it printed."""
    done = subprocess.run(
        ["sh", "-e", "-c", script],
        env=with_kubectl() | {"KUBECONFIG": str(cluster.admin_kubeconfig)},
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def made_kubeconfig(cluster: Cluster, namespace: str, tmp_path: Path) -> Path:
    """As the page makes it for the daemon of a host that has the namespace's name."""
    shown = yaml.safe_load(Path(cluster.admin_kubeconfig).read_text())["clusters"][0]["cluster"]
    (tmp_path / "ca.crt").write_bytes(base64.b64decode(shown["certificate-authority-data"]))
    script = commands("operations.md", "kubectl create token").replace("NAME", namespace)
    run(cluster, script.replace("https://SERVER:6443", shown["server"]), tmp_path)
    return tmp_path / "kubeconfig"


async def test_the_daemon_of_a_host_that_is_added_may_make_that_host_and_no_other(
    made_kubeconfig: Path, namespace: str
) -> None:
    async with await connect(str(made_kubeconfig)) as api:
        spec = {"approval": "Pending"}
        made = await api.create(HOST, {"metadata": {"name": namespace}, "spec": spec})
        assert made["metadata"]["name"] == namespace
        with pytest.raises(ForbiddenError):
            await api.create(HOST, {"metadata": {"name": f"{namespace}-2"}, "spec": spec})


@pytest.fixture
def granted(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[str]:
    """The namespace in which ada was granted what the page grants."""
    run(
        cluster,
        commands("cli.md", "clusterrolebinding").replace("-n lab", f"-n {namespace}"),
        tmp_path,
    )
    yield namespace
    run(
        cluster,
        "kubectl delete clusterrole/weir-hosts clusterrolebinding/weir-hosts-ada;"
        " kubectl delete rolebinding/weir-logs-ada -n weir-system",
        tmp_path,
    )


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("list hosts.weir.dev", "yes"),
        ("create tasks.weir.dev -n {namespace}", "yes"),
        ("create serviceaccounts/weir-reader --subresource=token -n weir-system", "yes"),
        ("list tasks.weir.dev -n default", "no"),
        ("update hosts.weir.dev", "no"),
    ],
)
def test_what_is_granted_for_the_plugin_is_that_and_no_more(
    cluster: Cluster, granted: str, tmp_path: Path, asked: str, expected: str
) -> None:
    can = f"kubectl auth can-i {asked.format(namespace=granted)} --as=ada || true"
    assert run(cluster, can, tmp_path).strip() == expected
