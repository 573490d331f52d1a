"""``/nodes`` and ``/health``."""

from weir_api.access.capabilities import Capability
from weir_api.errors import UnknownObjectError
from weir_api.hostapi.nodes.health_history import HealthHistory
from weir_api.hostapi.nodes.node_rows import NodeRows
from weir_api.hostapi.nodes.wire import (
    HEALTH_EXAMPLE,
    NODE_EXAMPLE,
    HealthNodeOut,
    HealthOut,
    HealthQuery,
    NodeOut,
)
from weir_api.web.dialect import Encoded
from weir_api.web.endpoint import Answer, Call, endpoint

_TAG = "Nodes"


class NodeRoutes:
    """Shows the hosts."""

    def __init__(self, rows: NodeRows, history: HealthHistory) -> None:
        """Show what these know."""
        self._rows = rows
        self._history = history

    @endpoint(
        "GET",
        "/api/nodes",
        Capability.READ_HOSTS,
        "List all hosts, by name",
        tag=_TAG,
        answers={200: Answer("Every Host, online or not.", list[NodeOut], example=[NODE_EXAMPLE])},
        description="Online is a Host whose condition `Ready` is True. Figures are those of about"
        " a second ago; what is not known of cpu and memory is 0.",
    )
    async def nodes(self, _: Call) -> Encoded:
        """List all hosts."""
        return Encoded(self._rows.encoded())

    @endpoint(
        "GET",
        "/api/health",
        Capability.READ_HOSTS,
        "The last minute of all hosts, a sample a second",
        tag=_TAG,
        answers={
            200: Answer(
                "All samples, the oldest first; with `hostname` an array of one.",
                HealthOut | list[HealthNodeOut],
                example=HEALTH_EXAMPLE,
            )
        },
        errors={404: "No such host in the latest sample."},
        query=HealthQuery,
    )
    async def health(self, call: Call) -> Encoded:
        """Show the last minute, or one host as it is."""
        hostname = call.query.hostname
        if not hostname:
            return Encoded(self._history.encoded())
        row = self._history.latest(hostname)
        if row is None:
            raise UnknownObjectError(f"there is no host {hostname}")
        return Encoded(b"[" + row + b"]")
