"""The host API, put together: the API that clients written for a KohakuRiver host speak."""

from collections.abc import Iterable
from typing import Protocol

from weir_api.web.endpoint import Endpoint, Family
from weir_kube.process import version

PREFIX = "/api"

_DESCRIPTION = """\
Tasks, hosts and accounts by plain HTTP, as clients written for a KohakuRiver host expect them.
Every call reads or writes Weir's resources: what is submitted here is there in
`kubectl get tasks`, and a Task made with kubectl has an id here.
"""


class HasEndpoints(Protocol):
    """A group of endpoints with what they need to answer."""

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return what it serves."""
        ...


def host_api(routes: Iterable[HasEndpoints]) -> Family:
    """Return the API family that these groups make up."""
    return Family(
        name="host",
        title="Weir host API",
        version=version(),
        prefix=PREFIX,
        endpoints=tuple(endpoint for group in routes for endpoint in group.endpoints()),
        description=_DESCRIPTION,
    )
