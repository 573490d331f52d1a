"""How long an instance may live on while nobody hears from its host. Pure.

What the limits are made of cannot be changed after creation, so they are noted with the instance
itself, as a label, and in the journal: a daemon that starts while the API server is away finds them
there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weir_crds.host import LEASE_SECONDS
from weir_crds.names import LABEL_HOST_LOST_GRACE
from weir_nodedaemon.engines.port import ObservedInstance

MARGIN_SECONDS = 10.0
"""How long before the operator may act the last instance has to be gone."""
MISSED_SECONDS = 20.0
"""A Lease younger than this was renewed in time, or is about to be."""


@dataclass(frozen=True, slots=True)
class FenceLimits:
    """What an instance may still do, by the age of this host's Lease in seconds."""

    term_after: float
    """From then on it is not started, and is sent TERM."""
    kill_after: float


def fence_limits(spec: Mapping[str, Any]) -> FenceLimits | None:
    """Return the limits of a workload, or None: it waits for its host as long as it takes."""
    grace = _host_lost_grace(spec)
    return None if grace is None else _limits(grace, spec.get("stopGraceSeconds", 10))


def fence_labels(spec: Mapping[str, Any]) -> dict[str, str]:
    """Return the labels from which ``limits_of`` an instance are read; none: it has no limits."""
    grace = _host_lost_grace(spec)
    return {} if grace is None else {LABEL_HOST_LOST_GRACE: str(grace)}


def limits_of(seen: ObservedInstance) -> FenceLimits | None:
    """Return the limits that an instance bears; None: it has none, or of an earlier version."""
    grace = seen.labels.get(LABEL_HOST_LOST_GRACE, "")
    return _limits(int(grace), seen.stop_grace_seconds) if grace.isdecimal() else None


def _host_lost_grace(spec: Mapping[str, Any]) -> int | None:
    if spec.get("onHostLost", "Wait") == "Wait":
        return None
    grace: int = spec.get("hostLostGraceSeconds", 300)
    return grace


def _limits(host_lost_grace: int, stop_grace: int) -> FenceLimits:
    kill_after = LEASE_SECONDS + host_lost_grace - MARGIN_SECONDS
    return FenceLimits(max(MISSED_SECONDS, kill_after - stop_grace), kill_after)
