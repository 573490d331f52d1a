"""Which logins are tried for an image, and in which order. Pure."""

import base64
import json
from collections.abc import Iterable
from fnmatch import fnmatchcase

from weir_nodedaemon.engines.port import RegistryLogin

_HUB = "docker.io"
_HUB_NAMES = ("index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")


def logins_for(registry: str, path: str, logins: Iterable[RegistryLogin]) -> list[RegistryLogin]:
    """Return the logins that are for an image, those for the longest path first.

    A login is for all of a registry, or for what is below a path in it; ``*`` stands for a part of
    the registry's name, as the kubelet has it.
    https://kubernetes.io/docs/concepts/containers/images/#config-json

    Args:
        registry: of the image: ``host``, or ``host:port``.
        path: of the image in it.
        logins: what there is.
    """
    found = []
    for login in logins:
        host, below = _pattern(login.registry)
        inside = not below or f"{path}/".startswith(f"{below}/")
        if inside and _matches(_plain(registry), host):
            found.append((len(below), login))
    return [login for _, login in sorted(found, key=lambda one: -one[0])]


def header_of(login: RegistryLogin) -> str:
    """Return a login as Docker's header ``X-Registry-Auth`` wants it."""
    host, _ = _pattern(login.registry)
    value = {"username": login.username, "password": login.password, "serveraddress": host}
    if login.identity_token:
        value = {"identitytoken": login.identity_token, "serveraddress": host}
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


def _pattern(text: str) -> tuple[str, str]:
    """Return the registry and the path that a login is for, however they are written."""
    for scheme in ("https://", "http://"):
        text = text.removeprefix(scheme)
    host, _, path = text.strip("/").partition("/")
    return _plain(host), "" if path in ("v1", "v2") else path  # the old way to name a registry


def _plain(host: str) -> str:
    return _HUB if host in _HUB_NAMES else host


def _matches(registry: str, pattern: str) -> bool:
    name, _, port = registry.partition(":")
    wanted, _, wanted_port = pattern.partition(":")
    parts, globs = name.split("."), wanted.split(".")
    return port == wanted_port and len(parts) == len(globs) and all(map(fnmatchcase, parts, globs))
