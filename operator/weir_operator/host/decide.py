"""What one Host needs of the operator. Pure."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from weir_crds import conditions
from weir_crds.conditions import FALSE, TRUE, UNKNOWN, Condition, ConditionType, Reason
from weir_crds.host import LEASE_SECONDS
from weir_crds.host_state import HostState
from weir_crds.quantities import format_bytes

ALLOCATED_SECONDS = 10.0
"""The least time between two writes of ``status.allocated``."""
STATES = ("ready", "cordoned", "not_ready", "unapproved")
"""Of a Host, in the metrics."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to write to a Host, and when to look again."""

    approve: bool = False
    """Set ``spec.approval`` first; the rest follows at the next look."""
    lost: bool = False
    changes: Mapping[str, Any] = field(default_factory=dict)
    look_again_seconds: float | None = None


def decide(
    host: Mapping[str, Any],
    *,
    approve_pending: bool,
    expires_in_seconds: float,
    allocated: Mapping[str, Any],
    allocated_age_seconds: float | None,
    kept_free_for: str | None = None,
    now: dt.datetime,
) -> Verdict:
    """Decide what a Host's spec and status should say.

    Args:
        host: the Host.
        approve_pending: whether a Host that waits for approval is approved at once.
        expires_in_seconds: when its Lease counts as expired; not positive: it does.
        allocated: what its Tasks hold, as it is to be written.
        allocated_age_seconds: when this process last wrote that; None: never.
        kept_free_for: the workload, ``namespace/name``, but for which it takes nothing new.
        now: the time, for conditions.
    """
    spec, status = host.get("spec") or {}, host.get("status") or {}
    generation = host["metadata"].get("generation")
    approval = spec.get("approval", "Pending")
    if approval == "Pending" and approve_pending:
        return Verdict(approve=True)
    before = status.get("conditions") or []
    after = _with_approval(before, approval, generation, now)
    after = _with_kept_free(after, kept_free_for, generation, now)
    ready = conditions.get(before, ConditionType.READY)
    look_again: float | None = None
    lost = False
    if ready is not None and ready["status"] != UNKNOWN:
        look_again = expires_in_seconds
        if look_again <= 0:
            lost = True
            message = f"its Lease was not renewed for {LEASE_SECONDS} s"
            after = conditions.set_condition(
                after,
                ConditionType.READY,
                UNKNOWN,
                Reason.LEASE_EXPIRED,
                message,
                now=now,
                observed_generation=generation,
            )
            look_again = None
    changes: dict[str, Any] = {}
    if after != before:
        changes["conditions"] = after
    if status.get("allocated") != allocated:
        age = allocated_age_seconds
        if age is None or age >= ALLOCATED_SECONDS or changes:
            changes["allocated"] = dict(allocated)
        else:
            look_again = min(look_again or ALLOCATED_SECONDS, ALLOCATED_SECONDS - age)
    return Verdict(lost=lost, changes=changes, look_again_seconds=look_again)


def _with_approval(
    before: list[Condition], approval: str, generation: int | None, now: dt.datetime
) -> list[Condition]:
    status, reason, message = {
        "Approved": (TRUE, Reason.APPROVED, "may be given work"),
        "Rejected": (FALSE, Reason.REJECTED, "spec.approval is Rejected"),
    }.get(approval, (FALSE, Reason.PENDING, "spec.approval is Pending"))
    current = conditions.get(before, ConditionType.APPROVED)
    if current is not None and (current["status"], current["reason"]) == (status, reason):
        return before  # not for a new generation alone
    return conditions.set_condition(
        before,
        ConditionType.APPROVED,
        status,
        reason,
        message,
        now=now,
        observed_generation=generation,
    )


def _with_kept_free(
    before: list[Condition], workload: str | None, generation: int | None, now: dt.datetime
) -> list[Condition]:
    current = conditions.get(before, ConditionType.KEPT_FREE)
    if workload is None:
        return before if current is None else conditions.without(before, ConditionType.KEPT_FREE)
    if current is not None and current["message"] == workload:
        return before
    return conditions.set_condition(
        before,
        ConditionType.KEPT_FREE,
        TRUE,
        Reason.DRAINING_HOST,
        workload,
        now=now,
        observed_generation=generation,
    )


def allocated_of(state: HostState | None) -> dict[str, Any]:
    """Return what a host's Tasks hold, as ``status.allocated`` tells it."""
    if state is None:
        return {"cpus": 0, "memory": "0", "gpus": [], "tasks": 0, "vpses": 0}
    return {
        "cpus": state.cores_held,
        "memory": format_bytes(state.memory_used),
        "gpus": state.gpus_held(),
        "tasks": len(state.holdings),
        "vpses": 0,
    }


def state_of(host: Mapping[str, Any]) -> str:
    """Return which of ``STATES`` a Host is counted under in the metrics."""
    if (host.get("spec") or {}).get("approval", "Pending") != "Approved":
        return "unapproved"
    if not conditions.is_true(host, ConditionType.READY):
        return "not_ready"
    return "cordoned" if host["spec"].get("unschedulable") else "ready"
