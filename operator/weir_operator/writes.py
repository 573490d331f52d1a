"""Write on what the cache shows, and put into the cache what came of it."""

from collections.abc import Mapping
from typing import Any

from weir_crds.kinds import Kind
from weir_kube.api import Api
from weir_kube.errors import ConflictError, NotFoundError
from weir_kube.status import patch_status
from weir_kube.store import Object, Store


async def write_status(
    api: Api, kind: Kind, store: Store, obj: Object, changes: Mapping[str, Any]
) -> bool:
    """Write a status that was decided on ``obj``; False: it has changed, so decide anew.

    Either way the store has the object as it is now.

    Raises:
        ApiError: there was no answer, or another one; the write may have taken effect.
    """
    try:
        store.apply("MODIFIED", await patch_status(api, kind, obj, changes))
    except ConflictError:
        await refresh(api, kind, store, obj)
    except NotFoundError:
        store.apply("DELETED", obj)
    else:
        return True
    return False


async def refresh(api: Api, kind: Kind, store: Store, obj: Object) -> None:
    """Put into the store what the API server has under the object's name.

    Raises:
        ApiError: there was no answer.
    """
    metadata = obj["metadata"]
    try:
        live = await api.get(kind, metadata["name"], metadata.get("namespace"))
    except NotFoundError:
        store.apply("DELETED", obj)
    else:
        store.apply("MODIFIED", live)
