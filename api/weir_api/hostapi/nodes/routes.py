"""``/nodes`` and ``/health``."""

from aiohttp import web

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
from weir_api.web.endpoint import Answer, Call, Endpoint
from weir_api.web.replies import raw_json

_TAG = "Nodes"


class NodeRoutes:
    """Shows the hosts."""

    def __init__(self, rows: NodeRows, history: HealthHistory) -> None:
        """Show what these know."""
        self._rows = rows
        self._history = history

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return what it serves."""
        return (
            Endpoint(
                "GET",
                "/nodes",
                self.nodes,
                Capability.READ_HOSTS,
                summary="List all hosts, by name",
                tag=_TAG,
                answers={
                    200: Answer("Every Host, online or not.", list[NodeOut], example=[NODE_EXAMPLE])
                },
                description=(
                    "Online is a Host whose condition `Ready` is True. Figures are those of about"
                    " a second ago; what is not known of cpu and memory is 0."
                ),
            ),
            Endpoint(
                "GET",
                "/health",
                self.health,
                Capability.READ_HOSTS,
                summary="The last minute of all hosts, a sample a second",
                tag=_TAG,
                query=HealthQuery,
                answers={
                    200: Answer(
                        "All samples, the oldest first; with `hostname` an array of one.",
                        HealthOut | list[HealthNodeOut],
                        example=HEALTH_EXAMPLE,
                    )
                },
                errors={404: "No such host in the latest sample."},
            ),
        )

    async def nodes(self, _: Call) -> web.Response:
        """List all hosts."""
        return raw_json(self._rows.encoded())

    async def health(self, call: Call) -> web.Response:
        """Show the last minute, or one host as it is."""
        hostname = call.query.hostname
        if not hostname:
            return raw_json(self._history.encoded())
        row = self._history.latest(hostname)
        if row is None:
            raise UnknownObjectError(f"there is no host {hostname}")
        return raw_json(b"[" + row + b"]")
