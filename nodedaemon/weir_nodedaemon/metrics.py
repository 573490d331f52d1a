"""What the node daemon tells Prometheus."""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800)

RUNS_STARTED = Counter("weir_daemon_runs_started", "Containers started.")
RUNS_ENDED = Counter("weir_daemon_runs_ended", "Ends told to the API, by reason.", ["reason"])
START_SECONDS = Histogram(
    "weir_daemon_start_seconds",
    "Seconds from the bind to the container's start, by the clocks of operator and host.",
    buckets=_SECONDS,
)
END_TOLD_SECONDS = Histogram(
    "weir_daemon_end_told_seconds",
    "Seconds from a container's end until the API had it.",
    buckets=_SECONDS,
)
PULLS = Counter("weir_daemon_pulls", "Attempts to pull an image, by outcome.", ["outcome"])
PULL_SECONDS = Histogram(
    "weir_daemon_pull_seconds", "Seconds a successful pull took.", buckets=_SECONDS
)
CONTAINERS = Gauge("weir_daemon_containers", "Containers of this host, by state.", ["state"])
ORPHANS_REMOVED = Counter("weir_daemon_orphans_removed", "Containers removed without a Task.")
FENCED = Counter(
    "weir_daemon_fenced",
    "Containers stopped because the Lease could not be renewed and another host may run them.",
)
ENGINE_READY = Gauge("weir_daemon_engine_ready", "1 while the container engine answers.")
RECORDS_LOST = Counter("weir_daemon_records_lost", "Notes about runs that the disk refused.")
