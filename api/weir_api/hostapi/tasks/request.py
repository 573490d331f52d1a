"""From a submission to the Tasks that it asks for, and whether they could ever run. Pure.

What fits somewhere but not now is taken and waits; only what can never run is turned away.
"""

import datetime as dt
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Protocol

import orjson

from weir_api.access.identity import Identity, Role
from weir_api.errors import AccessDeniedError, BadRequestError, BodyTooLargeError, NowhereError
from weir_api.hostapi.environments import Environments
from weir_api.hostapi.tasks.wire import SubmitRequest
from weir_crds import names
from weir_crds.demand import Request, request_of
from weir_crds.facts import HostFacts
from weir_crds.fit import never_fits
from weir_crds.times import now_rfc3339

_SHELL = ("/bin/sh", "-c")
_SHELL_NAME = "sh"
_ALL_ARGUMENTS = ' "$@"'

_WORD = r"[A-Za-z0-9_@%+:,./=-]+"
_PLAIN = re.compile(rf"{_WORD}([ \t]+{_WORD})*")
# Words that only a shell knows; those that are programs too (echo, test, kill) are not among them.
_SHELL_WORD = re.compile(
    r"[.:]|alias|bg|break|case|cd|command|continue|do|done|elif|else|esac|eval|exec|exit|export|fc"
    r"|fg|fi|for|function|getopts|hash|if|in|jobs|local|read|readonly|return|select|set|shift"
    r"|source|then|time|times|trap|type|ulimit|umask|unalias|unset|until|wait|while"
)


@dataclass(frozen=True, slots=True)
class Argv:
    """What stands in a Task's ``spec.command`` and ``spec.args``; None: the image's own."""

    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None


def argv_of(text: str, arguments: Sequence[str]) -> Argv:
    """Return what runs a command text with these arguments."""
    args = tuple(arguments) or None
    if not text.strip():
        return Argv(None, args)
    words = tuple(text.split()) if _PLAIN.fullmatch(text.strip()) else ()
    if words and not _needs_shell(words):
        return Argv(words, args)
    return Argv((*_SHELL, text + _ALL_ARGUMENTS if args else text, _SHELL_NAME), args)


def text_of(command: Sequence[str] | None, args: Sequence[str] | None) -> str:
    """Return the command text of a Task, as it was sent, or as a shell would take it."""
    if not command:
        return ""
    if len(command) == 4 and tuple(command[:2]) == _SHELL and command[3] == _SHELL_NAME:
        return command[2].removesuffix(_ALL_ARGUMENTS) if args else command[2]
    return shlex.join(command)


def _needs_shell(words: tuple[str, ...]) -> bool:
    first = words[0]
    # What looks like our own shell line would be read back as one.
    return "=" in first or _SHELL_WORD.fullmatch(first) is not None or words[:2] == _SHELL


_GPUS = re.compile(r"[0-9]{1,6}(,[0-9]{1,6})*")
_NUMBER = re.compile(r"[0-9]{1,6}")


class BadTargetError(BadRequestError):
    """One target cannot be read; the others may be good."""

    reason = "BadTarget"


@dataclass(frozen=True, slots=True)
class Target:
    """One host of which a Task is wanted; each Task of a submission has one."""

    text: str
    """As it was sent."""
    host: str
    numa_node: int | None = None
    gpus: tuple[int, ...] = ()


def parse_target(text: str, gpus: Sequence[int] = ()) -> Target:
    """Return what a target means.

    Args:
        text: ``n1``, ``n1:0`` (NUMA node 0), ``n1::0,1`` (GPUs 0 and 1), ``n1:0::0,1``.
        gpus: the GPUs that ``required_gpus`` names for it.

    Raises:
        BadTargetError: it cannot be read, or names other GPUs than ``gpus``.
    """
    place, separator, gpu_text = text.partition("::")
    host, _, rest = place.partition(":")
    if not host:
        raise BadTargetError("a target begins with the name of a host")
    numa_text = rest.partition(":")[0]  # what follows a second colon never meant anything
    numa_node = None
    if ":" in place:
        if not _NUMBER.fullmatch(numa_text):
            raise BadTargetError(f"{numa_text[:20]!r} is not the number of a NUMA node")
        numa_node = int(numa_text)
    wanted = tuple(sorted(set(gpus)))
    if separator:
        if not _GPUS.fullmatch(gpu_text):
            raise BadTargetError(f"{gpu_text[:40]!r} is not a list of GPUs such as 0,1")
        named = tuple(sorted({int(number) for number in gpu_text.split(",")}))
        if wanted and wanted != named:
            raise BadTargetError("the target names other GPUs than required_gpus")
        wanted = named
    return Target(text, host, numa_node, wanted)


SHARED_PATH = "/shared"
"""Where the folder that all hosts share is inside of containers."""

# All Tasks of a submission together: an etcd has room for thousands of such.
_MOST_BYTES = 8 * 2**20
_KEYED = "i-"
_DIGITS = 32
_MODES = {"": False, "rw": False, "ro": True}


@dataclass(frozen=True, slots=True)
class TaskDefaults:
    """What every submitted Task gets."""

    namespace: str = names.DEFAULT_NAMESPACE
    working_dir: str = SHARED_PATH
    shared_dir: str | None = None
    """The hosts' folder to mount at ``/shared``; None: none."""
    environments: Environments = field(default_factory=Environments)
    max_pending: int = 100
    """How many Tasks of one owner may wait for an approval."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A Task to be made, its name aside."""

    spec: Mapping[str, Any]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def is_pending(self) -> bool:
        """Tell whether the Tasks need an approval."""
        return self.spec.get("approval") == "Pending"

    def at(self, target: Target) -> "Draft":
        """Return the same for a target."""
        placement: dict[str, Any] = {"hostName": target.host}
        if target.numa_node is not None:
            placement["numaNode"] = target.numa_node
        spec = {**self.spec, "placement": placement}
        if target.gpus:
            spec["resources"] = {**spec["resources"], "gpus": {"indices": [*target.gpus]}}
        return replace(self, spec=spec)

    def in_batch(self, batch_id: int | None) -> "Draft":
        """Return the same as a part of a batch; None: the first of it."""
        if batch_id is None:
            return self
        return replace(self, labels={**self.labels, names.LABEL_BATCH: str(batch_id)})

    def body(self, name: str, now: dt.datetime) -> dict[str, Any]:
        """Return the Task."""
        noted = {**self.annotations, names.ANNOTATION_SUBMITTED_AT: now_rfc3339(now)}
        return {
            "metadata": {"name": name, "labels": dict(self.labels), "annotations": noted},
            "spec": dict(self.spec),
        }


def draft_of(
    request: SubmitRequest, identity: Identity, defaults: TaskDefaults, now: dt.datetime
) -> Draft:
    """Return what all Tasks of a submission have in common.

    Whoever has the role ``user`` needs an approval; others with an account approve it themselves.

    Raises:
        AccessDeniedError: it asks for power over the host, and the caller is no operator.
        BadRequestError: an environment or a mount that cannot be.
    """
    if (request.privileged or request.additional_mounts) and not identity.role.at_least(
        Role.OPERATOR
    ):
        raise AccessDeniedError("privileged and additional_mounts are an operator's to ask for")
    image = defaults.environments.choose(request.container_name, request.registry_image)
    argv = argv_of(request.command, request.arguments)
    resources: dict[str, Any] = {"cpu": request.required_cores}
    if request.required_memory_bytes:
        resources["memory"] = request.required_memory_bytes
    spec: dict[str, Any] = {
        "image": image.name,
        "workingDir": defaults.working_dir,
        "resources": resources,
    }
    if image.pull_policy is not None:
        spec["imagePullPolicy"] = image.pull_policy
    if argv.command is not None:
        spec["command"] = [*argv.command]
    if argv.args is not None:
        spec["args"] = [*argv.args]
    if request.env_vars:
        spec["env"] = [{"name": key, "value": value} for key, value in request.env_vars.items()]
    mounts = _mounts(request.additional_mounts or (), defaults.shared_dir)
    if mounts:
        spec["mounts"] = mounts
    if request.privileged:
        spec["privileged"] = True
    labels: dict[str, str] = {}
    annotations = {names.ANNOTATION_REQUEST: digest_of(request)}
    if image.environment is not None:
        annotations[names.ANNOTATION_ENVIRONMENT] = image.environment
    if identity.owner is not None:
        labels[names.LABEL_OWNER] = identity.owner
        if identity.role.at_least(Role.OPERATOR):
            annotations[names.ANNOTATION_DECIDED_BY] = identity.owner
            annotations[names.ANNOTATION_DECIDED_AT] = now_rfc3339(now)
        else:
            spec["approval"] = "Pending"
    return Draft(spec, labels, annotations)


def digest_of(request: SubmitRequest) -> str:
    """Return what two equal requests have in common, and no others: a SHA-256, in hex."""
    canonical = orjson.dumps(request.model_dump(), option=orjson.OPT_SORT_KEYS)
    return sha256(canonical).hexdigest()


def keyed_name(owner: str | None, key: str, index: int) -> str:
    """Return the one name that a submission's Task can have, so that trying again makes no other.

    Args:
        owner: of the Task; two owners' keys have nothing to do with each other.
        key: the Idempotency-Key of the request.
        index: which of its targets. Not the target itself: another request with the same key has to
            meet what this one made.
    """
    parts = orjson.dumps([owner, key, index])
    return f"{_KEYED}{sha256(parts).hexdigest()[:_DIGITS]}"


def _mounts(wanted: Sequence[str], shared_dir: str | None) -> list[dict[str, Any]]:
    mounts: dict[str, dict[str, Any]] = {}
    if shared_dir is not None:
        mounts[SHARED_PATH] = {"hostPath": shared_dir, "mountPath": SHARED_PATH}
    for text in wanted:
        source, _, rest = text.partition(":")
        destination, _, mode = rest.partition(":")
        if not (source.startswith("/") and destination.startswith("/") and mode in _MODES):
            raise BadRequestError(f"{text[:200]!r} is not of the form /source:/destination[:ro]")
        mount: dict[str, Any] = {"hostPath": source, "mountPath": destination}
        if _MODES[mode]:
            mount["readOnly"] = True
        mounts[destination] = mount
    return [*mounts.values()]


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
    wanted = [
        _wanted(text, gpus[place] if gpus else ()) for place, text in enumerate(request.targets)
    ]
    seen: set[tuple[str, int | None, tuple[int, ...]]] = set()
    for one in wanted:
        if one.target is None:
            continue
        same = (one.target.host, one.target.numa_node, one.target.gpus)
        if same in seen:
            raise BadRequestError(f"the target {one.text[:80]!r} is there twice")
        seen.add(same)
    return wanted


def refuse_too_much(draft: Draft, count: int) -> None:
    """Refuse a submission whose Tasks would hold too much together.

    Raises:
        BodyTooLargeError: they would.
    """
    each = size_of(draft.spec)
    if each * count > _MOST_BYTES:
        raise BodyTooLargeError(
            f"each task has {each} bytes, so there can be {_MOST_BYTES // each} targets at most"
        )


def size_of(spec: Mapping[str, Any]) -> int:
    """Return how many bytes a spec has as JSON."""
    return len(orjson.dumps(spec))


def _wanted(text: str, gpus: Iterable[int]) -> Wanted:
    try:
        return Wanted(text, parse_target(text, tuple(gpus)))
    except BadTargetError as exc:
        return Wanted(text, refused=exc)


class Hosts(Protocol):
    """What is known of the Hosts (``KnownHosts`` knows it)."""

    def facts_of(self, name: str) -> HostFacts | None:
        """Return what a Host has, or None."""
        ...

    def all_facts(self) -> Iterable[HostFacts]:
        """Go through what all Hosts have."""
        ...


def admit(draft: Draft, wanted: Wanted, hosts: Hosts) -> Draft:
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
    facts = hosts.facts_of(wanted.target.host)
    if facts is None:
        raise NowhereError(f"there is no host {wanted.target.host[:63]}")
    placed = draft.at(wanted.target)
    request = request_of({"spec": placed.spec})
    reason = never_fits(request, facts)
    if reason is not None:
        raise NowhereError(f"host {facts.name}: {reason}")
    return placed


def _check_any(request: Request, hosts: Hosts) -> None:
    reasons: dict[str, list[str]] = {}
    for facts in hosts.all_facts():
        reason = never_fits(request, facts)
        if reason is None:
            return
        reasons.setdefault(reason, []).append(facts.name)
    if not reasons:
        raise NowhereError("there is no host yet")
    parts = [f"{len(names)} {reason} ({_few(names)})" for reason, names in sorted(reasons.items())]
    raise NowhereError(f"no host can ever run it: {', '.join(parts)}")


def _few(names: list[str]) -> str:
    more = ", …" if len(names) > _NAMED else ""
    return ", ".join(sorted(names)[:_NAMED]) + more
