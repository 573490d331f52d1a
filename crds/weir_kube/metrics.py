"""What the three components tell Prometheus about their talk with the API server."""

from functools import lru_cache

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

# Each counter would bring a second series, of which nobody asks.
disable_created_metrics()  # type: ignore[no-untyped-call]

_FAST = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 15)
_SLOW = (0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 30, 120, 600)

API_REQUESTS = Counter(
    "weir_api_requests", "Requests to the API server; code 0: no answer.", ["verb", "kind", "code"]
)
API_SECONDS = Histogram(
    "weir_api_request_seconds",
    "Seconds until the API server's answer began.",
    ["verb", "kind"],
    buckets=_FAST,
)
REFLECTOR_LISTS = Counter("weir_reflector_lists", "Full lists made, by cause.", ["kind", "cause"])
REFLECTOR_FAILURES = Counter(
    "weir_reflector_failures", "Lists and watches that failed, by reason.", ["kind", "reason"]
)
REFLECTOR_OBJECTS = Gauge("weir_reflector_objects", "Objects in the cache.", ["kind"])
QUEUE_DEPTH = Gauge("weir_queue_depth", "Keys that wait for a worker.", ["queue"])
QUEUE_WAIT = Histogram(
    "weir_queue_wait_seconds", "Seconds a key waited for a worker.", ["queue"], buckets=_SLOW
)
QUEUE_WORK = Histogram(
    "weir_queue_work_seconds", "Seconds a worker spent on a key.", ["queue"], buckets=_SLOW
)
QUEUE_RETRIES = Counter(
    "weir_queue_retries", "Keys backed off after a failure, by reason.", ["queue", "reason"]
)
LEASE_RENEWALS = Counter(
    "weir_lease_renewals", "Attempts to renew a Lease, by outcome.", ["lease", "outcome"]
)


@lru_cache(maxsize=4096)
def count_request(verb: str, kind: str, code: int) -> Counter:
    """Return the counter of one kind of answer; looking labels up each time would be slow."""
    return API_REQUESTS.labels(verb, kind, code)


@lru_cache(maxsize=1024)
def time_request(verb: str, kind: str) -> Histogram:
    """Return the histogram of one kind of request."""
    return API_SECONDS.labels(verb, kind)
