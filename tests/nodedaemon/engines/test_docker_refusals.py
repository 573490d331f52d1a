"""What Docker's words mean, as several of its versions say them."""

import pytest

from weir_nodedaemon.engines.docker.refusals import is_users_fault, may_pass, pull_failure


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (404, "manifest for r:5000/team/x:none not found: manifest unknown: manifest unknown"),
        (404, "repository r:5000/none not found: name unknown: repository name not known"),
        (404, "pull access denied for x, repository does not exist or may require 'docker login'"),
        (400, "invalid reference format: repository name must be lowercase"),
        (500, "unauthorized: authentication required"),
        (500, "Get https://r/v2/: no basic auth credentials"),
        (None, "no matching manifest for linux/arm64/v8 in the manifest list entries"),
        (None, "unauthorized: access to the resource is denied"),
        (404, 'failed to resolve reference "r:5000/x:1": r:5000/x:1: not found'),
    ],
)
def test_a_registry_that_says_no_is_not_asked_again(status: int | None, message: str) -> None:
    failure = pull_failure(message, status)
    assert failure.permanent
    assert not failure.hosts_fault


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (500, 'Get "http://127.0.0.1:9/v2/": dial tcp 127.0.0.1:9: connect: connection refused'),
        (500, "dial tcp: lookup registry.example on 10.0.0.1:53: no such host"),
        (500, "Get https://r/v2/: net/http: request canceled (Client.Timeout exceeded)"),
        (500, "received unexpected HTTP status: 503 Service Unavailable"),
        (500, "received unexpected HTTP status: 502 Bad Gateway"),
        (404, "toomanyrequests: You have reached your pull rate limit"),
        (None, "write /var/lib/docker/tmp/x: no space left on device"),
        (None, "read tcp 10.0.0.2:1->10.0.0.3:5000: read: connection reset by peer"),
        (None, "unexpected EOF"),
        (500, "some words that nobody knows"),
    ],
)
def test_what_may_pass_is_tried_again(status: int | None, message: str) -> None:
    assert not pull_failure(message, status).permanent


@pytest.mark.parametrize(
    "message",
    [
        "failed to register layer: write /var/lib/docker/overlay2/x: no space left on device",
        "failed to register layer: open /usr/bin/x: read-only file system",
        "write /var/lib/docker/tmp/x: disk quota exceeded",
        "open /var/lib/docker/tmp/x: too many open files",
        "fork/exec /usr/bin/unpigz: cannot allocate memory",
    ],
)
@pytest.mark.parametrize("status", [None, 404, 500])
def test_no_image_is_blamed_for_what_its_host_lacks(status: int | None, message: str) -> None:
    failure = pull_failure(message, status)
    assert failure.hosts_fault
    assert not failure.permanent


def test_a_core_that_went_away_after_the_bind_is_no_fault_of_the_task() -> None:
    message = "Requested CPUs are not available - requested 2, available: 0-1"
    assert not is_users_fault(400, message)


@pytest.mark.parametrize(
    ("message", "passing"),
    [
        ("transport is closing: unavailable", True),
        ("context deadline exceeded: unknown", True),
        ("OCI runtime create failed: ... no such file or directory: unknown", False),
        ("unable to find user nobody2: no matching entries in passwd file", False),
        ('could not select device driver "" with capabilities: [[gpu]]', False),
    ],
)
def test_a_failed_start_is_for_good_unless_its_words_say_otherwise(
    message: str, passing: bool
) -> None:
    assert may_pass(message) == passing


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_registry_that_refuses_in_words_of_its_own_is_not_asked_again(status: int) -> None:
    words = "the moon is full"
    assert pull_failure(words, status).permanent
    assert not pull_failure(words, 500).permanent
    assert not pull_failure(words).permanent


@pytest.mark.parametrize(
    "message",
    [
        "ttrpc: closed: unknown",
        "rpc error: code = Unavailable desc = error reading from server: EOF",
        "dial unix /run/containerd/containerd.sock: connect: connection refused",
        "read unix @->/run/containerd/containerd.sock: read: connection reset by peer",
        "error creating containerd task: context canceled",
        "Daemon is shutting down",
        "received unexpected HTTP status: 503 Service Unavailable",
        "transport is closing",
        "net/http: TLS handshake timeout exceeded",
        "read tcp 10.0.0.2:1->10.0.0.3:5000: i/o timeout",
        "OCI runtime create failed: fork/exec: resource temporarily unavailable",
        "mkdir /var/lib/docker/overlay2/x: no space left on device",
        "Too Many Requests",
    ],
)
@pytest.mark.parametrize("status", [400, 404, 409, 500])
def test_an_engine_in_a_bad_moment_blames_no_spec_and_no_image(status: int, message: str) -> None:
    """Whatever else its words contain, and whatever the status."""
    said = f"executable file not found: manifest unknown: {message}"
    assert not is_users_fault(status, said)
    assert not pull_failure(said, status).permanent
