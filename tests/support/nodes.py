"""The facade's view of hosts, over Hosts, Leases, figures and Tasks that a test makes up."""

from typing import Any

from support.hosts import GIB
from weir_api.hostapi.nodes.figures import NO_FIGURES, Figures
from weir_api.hostapi.nodes.health_history import HealthHistory
from weir_api.hostapi.nodes.node_rows import NodeRows
from weir_api.hostapi.nodes.routes import NodeRoutes
from weir_api.hostapi.runners.heartbeats import Heartbeats
from weir_kube.store import Store

STATS = {
    "host": {
        "cpus": 4,
        "cpuPercent": 12.5,
        "load": [0.1, 0.2, 0.3],
        "memory": {"totalBytes": 64 * GIB, "availableBytes": 48 * GIB},
        "temperature": {"averageCelsius": 41.5, "highestCelsius": 50.0},
    },
    "gpus": [
        {
            "index": 0,
            "uuid": "GPU-a",
            "name": "A100",
            "memory": {"totalBytes": 80 * GIB, "usedBytes": 20 * GIB},
            "utilisationPercent": 70,
            "memoryUtilisationPercent": 30,
            "temperatureCelsius": 61,
            "graphicsClockMHz": 1410,
            "memoryClockMHz": 1593,
            "fanPercent": 33,
            "powerMilliwatts": 250_000,
            "powerLimitMilliwatts": 400_000,
        }
    ],
}


class World:
    """What the facade shows, and all that it knows."""

    def __init__(self) -> None:
        self.hosts, self.leases = Store(), Store()
        self.seen: dict[str, Figures] = {}
        self.in_use: dict[str, float] = {}
        self.heartbeats = Heartbeats(self.leases)
        self.rows = NodeRows(self.hosts, self.leases, self, self, self.heartbeats)
        self.history = HealthHistory(self.rows)
        self.routes = NodeRoutes(self.rows, self.history)

    def figures(self, name: str) -> Figures:
        return self.seen.get(name, NO_FIGURES)

    def cores_in_use(self, name: str) -> float:
        return self.in_use.get(name, 0.0)

    def have(self, *objects: dict[str, Any]) -> None:
        for each in objects:
            (self.hosts if each.get("kind") == "Host" else self.leases).apply("MODIFIED", each)
        self.rows.changed()
