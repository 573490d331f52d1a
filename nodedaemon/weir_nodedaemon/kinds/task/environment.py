"""A Task's environment, with Secrets and ConfigMaps read live. Values are never logged."""

import base64
import binascii
from typing import Any

from weir_crds.kinds import Kind
from weir_crds.task import TaskSpec
from weir_kube.kinds import CONFIGMAP, SECRET
from weir_nodedaemon.instances.secrets import (
    ObjectReader,
    SecretNotReadableError,
    read_object,
)


async def resolve(spec: TaskSpec, namespace: str, reader: ObjectReader) -> dict[str, str]:
    """Return the environment, each object named in it read once.

    Raises:
        SecretNotReadableError: it may not be read, or is not there, or lacks the key.
        ApiError: the API server did not answer.
    """
    read: dict[tuple[Kind, str], dict[str, Any]] = {}
    env: dict[str, str] = {}
    for variable in spec.env or ():
        source = variable.value_from
        if source is None:
            env[variable.name] = variable.value or ""
            continue
        kind = SECRET if source.secret_key_ref is not None else CONFIGMAP
        reference = source.secret_key_ref or source.config_map_key_ref
        assert reference is not None  # the CRD demands one of the two
        found = read.get((kind, reference.name))
        if found is None:
            found = await read_object(kind, reference.name, namespace, reader)
            read[kind, reference.name] = found
        env[variable.name] = _value(kind, found, reference.name, reference.key)
    return env


def _value(kind: Kind, found: dict[str, Any], name: str, key: str) -> str:
    values = found.get("data") or {}
    if key not in values:
        raise SecretNotReadableError(f"{kind.kind} {name} has no key {key}")
    value = str(values[key]) if kind is CONFIGMAP else _decoded(values[key])
    if value is None or "\0" in value:
        raise SecretNotReadableError(f"key {key} of {kind.kind} {name} is no text")
    return value


def _decoded(value: str) -> str | None:
    try:
        return base64.b64decode(value).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
