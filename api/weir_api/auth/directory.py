"""All users and tokens, in memory and up to date: what a caller is looked up in."""

from collections import defaultdict
from collections.abc import Iterable

from weir_api.auth.accounts import Account, Token, account_of, is_holder, token_of
from weir_api.auth.identity import Role
from weir_api.state.caches import Caches
from weir_crds.kinds import ACCESSTOKEN, USER
from weir_kube.store import Key, key_of


class Directory:
    """Users by name and id, tokens by name; it follows the caches."""

    def __init__(self, caches: Caches) -> None:
        """Take what the caches have, and every change from now on."""
        self._caches = caches
        self._accounts: dict[str, Account] = {}
        self._names_by_id: dict[int, str] = {}
        self._tokens: dict[str, Token] = {}
        self._tokens_of: dict[str, dict[str, None]] = defaultdict(dict)
        self._admins: set[str] = set()
        caches.listen(USER, self._user_changed)
        caches.listen(ACCESSTOKEN, self._token_changed)
        for obj in caches[USER].list():
            self._user_changed(key_of(obj))
        for obj in caches[ACCESSTOKEN].list():
            self._token_changed(key_of(obj))

    @property
    def accounts(self) -> list[Account]:
        """All users, in no particular order."""
        return [*self._accounts.values()]

    @property
    def tokens(self) -> list[Token]:
        """All tokens, in no particular order."""
        return [*self._tokens.values()]

    @property
    def has_admin(self) -> bool:
        """Tell whether there is any user with the role admin."""
        return bool(self._admins)

    def account(self, name: str) -> Account | None:
        """Return a user by the name of its User object."""
        return self._accounts.get(name)

    def account_by_id(self, number: int) -> Account | None:
        """Return a user by id."""
        name = self._names_by_id.get(number)
        return None if name is None else self._accounts.get(name)

    def token(self, name: str) -> Token | None:
        """Return a token by the name of its AccessToken object."""
        return self._tokens.get(name)

    def holder(self, token: Token) -> Account | None:
        """Return the user whose token it is, if that is there still."""
        account = self._accounts.get(token.user or "")
        return account if account is not None and is_holder(account, token) else None

    def tokens_of(self, account: Account, token_types: Iterable[str]) -> list[Token]:
        """Return a user's tokens of these types, newest first."""
        wanted = frozenset(token_types)
        found = [self._tokens[name] for name in self._tokens_of.get(account.uid, ())]
        return newest_first([token for token in found if token.type in wanted])

    def tokens_of_type(self, token_type: str) -> list[Token]:
        """Return all tokens of a type, newest first."""
        return newest_first([one for one in self._tokens.values() if one.type == token_type])

    def _user_changed(self, key: Key) -> None:
        old = self._accounts.pop(key.name, None)
        if old is not None:
            if self._names_by_id.get(old.id) == old.name:
                del self._names_by_id[old.id]
            self._admins.discard(old.name)
        obj = self._caches[USER].get(key)
        new = account_of(obj) if obj is not None else None
        if new is None:
            return
        self._accounts[new.name] = new
        self._names_by_id[new.id] = new.name
        if new.role is Role.ADMIN:
            self._admins.add(new.name)

    def _token_changed(self, key: Key) -> None:
        old = self._tokens.pop(key.name, None)
        if old is not None and old.user_uid is not None:
            theirs = self._tokens_of[old.user_uid]
            theirs.pop(old.name, None)
            if not theirs:
                del self._tokens_of[old.user_uid]
        obj = self._caches[ACCESSTOKEN].get(key)
        new = token_of(obj) if obj is not None else None
        if new is None:
            return
        self._tokens[new.name] = new
        if new.user_uid is not None:
            self._tokens_of[new.user_uid][new.name] = None


def newest_first(tokens: list[Token]) -> list[Token]:
    """Return the tokens by age; of two of one instant always the same one first."""
    return sorted(tokens, key=lambda token: (token.created_at, token.name), reverse=True)
