"""Which user an id means."""

from collections.abc import Callable

from weir_api.state.caches import Caches
from weir_crds.ids import account_id
from weir_crds.kinds import USER
from weir_kube.store import Key, key_of


class Usernames:
    """Usernames by id, of all Users that there are."""

    def __init__(self, caches: Caches) -> None:
        """Follow the cache of Users."""
        self._store = caches[USER]
        self._names: dict[int, str] = {}
        self._ids: dict[Key, int] = {}
        self._listeners: list[Callable[[int], None]] = []
        for obj in self._store.list():
            self._changed(key_of(obj))
        caches.listen(USER, self._changed)

    def on_change(self, listener: Callable[[int], None]) -> None:
        """Have ``listener`` called with each id that has got, lost or changed its username."""
        self._listeners.append(listener)

    def of(self, number: int) -> str | None:
        """Return the username of the user of that id; None: there is no such user."""
        return self._names.get(number)

    def _changed(self, key: Key) -> None:
        user = self._store.get(key)
        old = self._ids.get(key)
        if user is None:
            self._ids.pop(key, None)
            if old is not None:
                self._set(old, None)
            return
        number = account_id(user["metadata"]["uid"])
        self._ids[key] = number
        if old is not None and old != number:  # another user, by the same name
            self._set(old, None)
        self._set(number, user["spec"].get("username") or key.name)

    def _set(self, number: int, name: str | None) -> None:
        if self._names.get(number) == name:
            return
        if name is None:
            del self._names[number]
        else:
            self._names[number] = name
        for listener in self._listeners:
            listener(number)
