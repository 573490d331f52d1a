"""What the facade tells Prometheus about its requests."""

from functools import lru_cache

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)

REQUESTS = Counter(
    "weir_http_requests",
    "Requests of clients, by route template; code 499: the client went away.",
    ["family", "method", "route", "code"],
)
SECONDS = Histogram(
    "weir_http_request_seconds",
    "Seconds from a request's headers to the end of its answer.",
    ["family", "method", "route"],
    buckets=_SECONDS,
)
UNDER_WAY = Gauge("weir_http_requests_under_way", "Requests that are being answered.", ["family"])
STALE_SECONDS = Gauge(
    "weir_http_stale_seconds", "For how long the caches have not followed the API server."
)


@lru_cache(maxsize=4096)
def count(family: str, method: str, route: str, code: int) -> Counter:
    """Return the counter of one kind of answer; looking labels up each time would be slow."""
    return REQUESTS.labels(family, method, route, code)


@lru_cache(maxsize=1024)
def seconds(family: str, method: str, route: str) -> Histogram:
    """Return the histogram of one kind of request."""
    return SECONDS.labels(family, method, route)
