"""Which incarnation of which object an instance is, and the two clocks it is judged by."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from weir_crds import names
from weir_kube.process import uptime


class InstanceID(NamedTuple):
    """One incarnation of one object: of a Task a run, of a machine its container or disk."""

    uid: str
    incarnation: int

    @property
    def name(self) -> str:
        """The one name that its instance can have."""
        return names.container_name(self.uid, self.incarnation)

    @classmethod
    def parse(cls, name: str) -> "InstanceID | None":
        """Return whose instance has this name; None: it is no name of ours."""
        parsed = names.parse_container_name(name)
        return None if parsed is None else cls(*parsed)


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment by two clocks.

    Attributes:
        at: the time of day, for what people read. It may be set, so no deadline goes by it.
        uptime: seconds since the machine's boot, those asleep included. It only goes forward, and
            is the same for every process: a deadline noted by one daemon holds for the next.
    """

    at: dt.datetime
    uptime: float


Clock = Callable[[], Moment]


def now() -> Moment:
    """Return this moment."""
    return Moment(dt.datetime.now(dt.UTC), uptime())
