"""What the document shows of nodes."""

from typing import Any

from weir_api.hostapi.nodes.convert import HEALTH_KEYS

NODE: dict[str, Any] = {
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

HEALTH: dict[str, Any] = {
    "nodes": [[{key: NODE[key] for key in HEALTH_KEYS}]],
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
