"""All users and tokens, in memory and up to date; what is not there yet is asked for once."""

import datetime as dt
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace

from weir_api.access.accounts import Account, Token, account_of, is_holder, token_of
from weir_api.access.identity import Role
from weir_api.errors import UnavailableError
from weir_api.peers import neighbourhood
from weir_api.rates import SharedRate
from weir_api.state import audit
from weir_api.state.caches import Caches
from weir_api.state.writer import Writer
from weir_crds.kinds import ACCESSTOKEN, USER, Kind
from weir_kube.errors import ApiError
from weir_kube.store import Key, key_of

_UNKNOWN_SECONDS = 3.0
_MAX_UNKNOWN = 10_000
_PER_SECOND = 20.0
_AT_ONCE = 40.0
# Of these one peer has a quarter at most.
_PER_SECOND_OF_PEER = 5.0
_AT_ONCE_OF_PEER = 10.0


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

    def note_use(self, token: Token, at: float) -> None:
        """Take note that a token was used at ``at``, in seconds since the epoch."""
        known = self._tokens.get(token.name)
        if known is not None and at > known.last_used:
            self._tokens[token.name] = _used(known, at)

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
        if old is not None and old.id == new.id and old.last_used > new.last_used:
            new = _used(new, old.last_used)
        self._tokens[new.name] = new
        if new.user_uid is not None:
            self._tokens_of[new.user_uid][new.name] = None


class Lookups:
    """Asks for single Users and AccessTokens that another replica may have made just now."""

    def __init__(self, writer: Writer, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Ask through ``writer``, which puts what it finds into the caches.

        A name that is unknown is not asked for again for some seconds; beyond 20 questions a
        second, 5 of one peer, nothing is asked: made-up tokens cost the API server no more than
        that, and their sender takes no other's questions.
        """
        self._writer = writer
        self._clock = clock
        self._unknown: OrderedDict[tuple[Kind, str], float] = OrderedDict()
        self._rate = SharedRate(
            burst=_AT_ONCE,
            per_second=_PER_SECOND,
            burst_of_one=_AT_ONCE_OF_PEER,
            per_second_of_one=_PER_SECOND_OF_PEER,
            now=clock(),
        )

    async def find(self, kind: Kind, name: str) -> bool:
        """Tell whether there is such an object; it is in the caches then.

        Raises:
            UnavailableError: the API server cannot be asked now.
        """
        now = self._clock()
        if self._unknown.get((kind, name), 0.0) > now:
            return False
        if not self._rate.take(neighbourhood(audit.ACTOR.get().peer), now):
            return False
        try:
            found = await self._writer.fresh(kind, Key("", name))
        except ApiError as exc:
            # Anybody may ask: where our API server is, is not theirs to know.
            raise UnavailableError("accounts cannot be looked up now") from exc
        if found is not None:
            return True
        self._unknown[kind, name] = self._clock() + _UNKNOWN_SECONDS
        self._unknown.move_to_end((kind, name))
        while len(self._unknown) > _MAX_UNKNOWN:
            self._unknown.popitem(last=False)
        return False


def _used(token: Token, at: float) -> Token:
    return replace(token, last_used=at, last_used_at=dt.datetime.fromtimestamp(at, dt.UTC))


def newest_first(tokens: list[Token]) -> list[Token]:
    """Return the tokens by age; of two of one instant always the same one first."""
    return sorted(tokens, key=lambda token: (token.created_at, token.name), reverse=True)
