"""Write on what the cache shows, and put into the cache what came of it."""

from collections.abc import Mapping
from typing import Any

from weir_crds.kinds import Kind
from weir_kube.api import Api
from weir_kube.errors import ConflictError, NotFoundError
from weir_kube.status import patch_status
from weir_kube.store import Key, Object, Store, key_of
from weir_kube.transport import DEADLINE_SECONDS


async def write_status(
    api: Api,
    kind: Kind,
    store: Store,
    obj: Object,
    changes: Mapping[str, Any],
    *,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> bool:
    """Write a status that was decided on ``obj``; False: it has changed, so decide anew.

    Either way the store has the object as it is now.

    Raises:
        ConflictError: refused, though nothing has changed that we could see: wait before a retry.
        ApiError: there was no answer, or another one; the write may have taken effect.
    """
    try:
        written = await patch_status(api, kind, obj, changes, deadline_seconds=deadline_seconds)
        store.apply("MODIFIED", written)
    except ConflictError:
        if not await refresh_after_conflict(api, kind, store, obj):
            raise
    except NotFoundError:
        store.apply("DELETED", obj)
    else:
        return True
    return False


async def refresh(api: Api, kind: Kind, store: Store, key: Key) -> Object | None:
    """Put into the store what the API server has, and return what the store has then.

    Raises:
        ApiError: there was no answer.
    """
    seen = store.get(key)
    try:
        live = await api.get(kind, key.name, key.namespace or None)
    except NotFoundError:
        if seen is not None:
            store.apply("DELETED", seen)
    else:
        store.confirm(live, seen=seen)
    return store.get(key)


async def refresh_after_conflict(api: Api, kind: Kind, store: Store, obj: Object) -> bool:
    """As ``refresh``, of an object that could not be written; tell whether it is another now.

    Raises:
        ApiError: there was no answer.
    """
    now = await refresh(api, kind, store, key_of(obj))
    seen = obj["metadata"]["resourceVersion"]
    return now is None or now["metadata"]["resourceVersion"] != seen
