"""What the operator tells Prometheus."""

from prometheus_client import Counter, Gauge, Histogram

PENDING = Gauge("weir_operator_pending_tasks", "Tasks that could run and have no host.")
BINDS_IN_FLIGHT = Gauge("weir_operator_binds_in_flight", "Binds without an answer yet.")
BINDS = Counter(
    "weir_operator_binds_total",
    "Binds by result: bound, conflict (decided anew), gone (Task deleted), refused (an error).",
    ["result"],
)
BIND_SECONDS = Histogram(
    "weir_operator_bind_seconds",
    "From the decision to the API server's answer, repeats included.",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 15, 60),
)
QUEUED_SECONDS = Histogram(
    "weir_operator_queued_seconds",
    "From the moment a Task could be placed to its bind.",
    buckets=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 15, 60, 300, 1800, 7200, 86400),
)
SCHEDULE_SECONDS = Histogram(
    "weir_operator_schedule_loop_seconds",
    "One pass of the scheduling loop.",
    buckets=(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2),
)
UNBINDS = Counter(
    "weir_operator_unbinds_total",
    "Runs taken from their hosts to be followed by another, by why.",
    ["why"],
)
HOSTS = Gauge("weir_operator_hosts", "Hosts by state.", ["state"])
LEADER = Gauge("weir_operator_leader", "1 while this process holds the Lease, else 0.")
DELETED = Counter(
    "weir_operator_deleted_total", "Finished objects deleted, by kind and why.", ["kind", "why"]
)
RESYNCS = Counter("weir_operator_resyncs_total", "Full lists taken, by what asked.", ["why"])
