"""Status writes: one merge patch, refused when the object has changed."""

from collections.abc import Mapping
from typing import Any

from weir_crds.kinds import Kind
from weir_kube.api import Api
from weir_kube.store import Object
from weir_kube.transport import DEADLINE_SECONDS


async def patch_status(
    api: Api,
    kind: Kind,
    obj: Object,
    changes: Mapping[str, Any],
    *,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> Object:
    """Write top-level fields of ``status``, decided on ``obj``; idempotent.

    Args:
        api: where to.
        kind: of the object.
        obj: what the decision was made on; its resourceVersion is the precondition.
        changes: each field's whole new value (``conditions`` is the whole list); None deletes it.
        deadline_seconds: for the answer.

    Returns:
        The object as it is now; ``obj`` itself, without a write, when nothing would change.

    Raises:
        ConflictError: the object has changed since; look again and decide anew.
    """
    patch = status_patch(obj.get("status") or {}, changes)
    if not patch:
        return obj
    metadata = obj["metadata"]
    body = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": patch}
    return await api.patch(
        kind,
        metadata["name"],
        body,
        metadata.get("namespace"),
        "status",
        deadline_seconds=deadline_seconds,
    )


def status_patch(status: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch (RFC 7386) that gives each field its new value; {}: none needed."""
    patch: dict[str, Any] = {}
    for field, new in changes.items():
        old = status.get(field)
        if old == new:
            continue
        if isinstance(new, Mapping) and isinstance(old, Mapping):
            gone = dict.fromkeys(old.keys() - new.keys())
            patch[field] = {**gone, **status_patch(old, new)}
        else:
            patch[field] = new
    return patch
