"""``/nodes`` and ``/health``."""

from aiohttp import web

from weir_api.auth.capabilities import Capability
from weir_api.errors import UnknownObjectError
from weir_api.hostapi.nodes.board import NodeBoard
from weir_api.hostapi.nodes.examples import HEALTH, NODE
from weir_api.hostapi.nodes.window import HealthWindow
from weir_api.hostapi.nodes.wire import HealthNodeOut, HealthOut, HealthQuery, NodeOut
from weir_api.web.endpoint import Answer, Call, Endpoint
from weir_api.web.replies import raw_json

_TAG = "Nodes"


class NodeRoutes:
    """Shows the hosts."""

    def __init__(self, board: NodeBoard, window: HealthWindow) -> None:
        """Show what these know."""
        self._board = board
        self._window = window

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
                answers={200: Answer("Every Host, online or not.", list[NodeOut], example=[NODE])},
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
                        example=HEALTH,
                    )
                },
                errors={404: "No such host in the latest sample."},
            ),
        )

    async def nodes(self, _: Call) -> web.Response:
        """List all hosts."""
        return raw_json(self._board.encoded())

    async def health(self, call: Call) -> web.Response:
        """Show the last minute, or one host as it is."""
        hostname = call.query.hostname
        if not hostname:
            return raw_json(self._window.encoded())
        row = self._window.latest(hostname)
        if row is None:
            raise UnknownObjectError(f"there is no host {hostname}")
        return raw_json(b"[" + row + b"]")
