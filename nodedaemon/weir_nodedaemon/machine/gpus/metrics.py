"""What the node daemon tells Prometheus of its GPUs."""

from collections.abc import Mapping, Sequence

from prometheus_client import Gauge

from weir_nodedaemon.machine.gpus.port import Gpu, GpuLoad

_LABELS = ["index", "uuid"]

GPUS = Gauge("weir_daemon_gpus", "GPUs of this host, by state: ready or lost.", ["state"])
UTILISATION = Gauge(
    "weir_daemon_gpu_utilisation_ratio", "Part of the time that a GPU was at work, 0 to 1.", _LABELS
)
MEMORY = Gauge("weir_daemon_gpu_memory_bytes", "Memory of a GPU.", _LABELS)
MEMORY_USED = Gauge("weir_daemon_gpu_memory_used_bytes", "Memory in use on a GPU.", _LABELS)
TEMPERATURE = Gauge("weir_daemon_gpu_temperature_celsius", "Temperature of a GPU.", _LABELS)
POWER = Gauge("weir_daemon_gpu_power_watts", "Power that a GPU draws.", _LABELS)


def show(gpus: Sequence[Gpu], loads: Mapping[str, GpuLoad], lost: int) -> None:
    """Show these figures and no others: what a GPU does not tell, or a lost one told, goes."""
    GPUS.labels("ready").set(len(gpus))
    GPUS.labels("lost").set(lost)
    for gauge in (UTILISATION, MEMORY, MEMORY_USED, TEMPERATURE, POWER):
        gauge.clear()
    for gpu in gpus:
        load = loads.get(gpu.uuid, GpuLoad())
        percent, milliwatts = load.utilisation_percent, load.power_milliwatts
        for gauge, value in (
            (UTILISATION, None if percent is None else percent / 100),
            (MEMORY, gpu.memory_bytes or None),
            (MEMORY_USED, load.memory_used_bytes),
            (TEMPERATURE, load.temperature_celsius),
            (POWER, None if milliwatts is None else milliwatts / 1000),
        ):
            if value is not None:
                gauge.labels(str(gpu.index), gpu.uuid).set(value)
