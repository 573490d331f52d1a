"""Reserved names: labels, namespaces, accounts, and names that are derived from an object."""

LABEL_UID = "weir.dev/uid"
LABEL_NAMESPACE = "weir.dev/namespace"
LABEL_NAME = "weir.dev/name"
LABEL_RUN = "weir.dev/run"
LABEL_HOST = "weir.dev/host"
LABEL_KIND = "weir.dev/kind"
"""These six are on every container of ours: whose it is, which run, and on which Host."""

LABEL_OWNER = "weir.dev/owner"
"""On an object: the id of the user who owns it."""

LABEL_ALLOW_PRIVILEGED = "weir.dev/allow-privileged"
"""On a namespace, value ``true``: host paths, host network, privileged containers are allowed."""

SYSTEM_NAMESPACE = "weir-system"
SERVICE_ACCOUNT_NODEDAEMON = "weir-nodedaemon"
SERVICE_ACCOUNT_READER = "weir-reader"
CLUSTER_ROLE_SECRETS = "weir-secrets"
"""Bound in a namespace by its administrator: the daemon may read Secrets and ConfigMaps there."""

DAEMON_AUDIENCE = "weir-daemon"
"""Audience of the tokens that callers show to a node daemon; the API server refuses them."""


def container_name(uid: str, run_id: int) -> str:
    """Return the one name that the container of this run can have: ``weir-<uid>-<runID>``."""
    return f"weir-{uid}-{run_id}"
