"""The host API, put together: the API that clients written for a KohakuRiver host speak."""

from collections.abc import Iterable

from weir_api.hostapi.dialect import DetailDialect
from weir_api.web.access import Access
from weir_api.web.endpoint import Family, endpoints_of, sockets_of
from weir_kube.process import version

PREFIX = "/api"

_DESCRIPTION = """\
Tasks, hosts and accounts by plain HTTP, as clients written for a KohakuRiver host expect them.
Every call reads or writes Weir's resources: what is submitted here is there in
`kubectl get tasks`, and a Task made with kubectl has an id here.
"""


def host_api(access: Access, groups: Iterable[object]) -> Family:
    """Return the API family that these groups make up.

    Args:
        access: tells who calls.
        groups: objects whose methods are declared as endpoints.
    """
    known = [*groups]
    return Family(
        name="host",
        title="Weir host API",
        version=version(),
        endpoints=tuple(one for group in known for one in endpoints_of(group)),
        sockets=tuple(one for group in known for one in sockets_of(group)),
        access=access,
        dialect=DetailDialect(),
        description=_DESCRIPTION,
        base=PREFIX,
    )
