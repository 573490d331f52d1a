"""What the facade's account may write, with a real token, on a real server."""

import uuid
from typing import Any

import pytest

from devcluster.rest import RestError
from support.api_client import Client
from support.cluster import Cluster
from support.tasks import task
from weir_crds.access_token import token_hash, token_name
from weir_crds.kinds import ACCESSTOKEN, USER
from weir_crds.names import ANNOTATION_RUNNER_METRICS, SYSTEM_NAMESPACE

FACADE = f"system:serviceaccount:{SYSTEM_NAMESPACE}:weir-api"
FACTS = {"status": {"startedAt": "2026-11-22T10:00:00Z", "phase": "Running"}}


def fresh(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def host(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "Host",
        "metadata": {"name": fresh("host")},
        "spec": spec,
    }


@pytest.mark.usefixtures("no_hosts_left")
def test_the_facade_speaks_for_external_hosts_only(facade: Client, admin: Client) -> None:
    ours, theirs = host(), host(external=True)
    refusal = "spec.external: the facade writes only external Hosts"
    assert refusal in (facade.create(ours) or "")
    assert admin.create(ours) is None
    assert facade.create(theirs) is None
    capacity = {"status": {"capacity": {"cpus": 4}}}
    assert refusal in (facade.patch(ours, capacity, "status") or "")
    assert refusal in (facade.patch(ours, {"spec": {"unschedulable": True}}) or "")
    assert "spec.external: " in (facade.patch(ours, {"spec": {"external": True}}) or "")
    assert facade.patch(theirs, capacity, "status") is None
    assert facade.patch(theirs, {"metadata": {"labels": {"a": "b"}}}) is None
    assert "forbidden" in (facade.delete(theirs) or "")


@pytest.mark.usefixtures("no_hosts_left")
def test_the_facade_approves_no_host(facade: Client, admin: Client) -> None:
    refusal = "spec.approval: the facade approves no Host"
    assert refusal in (facade.create(host(external=True, approval="Approved")) or "")
    theirs = host(external=True)
    assert facade.create(theirs) is None
    assert refusal in (facade.patch(theirs, {"spec": {"approval": "Approved"}}) or "")
    assert admin.patch(theirs, {"spec": {"approval": "Approved"}}) is None
    # A registration again leaves the decision as it is.
    assert facade.patch(theirs, {"metadata": {"labels": {"a": "b"}}}) is None
    assert refusal in (facade.patch(theirs, {"spec": {"approval": "Pending"}}) or "")


def test_the_facade_makes_tasks_and_their_verbs(facade: Client, namespace: str) -> None:
    obj = task(fresh("t"), namespace)
    assert facade.create(obj) is None
    for verb in ({"desiredState": "Paused"}, {"desiredState": "Killed"}):
        assert facade.patch(obj, {"spec": verb}) is None
    assert facade.delete(obj) is None


def test_the_facade_does_not_reach_into_the_host(facade: Client, namespace: str) -> None:
    verdict = facade.create(task(fresh("t"), namespace, privileged=True))
    assert "needs the label weir.dev/allow-privileged=true" in (verdict or "")


@pytest.mark.parametrize(
    "move",
    [
        {"nodeName": "n2", "runID": 2},
        {"runID": 2},
        {"cpus": [0, 1]},
        {"numaNode": 1},
        {"gpus": [{"index": 0, "uuid": "GPU-0"}]},
    ],
)
def test_the_facade_decides_nothing_about_where_a_task_runs(
    move: dict[str, Any], facade: Client, admin: Client, namespace: str
) -> None:
    obj = task(fresh("t"), namespace)
    assert admin.create(obj) is None
    assert "the Task is bound to no host" in (facade.patch(obj, {"status": move}, "status") or "")
    decision = {"nodeName": "n1", "runID": 1, "cpus": [0], "numaNode": 0, "gpus": []}
    assert admin.patch(obj, {"status": decision}, "status") is None
    verdict = facade.patch(obj, {"status": move}, "status")
    assert "status.nodeName, runID, cpus, numaNode and gpus are the operator's" in (verdict or "")
    assert facade.patch(obj, FACTS, "status") is None


def test_the_facade_keeps_users_and_tokens(facade: Client) -> None:
    user = {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "User",
        "metadata": {"name": fresh("p")},
        "spec": {"role": "viewer"},
    }
    assert facade.create(user) is None
    assert facade.patch(user, {"spec": {"role": "user"}}) is None
    uid = facade.get(user)["metadata"]["uid"]
    hashed = token_hash(uuid.uuid4().hex)
    token = {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "AccessToken",
        "metadata": {"name": token_name("API", hashed)},
        "spec": {
            "type": "API",
            "tokenHash": hashed,
            "userRef": {"name": user["metadata"]["name"], "uid": uid},
        },
    }
    assert facade.create(token) is None
    used = {"status": {"lastUsedAt": "2026-11-22T10:00:00Z"}}
    assert facade.patch(token, used, "status") is None
    assert facade.delete(token) is None
    assert facade.delete(user) is None


def lease(name: str, namespace: str = SYSTEM_NAMESPACE, **annotations: str) -> dict[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 40},
    }


METRICS = {ANNOTATION_RUNNER_METRICS: "{}"}
RENEWAL = {"spec": {"renewTime": "2026-11-22T10:00:00.000000Z"}}


def test_the_facade_renews_leases_of_external_hosts(facade: Client) -> None:
    theirs = lease(fresh("host"), **METRICS)
    assert facade.create(theirs) is None
    assert facade.patch(theirs, RENEWAL) is None
    assert "forbidden" in (facade.delete(theirs) or "")
    assert "forbidden" in (facade.create(lease(fresh("host"), "default", **METRICS)) or "")


def test_the_facade_renews_no_lease_of_a_daemon_or_the_operator(
    facade: Client, admin: Client
) -> None:
    refusal = "the facade renews Leases of external hosts only"
    assert refusal in (facade.create(lease(fresh("host"))) or "")
    ours = lease(fresh("host"))
    assert admin.create(ours) is None
    assert refusal in (facade.patch(ours, RENEWAL) or "")
    dressed_up = RENEWAL | {"metadata": {"annotations": METRICS}}
    assert refusal in (facade.patch(ours, dressed_up) or "")
    assert admin.delete(ours) is None
    verdict = facade.create(lease("weir-operator", **METRICS))
    assert "this Lease is the operator's" in (verdict or "")


def event(namespace: str, controller: str = "weir.dev/api", **regarding: str) -> dict[str, Any]:
    about = {"apiVersion": "weir.dev/v1alpha1", "kind": "Task", "namespace": namespace}
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": fresh("e"), "namespace": namespace},
        "eventTime": "2026-11-26T10:00:00.000000Z",
        "reportingController": controller,
        "reportingInstance": "me",
        "type": "Normal",
        "action": "Kill",
        "reason": "KillRequested",
        "regarding": about | {"name": "t"} | regarding,
    }


SERIES = {"series": {"count": 2, "lastObservedTime": "2026-11-26T10:00:01.000000Z"}}


def test_the_facade_writes_events_of_tasks_as_itself(
    facade: Client, admin: Client, namespace: str
) -> None:
    ours, theirs = event(namespace), event(namespace, "kubernetes.io/other")
    assert facade.create(ours) is None
    assert facade.patch(ours, SERIES) is None
    refusal = "the facade writes its own Events only"
    assert refusal in (facade.create(theirs) or "")
    assert admin.create(theirs) is None
    assert refusal in (facade.patch(theirs, SERIES) or "")
    for other in ({"kind": "Host"}, {"apiVersion": "v1", "kind": "Pod"}):
        assert "Events of Tasks only" in (facade.create(event(namespace, **other)) or "")
    assert "forbidden" in (facade.delete(ours) or "")
    with pytest.raises(RestError):
        facade.get(ours)


@pytest.mark.parametrize("kind", [USER, ACCESSTOKEN])
@pytest.mark.parametrize("role", ["view", "edit", "admin"])
def test_people_who_may_read_everything_else_do_not_read_users_and_tokens(
    role: str, kind: Any, cluster: Cluster
) -> None:
    roles = cluster.admin.json("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles")["items"]
    (found,) = [one for one in roles if one["metadata"]["name"] == role]
    assert not [rule for rule in found["rules"] if kind.plural in (rule.get("resources") or ())]
