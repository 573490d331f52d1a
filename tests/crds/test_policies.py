"""What each account may write: roles and admission policies, with real tokens, on a real server."""

import uuid
from functools import partial
from typing import Any

import pytest

from support.api_client import Client, client_of
from support.cluster import Cluster
from support.polling import eventually
from support.tasks import task
from weir_crds.names import SYSTEM_NAMESPACE

LABEL = "needs the label weir.dev/allow-privileged=true on namespace"
PRIVILEGED: dict[str, dict[str, Any]] = {
    "spec.privileged": {"privileged": True},
    "spec.mounts": {"mounts": [{"hostPath": "/data", "mountPath": "/data"}]},
    "spec.network.mode": {"network": {"mode": "Host"}},
}


def name(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


@pytest.mark.parametrize("field", PRIVILEGED)
def test_what_reaches_into_the_host_is_refused_in_an_ordinary_namespace(
    field: str, admin: Client, namespace: str
) -> None:
    verdict = admin.create(task("reaches", namespace, **PRIVILEGED[field]))
    assert f"{field}: " in (verdict or "")
    assert f"{LABEL} {namespace}" in (verdict or "")


@pytest.mark.parametrize("field", PRIVILEGED)
def test_what_reaches_into_the_host_is_accepted_in_a_labelled_namespace(
    field: str, admin: Client, privileged_namespace: str
) -> None:
    obj = task(name("reaches"), privileged_namespace, **PRIVILEGED[field])
    assert admin.create(obj) is None


def test_a_label_that_is_not_true_allows_nothing(admin: Client, cluster: Cluster) -> None:
    namespace = cluster.create_namespace({"weir.dev/allow-privileged": "yes"})
    assert LABEL in (admin.create(task("reaches", namespace, privileged=True)) or "")
    cluster.delete_namespace(namespace)


def test_a_privileged_task_stays_killable_when_its_namespace_loses_the_label(
    admin: Client, cluster: Cluster
) -> None:
    namespace = cluster.create_namespace({"weir.dev/allow-privileged": "true"})
    obj = task("reaches", namespace, privileged=True)
    assert admin.create(obj) is None
    cluster.kubectl("label", "namespace", namespace, "weir.dev/allow-privileged-")
    assert admin.patch(obj, {"spec": {"desiredState": "Killed"}}) is None
    assert admin.delete(obj) is None
    cluster.delete_namespace(namespace)


def bound_task(admin: Client, namespace: str, host: str | None) -> dict[str, Any]:
    """Return a Task that is bound to a host, or waits."""
    obj = task(name("bound"), namespace)
    assert admin.create(obj) is None
    if host is not None:
        decision = {"nodeName": host, "runID": 1, "cpus": [0], "numaNode": 0, "gpus": []}
        assert admin.patch(obj, {"status": decision}, "status") is None
    return obj


FACTS = {"status": {"startedAt": "2026-11-22T10:00:00Z", "phase": "Running"}}


def test_a_daemon_writes_the_facts_of_a_task_on_its_host(
    daemon_n1: Client, admin: Client, namespace: str
) -> None:
    obj = bound_task(admin, namespace, "n1")
    assert daemon_n1.patch(obj, FACTS, "status") is None
    assert admin.get(obj)["status"]["phase"] == "Running"


@pytest.mark.parametrize("host", ["n2", None])
def test_a_daemon_does_not_write_the_status_of_a_task_elsewhere(
    host: str | None, daemon_n1: Client, admin: Client, namespace: str
) -> None:
    obj = bound_task(admin, namespace, host)
    verdict = daemon_n1.patch(obj, FACTS, "status")
    expected = f'status: the Task is bound to host "{host or ""}", the token to host "n1"'
    assert expected in (verdict or "")


def test_a_daemon_does_not_take_a_task_that_waits(
    daemon_n1: Client, admin: Client, namespace: str
) -> None:
    obj = bound_task(admin, namespace, None)
    verdict = daemon_n1.patch(obj, {"status": {"nodeName": "n1", "runID": 1}}, "status")
    assert "status: the Task is bound to host" in (verdict or "")


@pytest.mark.parametrize(
    "move",
    [
        {"nodeName": "n2", "runID": 2},
        {"nodeName": None, "runID": 2},
        {"runID": 2},
        {"cpus": [0, 1]},
        {"cpus": None},
        {"numaNode": 1},
        {"gpus": [{"index": 0, "uuid": "GPU-0"}]},
    ],
)
def test_a_daemon_does_not_move_its_task(
    move: dict[str, Any], daemon_n1: Client, admin: Client, namespace: str
) -> None:
    obj = bound_task(admin, namespace, "n1")
    verdict = daemon_n1.patch(obj, {"status": move}, "status")
    assert "status.nodeName, runID, cpus, numaNode and gpus are the operator's" in (verdict or "")


def test_a_daemon_without_a_node_in_its_token_writes_nothing(
    unbound_daemon: Client, admin: Client, namespace: str
) -> None:
    for host in ("n1", None):
        obj = bound_task(admin, namespace, host)
        assert "the token to host" in (unbound_daemon.patch(obj, FACTS, "status") or "")
    assert "the token is bound to host" in (unbound_daemon.create(host_named("n1")) or "")
    assert "the token is bound to host" in (unbound_daemon.create(lease_named("n1")) or "")


def test_a_daemon_writes_no_spec_and_makes_and_deletes_no_task(
    daemon_n1: Client, admin: Client, namespace: str
) -> None:
    obj = bound_task(admin, namespace, "n1")
    for verdict in (
        daemon_n1.patch(obj, {"spec": {"desiredState": "Killed"}}),
        daemon_n1.patch(obj, {"metadata": {"labels": {"a": "b"}}}),
        daemon_n1.create(task("another", namespace)),
        daemon_n1.delete(obj),
    ):
        assert "forbidden" in (verdict or "")


def host_named(host: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "Host",
        "metadata": {"name": host},
        "spec": spec,
    }


def lease_named(lease: str, namespace: str = SYSTEM_NAMESPACE) -> dict[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": lease, "namespace": namespace},
        "spec": {"holderIdentity": lease, "leaseDurationSeconds": 40},
    }


@pytest.fixture
def me(cluster: Cluster, no_hosts_left: None) -> tuple[str, Client]:
    """A host of a fresh name, and its daemon."""
    host = name("host")
    return host, client_of(cluster, cluster.kubeconfig_for("weir-nodedaemon", host=host))


def test_a_daemon_makes_its_own_host_pending_and_writes_its_status(me: tuple[str, Client]) -> None:
    host, daemon = me
    assert daemon.create(host_named(host, hostID="0f")) is None
    assert daemon.get(host_named(host))["spec"]["approval"] == "Pending"
    assert daemon.patch(host_named(host), {"status": {"capacity": {"cpus": 4}}}, "status") is None


@pytest.mark.parametrize("approval", ["Approved", "Rejected"])
def test_a_daemon_does_not_approve_its_host(approval: str, me: tuple[str, Client]) -> None:
    host, daemon = me
    verdict = daemon.create(host_named(host, approval=approval))
    assert "spec.approval: a node daemon creates its Host as Pending" in (verdict or "")
    assert daemon.create(host_named(host)) is None
    verdict = daemon.patch(host_named(host), {"spec": {"approval": approval}})
    assert "forbidden" in (verdict or "")


def test_a_daemon_does_not_touch_another_host(
    me: tuple[str, Client], daemon_n1: Client, admin: Client
) -> None:
    host, _ = me
    assert 'token is bound to host "n1"' in (daemon_n1.create(host_named(host)) or "")
    assert admin.create(host_named(host)) is None
    verdict = daemon_n1.patch(host_named(host), {"status": {"orphans": ["a"]}}, "status")
    assert 'token is bound to host "n1"' in (verdict or "")
    assert "forbidden" in (daemon_n1.delete(host_named(host)) or "")


def test_a_daemon_renews_its_own_lease_only(me: tuple[str, Client], daemon_n1: Client) -> None:
    host, daemon = me
    lease = lease_named(host)
    renewal = {"spec": {"renewTime": "2026-11-22T10:00:00.000000Z"}}
    assert daemon.create(lease) is None
    assert daemon.patch(lease, renewal) is None
    assert daemon.replace(daemon.get(lease)) is None
    assert 'token is bound to host "n1"' in (daemon_n1.patch(lease, renewal) or "")
    assert 'token is bound to host "n1"' in (daemon_n1.create(lease_named(name("lease"))) or "")
    assert "forbidden" in (daemon.delete(lease) or "")
    assert "forbidden" in (daemon.create(lease_named(host, "default")) or "")


def test_a_host_with_the_name_of_the_operators_lease_does_not_get_it(cluster: Cluster) -> None:
    daemon = client_of(cluster, cluster.kubeconfig_for("weir-nodedaemon", host="weir-operator"))
    verdict = daemon.create(lease_named("weir-operator"))
    assert "this Lease is the operator's" in (verdict or "")


def test_the_operator_decides_and_writes_no_spec_of_a_task(
    operator: Client, admin: Client, me: tuple[str, Client], namespace: str
) -> None:
    obj = bound_task(admin, namespace, None)
    assert operator.patch(obj, {"status": {"nodeName": "n1", "runID": 1}}, "status") is None
    assert "forbidden" in (operator.patch(obj, {"spec": {"desiredState": "Killed"}}) or "")
    assert operator.delete(obj) is None
    host, daemon = me
    assert daemon.create(host_named(host)) is None
    assert operator.patch(host_named(host), {"spec": {"approval": "Approved"}}) is None
    assert operator.patch(host_named(host), {"status": {"allocated": {}}}, "status") is None


SYSTEM = f"system:serviceaccount:{SYSTEM_NAMESPACE}"


@pytest.mark.parametrize(
    ("account", "verb", "resource", "allowed"),
    [
        ("weir-operator", "list", "tasks.weir.dev", True),
        ("weir-operator", "watch", "hosts.weir.dev", True),
        ("weir-operator", "delete", "hosts.weir.dev", False),
        ("weir-operator", "get", "secrets", False),
        ("weir-operator", "create", "tasks.weir.dev", False),
        ("weir-operator", "get", "tasks.weir.dev/log", False),
        ("weir-nodedaemon", "watch", "tasks.weir.dev", True),
        ("weir-nodedaemon", "create", "tokenreviews.authentication.k8s.io", True),
        ("weir-nodedaemon", "create", "subjectaccessreviews.authorization.k8s.io", True),
        ("weir-nodedaemon", "get", "secrets", False),
        ("weir-nodedaemon", "get", "configmaps", False),
        ("weir-nodedaemon", "get", "nodes", False),
        ("weir-api", "watch", "tasks.weir.dev", True),
        ("weir-api", "create", "tasks.weir.dev", True),
        ("weir-api", "delete", "tasks.weir.dev", True),
        ("weir-api", "deletecollection", "tasks.weir.dev", False),
        ("weir-api", "get", "tasks.weir.dev/log", True),
        ("weir-api", "get", "hosts.weir.dev/stats", True),
        ("weir-api", "delete", "hosts.weir.dev", False),
        ("weir-api", "watch", "users.weir.dev", True),
        ("weir-api", "delete", "accesstokens.weir.dev", True),
        ("weir-api", "get", "secrets", False),
        ("weir-api", "get", "configmaps", False),
        ("weir-api", "get", "pods", False),
        ("weir-api", "impersonate", "users", False),
        ("weir-operator", "get", "users.weir.dev", False),
        ("weir-nodedaemon", "get", "accesstokens.weir.dev", False),
        ("weir-reader", "get", "accesstokens.weir.dev", False),
        ("weir-reader", "get", "tasks.weir.dev/log", True),
        ("weir-reader", "get", "hosts.weir.dev/stats", True),
        ("weir-reader", "get", "tasks.weir.dev", False),
        ("weir-reader", "get", "pods", False),
    ],
)
def test_roles(account: str, verb: str, resource: str, allowed: bool, cluster: Cluster) -> None:
    resource, _, subresource = resource.partition("/")
    assert may(cluster, f"{SYSTEM}:{account}", verb, resource, subresource) == allowed


def may(
    cluster: Cluster,
    user: str,
    verb: str,
    resource: str,
    subresource: str = "",
    namespace: str = "default",
    name: str = "any",
) -> bool:
    """Ask the API server whether a user may do it."""
    plural, _, group = resource.partition(".")
    attributes = {
        "verb": verb,
        "resource": plural,
        "subresource": subresource,
        "group": group,
        "namespace": namespace,
        "name": name,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": attributes},
    }
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    answer = cluster.admin.json("POST", path, review)
    return bool(answer["status"]["allowed"])


@pytest.mark.parametrize(("lease", "allowed"), [("weir-operator", True), ("n1", False)])
def test_the_operator_renews_its_own_lease_only(
    lease: str, allowed: bool, cluster: Cluster
) -> None:
    where = {"namespace": SYSTEM_NAMESPACE, "name": lease}
    account = f"{SYSTEM}:weir-operator"
    assert may(cluster, account, "get", "leases.coordination.k8s.io", **where)
    assert may(cluster, account, "patch", "leases.coordination.k8s.io", **where) == allowed


@pytest.mark.parametrize(("account", "allowed"), [("weir-api", True), ("weir-operator", False)])
def test_the_facade_asks_for_tokens_of_its_own_account_only(
    account: str, allowed: bool, cluster: Cluster
) -> None:
    where = {"namespace": SYSTEM_NAMESPACE, "name": account}
    facade = f"{SYSTEM}:weir-api"
    assert may(cluster, facade, "create", "serviceaccounts", "token", **where) == allowed


def test_secrets_are_readable_only_where_the_role_was_bound(
    cluster: Cluster, namespace: str
) -> None:
    daemon = f"{SYSTEM}:weir-nodedaemon"
    assert not may(cluster, daemon, "get", "secrets", namespace=namespace)
    cluster.kubectl(
        *("create", "rolebinding", "weir-secrets", "--clusterrole=weir-secrets"),
        *(f"--serviceaccount={SYSTEM_NAMESPACE}:weir-nodedaemon", "-n", namespace),
    )
    knows = partial(may, cluster, daemon, "get", "secrets", namespace=namespace)
    eventually(knows, what="the binding is in force")
    assert may(cluster, daemon, "get", "configmaps", namespace=namespace)
    assert not may(cluster, daemon, "list", "secrets", namespace=namespace)
    assert not may(cluster, daemon, "get", "secrets", namespace="default")


@pytest.mark.parametrize(
    ("role", "verb", "subresource", "allowed"),
    [
        ("view", "list", "", True),
        ("view", "get", "log", True),
        ("view", "create", "", False),
        ("edit", "create", "", True),
        ("edit", "patch", "", True),
        ("edit", "get", "log", True),
        ("edit", "patch", "status", False),
        ("admin", "delete", "", True),
        ("admin", "patch", "status", False),
    ],
)
def test_kubernetes_own_roles_know_tasks(
    role: str, verb: str, subresource: str, allowed: bool, cluster: Cluster, namespace: str
) -> None:
    cluster.kubectl(
        *("create", "rolebinding", "person", f"--clusterrole={role}", "--user=person"),
        *("-n", namespace),
    )
    # The API server takes a moment to know of a binding; each of these roles may read Tasks.
    knows = partial(may, cluster, "person", "get", "tasks.weir.dev", "", namespace)
    eventually(knows, what="the binding is in force")
    given = may(cluster, "person", verb, "tasks.weir.dev", subresource, namespace)
    assert given == allowed


def test_no_role_has_a_wildcard(cluster: Cluster) -> None:
    roles = cluster.admin.json("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles")["items"]
    ours = [role for role in roles if role["metadata"]["name"].startswith("weir-")]
    assert {role["metadata"]["name"] for role in ours} >= {"weir-operator", "weir-nodedaemon"}
    assert "*" not in str([role["rules"] for role in ours])
