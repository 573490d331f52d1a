"""How long a host's Lease has been unchanged, by our own clock: clocks of machines differ. Pure."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class _Seen:
    version: str
    at: float


@dataclass(slots=True)
class Liveness:
    """When each Lease was last seen to change, in monotonic seconds."""

    _seen: dict[str, _Seen] = field(default_factory=dict)

    def observe(self, name: str, version: str, now: float) -> None:
        """Take note of a Lease at a resourceVersion; empty: there is none."""
        seen = self._seen.get(name)
        if seen is None or seen.version != version:
            self._seen[name] = _Seen(version, now)

    def age(self, name: str, now: float) -> float:
        """Return the seconds since that Lease changed; of one never seen, since first asked."""
        seen = self._seen.get(name)
        if seen is None:
            seen = self._seen[name] = _Seen("", now)
        return now - seen.at

    def forget(self, name: str) -> None:
        """Drop a host that is gone."""
        self._seen.pop(name, None)
