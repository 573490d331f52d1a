"""Secrets and ConfigMaps that work names, read live where it is allowed. Nothing is ever logged."""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from weir_crds import names
from weir_crds.errors import WeirError
from weir_crds.kinds import Kind
from weir_kube.errors import ForbiddenError, NotFoundError
from weir_kube.kinds import SECRET
from weir_nodedaemon.engines.port import RegistryLogin


class SecretNotReadableError(WeirError):
    """A Secret or ConfigMap that is named cannot be read, or lacks the key."""

    reason = "SecretNotReadable"


class PullSecretNotReadableError(WeirError):
    """One of ``imagePullSecrets`` cannot be read, or holds no logins."""

    reason = "PullSecretNotReadable"


class ObjectReader(Protocol):
    """Reads one object from the API server."""

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> dict[str, Any]:
        """Return it as it is now; raises ApiError."""
        ...


async def read_object(
    kind: Kind, name: str, namespace: str, reader: ObjectReader
) -> dict[str, Any]:
    """Return a Secret or ConfigMap.

    Raises:
        SecretNotReadableError: it may not be read, or is not there.
        ApiError: the API server did not answer.
    """
    try:
        return await reader.get(kind, name, namespace)
    except ForbiddenError as exc:
        role = names.CLUSTER_ROLE_SECRETS
        account = f"{names.SYSTEM_NAMESPACE}:{names.SERVICE_ACCOUNT_NODEDAEMON}"
        raise SecretNotReadableError(
            f"the daemon may not read {kind.kind} {name}; an administrator can allow it:"
            f" kubectl create rolebinding {role} --clusterrole={role}"
            f" --serviceaccount={account} -n {namespace}"
        ) from exc
    except NotFoundError as exc:
        raise SecretNotReadableError(f"there is no {kind.kind} {name} in {namespace}") from exc


async def read_logins(
    secrets: Sequence[str], namespace: str, reader: ObjectReader
) -> tuple[RegistryLogin, ...]:
    """Return the logins in these Secrets, in their order.

    Their types are those of Kubernetes: ``kubernetes.io/dockerconfigjson``, or the older
    ``kubernetes.io/dockercfg``.

    Raises:
        PullSecretNotReadableError: one may not be read, is not there, or is of another type.
        ApiError: the API server did not answer.
    """
    logins: list[RegistryLogin] = []
    for name in secrets:
        try:
            found = await read_object(SECRET, name, namespace, reader)
        except SecretNotReadableError as exc:
            raise PullSecretNotReadableError(f"imagePullSecrets: {exc}") from exc
        try:
            logins += _logins(found.get("data") or {})
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise PullSecretNotReadableError(
                f"imagePullSecrets: Secret {name} is no login of a registry"
                " (kubectl create secret docker-registry)"
            ) from exc
    return tuple(logins)


def _logins(data: Mapping[str, str]) -> Iterator[RegistryLogin]:
    if ".dockerconfigjson" in data:
        auths = _json(data[".dockerconfigjson"])["auths"]
    else:
        auths = _json(data[".dockercfg"])
    for registry, entry in auths.items():
        user, password = entry.get("username") or "", entry.get("password") or ""
        if not user and entry.get("auth"):
            user, colon, password = base64.b64decode(entry["auth"]).decode().partition(":")
            if not colon:
                raise ValueError(registry)
        yield RegistryLogin(registry, user, password, entry.get("identitytoken") or "")


def _json(text: str) -> Any:
    try:
        return json.loads(base64.b64decode(text, validate=True))
    except binascii.Error as exc:
        raise ValueError("not base64") from exc
