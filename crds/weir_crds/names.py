"""Reserved names: labels, namespaces, accounts, and names that are derived from an object."""

import re
from collections.abc import Mapping

LABEL_UID = "weir.dev/uid"
LABEL_NAMESPACE = "weir.dev/namespace"
LABEL_NAME = "weir.dev/name"
LABEL_RUN = "weir.dev/run"
LABEL_HOST = "weir.dev/host"
LABEL_KIND = "weir.dev/kind"
"""These six are on every container of ours: whose it is, which run, and on which Host."""
LABEL_CPU_POOL = "weir.dev/cpu-pool"
"""On containers: whether their cores are their own, or those of the shared pool."""
LABEL_LAYER_LIMIT = "weir.dev/layer-limit"
"""On a container: how many bytes it may write to its own file system."""
LABEL_HOST_LOST_GRACE = "weir.dev/host-lost-grace"
"""On a container that another host may be given once this one is lost: after how many seconds."""
OUR_LABELS = (
    LABEL_UID,
    LABEL_NAMESPACE,
    LABEL_NAME,
    LABEL_RUN,
    LABEL_HOST,
    LABEL_KIND,
    LABEL_CPU_POOL,
    LABEL_LAYER_LIMIT,
    LABEL_HOST_LOST_GRACE,
)
"""All that a container of ours may bear, and an image made of one must not."""
UID_HEADER = "Weir-UID"
"""In a daemon's answer: of whose run the output is. Names return, and are heard of at times of
their own by the daemon and by who asks it."""

LABEL_OWNER = "weir.dev/owner"
"""On an object: the id of the user who owns it."""

LABEL_BATCH = "weir.dev/batch"
"""On a Task that REST made with others at once: the REST id of the first of them."""

ANNOTATION_DISPLAY_NAME = "weir.dev/display-name"
ANNOTATION_ENVIRONMENT = "weir.dev/environment"
"""The environment's name, of which the facade made the image's."""
ANNOTATION_DECIDED_BY = "weir.dev/decided-by"
ANNOTATION_DECIDED_AT = "weir.dev/decided-at"
ANNOTATION_DECISION_MESSAGE = "weir.dev/decision-message"
"""Who approved or rejected it (a user's id), when (RFC 3339), and why."""
ANNOTATION_SUBMITTED_AT = "weir.dev/submitted-at"
"""When the facade took it (RFC 3339, microseconds): creationTimestamp knows no parts of a second,
and who submits twice in one wants to see them in that order."""
ANNOTATION_REQUEST = "weir.dev/request"
"""SHA-256 of the request that made it: an Idempotency-Key used again must come with the same."""

ANNOTATION_CREATED_AT = "weir.dev/created-at"
"""On a User or AccessToken that REST made: when, to the microsecond (RFC 3339)."""
ANNOTATION_INVITATION = "weir.dev/invitation"
"""On a User: name of the AccessToken that they registered with."""

ANNOTATION_RUNNER_METRICS = "weir.dev/runner-metrics"
"""On the Lease of an external Host: the figures of its runner's last heartbeat, as JSON."""

LABEL_ALLOW_PRIVILEGED = "weir.dev/allow-privileged"
"""On a namespace, value ``true``: host paths, host network, privileged containers are allowed."""

SYSTEM_NAMESPACE = "weir-system"
LEASE_OPERATOR = "weir-operator"
"""In the system namespace; the hosts' Leases have the hosts' names, so no host can have this."""
DEFAULT_NAMESPACE = "weir"
"""Where the facade makes what its clients ask for."""
SERVICE_ACCOUNT_NODEDAEMON = "weir-nodedaemon"
SERVICE_ACCOUNT_API = "weir-api"
SERVICE_ACCOUNT_READER = "weir-reader"
CLUSTER_ROLE_SECRETS = "weir-secrets"
"""Bound in a namespace by its administrator: the daemon may read Secrets and ConfigMaps there."""


def daemon_audience(host_uid: str) -> str:
    """Return the audience of tokens for the daemon of one Host: ``weir-daemon/<Host uid>``.

    A daemon can show what it was shown neither to another one nor to the API server, whatever
    address and certificate its Host states: the uid is the API server's to give.
    """
    return f"weir-daemon/{host_uid}"


_CONTAINER_NAME = re.compile(r"weir-(.+)-([0-9]+)")


def container_name(uid: str, incarnation: int) -> str:
    """Return the one name of this incarnation of an object: ``weir-<uid>-<n>``.

    A Task's incarnation is its runID: each run has a container of its own.
    """
    return f"weir-{uid}-{incarnation}"


def identity_labels(container_name: str, host_name: str) -> dict[str, str]:
    """Return the labels by which, together with its name, a container is known to be ours.

    Raises:
        ValueError: it is no name of ours.
    """
    parsed = parse_container_name(container_name)
    if parsed is None:
        raise ValueError(f"not a container's name: {container_name!r}")
    return {LABEL_UID: parsed[0], LABEL_RUN: str(parsed[1]), LABEL_HOST: host_name}


def kind_of_container(labels: Mapping[str, str]) -> str:
    """Return the kind of the object that a container is of, by its labels; "": of none.

    Until the label of the kind came, there were only Tasks.
    """
    if LABEL_NAME not in labels or LABEL_NAMESPACE not in labels:
        return ""
    return labels.get(LABEL_KIND, "Task")


def parse_container_name(name: str) -> tuple[str, int] | None:
    """Return uid and incarnation of a name; None: it is no name of ours."""
    match = _CONTAINER_NAME.fullmatch(name)
    return (match[1], int(match[2])) if match else None
