"""The facade beside the whole of Weir."""

import json
from collections.abc import Iterator

import pytest

from support.cluster import Cluster
from support.facade_process import REGISTER_SECRET, FacadeProcess
from support.rest_people import Person, delete_accounts, first_admin
from support.tasks import BUSYBOX
from support.weir_system import WeirSystem
from weir_crds.kinds import TASK
from weir_crds.names import DEFAULT_NAMESPACE, LABEL_ALLOW_PRIVILEGED


@pytest.fixture
def privileged_namespace(cluster: Cluster) -> Iterator[str]:
    """A fresh namespace where Tasks may mount folders of the host.

    It has its label from the start: the API server takes a moment to see one that comes later.
    """
    name = cluster.create_namespace({LABEL_ALLOW_PRIVILEGED: "true"})
    yield name
    cluster.delete_namespace(name)


@pytest.fixture(scope="module")
def facades(cluster: Cluster, weir_processes: WeirSystem) -> Iterator[list[FacadeProcess]]:
    """Two replicas of the facade, with no accounts at the start; the usual image is busybox."""
    delete_accounts(cluster)
    environments = cluster.state.root / "environments.yaml"
    environments.write_text(json.dumps({"default": "base", "images": {"base": BUSYBOX}}))
    replicas = [
        FacadeProcess(
            cluster,
            f"--environments={environments}",
            "--working-dir=/",
            environ={"WEIR_ADMIN_REGISTER_SECRET": REGISTER_SECRET},
        )
        for _ in range(2)
    ]
    try:
        for replica in replicas:
            replica.start()
        yield replicas
    finally:
        for replica in replicas:
            replica.process.stop()
        cluster.admin.request("DELETE", TASK.path(DEFAULT_NAMESPACE))
        delete_accounts(cluster)


@pytest.fixture(scope="module")
def facade(facades: list[FacadeProcess]) -> FacadeProcess:
    """One of them."""
    return facades[0]


@pytest.fixture(scope="module")
def admin(facade: FacadeProcess) -> Person:
    """The first administrator."""
    return first_admin(facade)
