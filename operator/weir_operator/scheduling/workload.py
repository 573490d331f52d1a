"""The port through which kinds are placed: each implements ``Workload``; none is named here.

Whatever runs on a host (a Task, a VPS) holds something of it or waits for some; the scheduler asks
for no more than that, and leaves to the kind how a bind and a wait are written into its status.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from weir_crds.demand import Holding, Request
from weir_crds.kinds import Kind
from weir_crds.names import LABEL_OWNER
from weir_kube.store import Key
from weir_operator.scheduling.messages import WaitReport
from weir_operator.scheduling.place import Placement

Changes = dict[str, Any]
"""The fields of ``status`` that a merge patch changes."""


class WorkloadKey(NamedTuple):
    """Names one object of any kind that is placed."""

    kind: str
    namespace: str
    name: str

    @property
    def object_key(self) -> Key:
        """Its key among the objects of its kind."""
        return Key(self.namespace, self.name)

    def __str__(self) -> str:
        """Return ``namespace/name``, as logs name an object beside its kind."""
        return f"{self.namespace}/{self.name}"


def workload_key(kind: Kind, key: Key) -> WorkloadKey:
    """Return the key of an object among all that is placed."""
    return WorkloadKey(kind.kind, key.namespace, key.name)


@dataclass(frozen=True, slots=True)
class Claim:
    """What an object has of a host, or else what it waits for; neither while it is not to run.

    What holds something does not wait, whatever it wants beside.
    """

    holds: Holding | None = None
    wants: Request | None = None


NO_CLAIM = Claim()


class Workload(Protocol):
    """A kind that is placed. Pure: objects in, decisions and status changes out."""

    kind: Kind

    def claim(self, obj: Mapping[str, Any], now: dt.datetime) -> Claim:
        """Return what an object holds or wants.

        Raises:
            WeirError: a field that the CRD should have refused; the object is left alone.
        """
        ...

    def bound(self, obj: Mapping[str, Any], placement: Placement, now: dt.datetime) -> Changes:
        """Return the one write that gives an object its host, cores and GPUs."""
        ...

    def waiting(self, obj: Mapping[str, Any], why: WaitReport, now: dt.datetime) -> Changes:
        """Return the write that says why an object has no host."""
        ...


def owner_of(obj: Mapping[str, Any]) -> str:
    """Return who shares fairly with whom: the owner by label, else the namespace."""
    metadata = obj["metadata"]
    owner = (metadata.get("labels") or {}).get(LABEL_OWNER)
    return f"owner:{owner}" if owner else f"namespace:{metadata['namespace']}"
