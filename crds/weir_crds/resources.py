"""The list of all kinds of ours. A kind that is not in it does not exist."""

from weir_crds import access_token, host, task, user
from weir_crds.kinds import Kind
from weir_crds.schema import Component, Resource

RESOURCES: tuple[Resource, ...] = (
    task.RESOURCE,
    host.RESOURCE,
    user.RESOURCE,
    access_token.RESOURCE,
)


def resource_of(kind: Kind) -> Resource:
    """Return what is known of a kind.

    Raises:
        KeyError: it is none of ours.
    """
    return _BY_KIND[kind]


def watched_by(component: Component) -> tuple[Kind, ...]:
    """Return the kinds of ours that a program watches."""
    return tuple(one.kind for one in RESOURCES if component in one.watched_by)


_BY_KIND = {one.kind: one for one in RESOURCES}
