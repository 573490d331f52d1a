import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support.cluster import Cluster
from support.served_host import ServedHost, served_host


@pytest.fixture
async def host(cluster: Cluster, namespace: str, tmp_path: Path) -> AsyncIterator[ServedHost]:
    async with served_host(cluster, namespace, tmp_path) as served:
        yield served


@pytest.fixture
def kubeconfig(cluster: Cluster) -> Path:
    """Of an administrator."""
    return Path(cluster.admin_kubeconfig)


@pytest.fixture
def scratch() -> Iterator[Path]:
    """An empty folder for TMPDIR, with a name short enough for a socket in it."""
    with tempfile.TemporaryDirectory(prefix="weir-cli-", dir="/tmp") as folder:
        yield Path(folder)
