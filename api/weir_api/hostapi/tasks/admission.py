"""Whether a Task that is asked for could ever run, and where. Pure, over the Hosts as known.

What fits somewhere but not now is taken and waits; only what can never run is turned away.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from weir_api.errors import BadRequestError, NowhereError
from weir_api.hostapi.known_hosts import KnownHosts
from weir_api.hostapi.tasks.body import Draft
from weir_api.hostapi.tasks.targets import BadTargetError, Target, parse_target
from weir_api.hostapi.tasks.wire import SubmitRequest
from weir_crds.demand import Request, request_of
from weir_crds.fit import never_fits

_NAMED = 5


@dataclass(frozen=True, slots=True)
class Wanted:
    """One Task that a submission asks for: on a target, anywhere (None), or not at all."""

    text: str
    target: Target | None = None
    refused: BadTargetError | None = None


def wanted_of(request: SubmitRequest) -> list[Wanted]:
    """Return the Tasks that a submission asks for.

    Raises:
        BadRequestError: the submission contradicts itself.
    """
    if request.task_type == "vps":
        raise BadRequestError("a VPS cannot be made here yet")
    if request.task_type != "command":
        raise BadRequestError(f"there is no task type {request.task_type[:40]!r}")
    gpus = request.required_gpus
    if not request.targets:
        if gpus:
            raise BadRequestError("required_gpus needs targets: GPUs are those of a host")
        return [Wanted("")]
    if gpus and len(gpus) != len(request.targets):
        raise BadRequestError("required_gpus needs one list of GPUs for each target")
    return [
        _wanted(text, gpus[place] if gpus else ()) for place, text in enumerate(request.targets)
    ]


def _wanted(text: str, gpus: Iterable[int]) -> Wanted:
    try:
        return Wanted(text, parse_target(text, tuple(gpus)))
    except BadTargetError as exc:
        return Wanted(text, refused=exc)


def admit(draft: Draft, wanted: Wanted, hosts: KnownHosts) -> Draft:
    """Return what to make for one Task of a submission.

    Raises:
        BadTargetError: its target cannot be read.
        NowhereError: it could never run: there is no such host, or it has not what is asked for.
    """
    if wanted.refused is not None:
        raise wanted.refused
    if wanted.target is None:
        _check_any(request_of({"spec": draft.spec}), hosts)
        return draft
    host = hosts.get(wanted.target.host)
    if host is None:
        raise NowhereError(f"there is no host {wanted.target.host[:63]}")
    placed = draft.at(wanted.target)
    request = request_of({"spec": placed.spec})
    reason = never_fits(request, host.facts)
    if reason is not None:
        raise NowhereError(f"host {host.facts.name}: {reason}")
    return placed


def _check_any(request: Request, hosts: KnownHosts) -> None:
    reasons: dict[str, list[str]] = {}
    for host in hosts:
        reason = never_fits(request, host.facts)
        if reason is None:
            return
        reasons.setdefault(reason, []).append(host.facts.name)
    if not reasons:
        raise NowhereError("there is no host yet")
    parts = [f"{len(names)} {reason} ({_few(names)})" for reason, names in sorted(reasons.items())]
    raise NowhereError(f"no host can ever run it: {', '.join(parts)}")


def _few(names: list[str]) -> str:
    more = ", …" if len(names) > _NAMED else ""
    return ", ".join(sorted(names)[:_NAMED]) + more
