"""What the HTTPS port tells Prometheus."""

from prometheus_client import Counter, Gauge

REQUESTS = Counter(
    "weir_daemon_http_requests",
    "Requests to the HTTPS port, by route and status.",
    ["route", "code"],
)
LOG_STREAMS = Gauge("weir_daemon_log_streams", "Logs that are being read over the HTTPS port.")
LOG_BYTES = Counter("weir_daemon_log_sent_bytes", "Bytes of logs sent over the HTTPS port.")
