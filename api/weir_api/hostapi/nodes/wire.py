"""What clients send and get about nodes, with examples for the API's document."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from weir_api.hostapi.nodes.convert import HEALTH_KEYS


class NumaNodeOut(BaseModel):
    """A NUMA node."""

    cores: list[int]
    memory_bytes: int | None


class GpuOut(BaseModel):
    """A GPU; -1: not told."""

    model_config = ConfigDict(extra="allow")

    gpu_id: int
    name: str
    driver_version: str
    pci_bus_id: str
    gpu_utilization: int
    graphics_clock_mhz: int
    mem_utilization: int
    mem_clock_mhz: int
    memory_total_mib: int
    memory_used_mib: int
    memory_free_mib: int
    temperature: int
    fan_speed: int
    power_usage_mw: int
    power_limit_mw: int


class HealthNodeOut(BaseModel):
    """A node as health samples show it."""

    hostname: str
    status: Literal["online", "offline"]
    last_heartbeat: str
    cpu_percent: float
    """0 while nothing is known."""
    memory_percent: float
    memory_used_bytes: int
    memory_total_bytes: int
    total_cores: int
    numa_topology: dict[str, NumaNodeOut]
    """By id."""
    current_avg_temp: float | None
    current_max_temp: float | None
    gpu_info: list[GpuOut | dict[str, Any]]
    """What a runner of another make tells of its GPUs is passed on as it is."""


class NodeOut(HealthNodeOut):
    """A node: a Host with its figures."""

    url: str
    cores_in_use: int | Literal["N/A"]
    """Cores that unfinished Tasks hold; ``N/A`` while it is offline."""
    available_cores: int
    vm_capable: bool
    vfio_gpus: list[dict[str, Any]]
    runner_version: str | None


class AggregateOut(BaseModel):
    """All nodes summed up."""

    model_config = ConfigDict(populate_by_name=True)

    total_nodes: int = Field(alias="totalNodes")
    online_nodes: int = Field(alias="onlineNodes")
    total_cores: int = Field(alias="totalCores")
    total_mem_bytes: int = Field(alias="totalMemBytes")
    used_mem_bytes: int = Field(alias="usedMemBytes")
    avg_cpu_percent: float = Field(alias="avgCpuPercent")
    """Weighted by cores."""
    avg_mem_percent: float = Field(alias="avgMemPercent")
    max_avg_cpu_temp: float = Field(alias="maxAvgCpuTemp")
    """0 where no host tells one."""
    max_max_cpu_temp: float = Field(alias="maxMaxCpuTemp")
    last_updated: str = Field(alias="lastUpdated")


class HealthOut(BaseModel):
    """The last minute: one sample a second, the oldest first."""

    nodes: list[list[HealthNodeOut]]
    aggregate: list[AggregateOut]


class HealthQuery(BaseModel):
    """Query of ``/health``."""

    hostname: str | None = None
    """Only this node, as it was in the latest sample."""


NODE_EXAMPLE: dict[str, Any] = {
    "hostname": "n1",
    "url": "https://10.0.0.5:8443",
    "total_cores": 8,
    "cores_in_use": 2,
    "available_cores": 6,
    "status": "online",
    "last_heartbeat": "2026-11-22T10:00:00.123456+00:00",
    "numa_topology": {
        "0": {"cores": [0, 1, 2, 3], "memory_bytes": 34359738368},
        "1": {"cores": [4, 5, 6, 7], "memory_bytes": 34359738368},
    },
    "gpu_info": [
        {
            "gpu_id": 0,
            "name": "NVIDIA A100-SXM4-80GB",
            "driver_version": "550.54.15",
            "pci_bus_id": "0000:3b:00.0",
            "gpu_utilization": 70,
            "graphics_clock_mhz": 1410,
            "mem_utilization": 30,
            "mem_clock_mhz": 1593,
            "memory_total_mib": 81920,
            "memory_used_mib": 20480,
            "memory_free_mib": 61440,
            "temperature": 61,
            "fan_speed": -1,
            "power_usage_mw": 250000,
            "power_limit_mw": 400000,
        }
    ],
    "cpu_percent": 12.5,
    "memory_percent": 25.0,
    "memory_used_bytes": 17179869184,
    "memory_total_bytes": 68719476736,
    "current_avg_temp": 41.5,
    "current_max_temp": 50.0,
    "vm_capable": False,
    "vfio_gpus": [],
    "runner_version": "0.1.0",
}

HEALTH_EXAMPLE: dict[str, Any] = {
    "nodes": [[{key: NODE_EXAMPLE[key] for key in HEALTH_KEYS}]],
    "aggregate": [
        {
            "totalNodes": 1,
            "onlineNodes": 1,
            "totalCores": 8,
            "totalMemBytes": 68719476736,
            "usedMemBytes": 17179869184,
            "avgCpuPercent": 12.5,
            "avgMemPercent": 25.0,
            "maxAvgCpuTemp": 41.5,
            "maxMaxCpuTemp": 50.0,
            "lastUpdated": "2026-11-22T10:00:00.123456+00:00",
        }
    ],
}
