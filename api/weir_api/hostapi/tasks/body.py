"""From a submission to the Tasks that it makes. Pure."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import orjson

from weir_api.access.identity import Identity, Role
from weir_api.errors import AccessDeniedError, BadRequestError
from weir_api.hostapi.environments import Environments
from weir_api.hostapi.tasks.command import argv_of
from weir_api.hostapi.tasks.targets import Target
from weir_api.hostapi.tasks.wire import SubmitRequest
from weir_crds import names
from weir_crds.times import now_rfc3339

SHARED_PATH = "/shared"
"""Where the folder that all hosts share is inside of containers."""

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


@dataclass(frozen=True, slots=True)
class Draft:
    """A Task to be made, its name aside."""

    spec: Mapping[str, Any]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

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
