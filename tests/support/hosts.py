"""Hosts and their Leases, as the API server shows them."""

from typing import Any

from support.rest_tasks import condition, uid_of
from weir_crds.names import SYSTEM_NAMESPACE

GIB = 2**30


def made_host(
    name: str = "n1",
    *,
    ready: str = "True",
    cores: int = 4,
    memory: str = "8Gi",
    gpus: int = 0,
    version: int = 1,
    spec: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a Host with one NUMA node of so many cores; ``status`` says what differs."""
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "Host",
        "metadata": {
            "name": name,
            "uid": uid_of(name),
            "resourceVersion": str(version),
            "generation": 1,
            "creationTimestamp": "2026-11-22T09:00:00Z",
        },
        "spec": {"approval": "Approved", **(spec or {})},
        "status": {
            "capacity": {
                "cpus": cores,
                "memory": memory,
                "numa": [{"id": 0, "cpus": [*range(cores)], "memory": memory}],
                "gpus": [{"index": index, "uuid": f"GPU-{index}"} for index in range(gpus)],
            },
            "endpoint": {"url": f"https://{name}:8443", "fingerprint": "sha256:" + "0" * 64},
            "conditions": [
                condition("Ready", ready, "DaemonReady"),
                condition("DockerReady", "True", "EngineReady"),
            ],
            **(status or {}),
        },
    }


def host(name: str = "n1", *, ready: str = "True", version: int = 1, **status: Any) -> Any:
    """Return a Host of four cores on two NUMA nodes with one GPU; ``status`` says what differs."""
    told = {
        "capacity": {
            "cpus": 4,
            "memory": "64Gi",
            "numa": [
                {"id": 0, "cpus": [0, 1], "memory": "32Gi"},
                {"id": 1, "cpus": [2, 3], "memory": "32Gi"},
            ],
            "gpus": [
                {
                    "index": 0,
                    "uuid": "GPU-a",
                    "name": "A100",
                    "pciAddress": "0000:3b:00.0",
                    "memory": "80Gi",
                    "driver": "550",
                }
            ],
        },
        "engines": [{"name": "docker", "version": "29", "ready": True}],
        "info": {"daemonVersion": "0.1.0"},
    }
    return made_host(name, ready=ready, version=version, status={**told, **status})


def lease(
    name: str = "n1",
    *,
    renewed: str = "2026-11-22T10:00:00.123456Z",
    version: int = 1,
    annotations: dict[str, str] | None = None,
) -> Any:
    """Return the Lease of a host."""
    return {
        "metadata": {
            "name": name,
            "namespace": SYSTEM_NAMESPACE,
            "uid": f"lease-{name}",
            "resourceVersion": str(version),
            "annotations": annotations or {},
        },
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": renewed},
    }
