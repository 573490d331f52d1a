"""What the API server accepts of a Host."""

import uuid
from typing import Any

import pytest

from support.api_client import Client

pytestmark = pytest.mark.usefixtures("no_hosts_left")


@pytest.fixture
def new() -> dict[str, Any]:
    """A Host that could be created."""
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "Host",
        "metadata": {"name": f"h-{uuid.uuid4().hex[:8]}"},
        "spec": {"hostID": "6f0c1d2e-0000-4000-8000-000000000000"},
    }


@pytest.mark.parametrize(
    ("sentence", "spec", "named"),
    [
        ("an id that is none", {"hostID": "my host"}, "spec.hostID"),
        ("an approval of no known kind", {"approval": "Yes"}, "spec.approval"),
        ("a core reserved twice", {"reserved": {"cpus": [0, 0]}}, "spec.reserved.cpus[1]"),
        ("a negative core", {"reserved": {"cpus": [-1]}}, "spec.reserved.cpus[0]"),
        ("a negative memory", {"reserved": {"memory": "-1Gi"}}, "spec.reserved.memory"),
        ("an unknown field", {"cordoned": True}, "spec.cordoned"),
    ],
)
def test_a_bad_manifest_is_refused_and_the_field_named(
    sentence: str, spec: dict[str, Any], named: str, admin: Client, new: dict[str, Any]
) -> None:
    new["spec"] |= spec
    assert named in (admin.create(new) or ""), sentence


def test_a_host_without_a_spec_is_pending_and_takes_work_once_approved(
    admin: Client, new: dict[str, Any]
) -> None:
    del new["spec"]
    assert admin.create(new) is None
    spec = admin.get(new)["spec"]
    assert (spec["approval"], spec["unschedulable"]) == ("Pending", False)


def test_verbs_may_change_back_and_forth(admin: Client, new: dict[str, Any]) -> None:
    assert admin.create(new) is None
    for spec in (
        {"approval": "Approved"},
        {"approval": "Rejected"},
        {"approval": "Approved"},
        {"unschedulable": True},
        {"unschedulable": False},
        {"reserved": {"cpus": [0], "memory": "1Gi"}},
        {"reserved": None},
    ):
        assert admin.patch(new, {"spec": spec}) is None, spec


@pytest.mark.parametrize("change", ["another", None])
def test_the_id_of_a_host_stays(change: str | None, admin: Client, new: dict[str, Any]) -> None:
    assert admin.create(new) is None
    other = "00" if change else None
    verdict = admin.patch(new, {"spec": {"hostID": other}})
    assert "spec.hostID: Forbidden: is immutable after creation" in (verdict or "")
    verdict = admin.patch(new, {"spec": None})
    assert "spec.hostID: Forbidden: is immutable after creation" in (verdict or "")


@pytest.mark.parametrize(("before", "after"), [(True, False), (True, None), (None, True)])
def test_a_host_is_external_for_good_or_never(
    before: bool | None, after: bool | None, admin: Client, new: dict[str, Any]
) -> None:
    new["spec"] = {} if before is None else {"external": before}
    assert admin.create(new) is None
    verdict = admin.patch(new, {"spec": {"external": after}})
    assert "spec.external: Forbidden: is immutable after creation" in (verdict or "")


FULL = {
    "capacity": {
        "cpus": 4,
        "memory": "64Gi",
        "numa": [
            {"id": 0, "cpus": [0, 1], "memory": "32Gi", "distances": [10, 21]},
            {"id": 1, "cpus": [2, 3], "memory": "32Gi", "distances": [21, 10]},
        ],
        "gpus": [{"index": 0, "uuid": "GPU-0", "name": "A100", "numaNode": 0, "memory": "80Gi"}],
    },
    "allocated": {"cpus": 1, "memory": "8Gi", "gpus": [0], "tasks": 2, "vpses": 0},
    "engines": [{"name": "docker", "version": "20.10.24", "ready": True}],
    "endpoint": {"url": "https://10.0.0.5:8443", "fingerprint": "sha256:" + "0f" * 32},
    "runnerURL": "http://10.0.0.5:8001",
    "addresses": [
        {"type": "InternalIP", "address": "10.0.0.5"},
        {"type": "InternalIP", "address": "fe80::1"},
    ],
    "info": {"bootID": "a", "machineID": "b", "os": "Debian", "kernel": "6.1", "architecture": "x"},
    "orphans": ["6f0c"],
}


def test_a_status_with_all_its_fields(admin: Client, new: dict[str, Any]) -> None:
    assert admin.create(new) is None
    assert admin.patch(new, {"status": FULL}, "status") is None
    assert admin.get(new)["status"] == FULL  # nothing dropped, nothing made up


@pytest.mark.parametrize(
    "url",
    [
        "https://h",
        "https://gpu-1.example.org:8443",
        "https://[::1]:8443",
        "https://[fe80::1%eth0]:1",
    ],
)
def test_endpoints_that_a_daemon_may_have(admin: Client, new: dict[str, Any], url: str) -> None:
    endpoint = {"url": url, "fingerprint": "sha256:" + "0f" * 32}
    assert admin.create(new) is None
    assert admin.patch(new, {"status": {"endpoint": endpoint}}, "status") is None


@pytest.mark.parametrize(
    ("sentence", "status", "named"),
    [
        ("an endpoint in plain text",
         {"endpoint": {"url": "http://h", "fingerprint": "sha256:" + "0f" * 32}},
         "status.endpoint.url"),
        *(
            ("an endpoint that is more than an address and a port",
             {"endpoint": {"url": url, "fingerprint": "sha256:" + "0f" * 32}},
             "status.endpoint.url")
            for url in (
                "https://h:8443/", "https://h/api/v1/secrets", "https://h?a=b", "https://h#a",
                "https://a:b@h", "https://h\\x", "https://:8443", "https://h:8443:1", "https://[::1",
            )
        ),
        ("a runner reached by another protocol", {"runnerURL": "file:///etc/passwd"},
         "status.runnerURL"),
        ("a fingerprint of another kind",
         {"endpoint": {"url": "https://h", "fingerprint": "md5:00"}},
         "status.endpoint.fingerprint"),
        ("a NUMA node that stands twice",
         {"capacity": {"numa": [{"id": 0, "cpus": []}, {"id": 0, "cpus": []}]}},
         "status.capacity.numa[1]"),
        ("an engine that says nothing of its state",
         {"engines": [{"name": "docker"}]}, "status.engines[0].ready"),
    ],
)  # fmt: skip
def test_a_bad_status_is_refused_and_the_field_named(
    sentence: str, status: dict[str, Any], named: str, admin: Client, new: dict[str, Any]
) -> None:
    assert admin.create(new) is None
    assert named in (admin.patch(new, {"status": status}, "status") or ""), sentence
