"""Environments: the names by which clients choose an image. Pure.

They are configuration until they are objects of their own. The file:

    default: kohakuriver-base      # for who names none
    images:
      kohakuriver-base: debian:12
      torch: registry.example.org/torch:2.9
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from weir_api.errors import BadRequestError
from weir_crds.errors import WeirError

DEFAULT_NAME = "kohakuriver-base"
NO_CONTAINER = "NULL"

# What Docker takes as a part of an image's name.
_NAME = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*")
_MAX_NAME = 128


class InvalidEnvironmentsError(WeirError):
    """The file of environments is not what it should be."""

    reason = "InvalidEnvironments"


@dataclass(frozen=True, slots=True)
class Image:
    """What a Task's container is made of."""

    name: str
    pull_policy: str | None = None
    """None: the usual one."""
    environment: str | None = None
    """The environment that it stands for."""


@dataclass(frozen=True, slots=True)
class Environments:
    """Which image an environment's name means."""

    images: Mapping[str, str] = field(default_factory=dict)
    default: str = DEFAULT_NAME

    def choose(self, environment: str | None, image: str | None) -> Image:
        """Return the image that a request wants.

        A name without an entry means the image ``kohakuriver/<name>:base``, which has to be on the
        host: it is in no registry.

        Args:
            environment: its name; None or empty: the default.
            image: an image of a registry, which goes before any environment.

        Raises:
            BadRequestError: no image can have that name, or no container is wanted.
        """
        if image:
            return Image(image)
        name = environment or self.default
        mapped = self.images.get(name)
        if mapped is not None:
            return Image(mapped, environment=name)
        if name == NO_CONTAINER:
            raise BadRequestError("nothing runs outside of a container here: name an environment")
        if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
            raise BadRequestError(f"there cannot be an environment {name[:_MAX_NAME]!r}")
        return Image(f"kohakuriver/{name}:base", pull_policy="Never", environment=name)


def parse_environments(text: str) -> Environments:
    """Return what a file of environments says.

    Raises:
        InvalidEnvironmentsError: it is no YAML, or not of the form that the module tells.
    """
    try:
        loaded = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise InvalidEnvironmentsError(f"no YAML: {exc}") from exc
    if loaded is None:
        return Environments()
    if not isinstance(loaded, dict) or loaded.keys() - {"default", "images"}:
        raise InvalidEnvironmentsError("it has the keys default and images, and no others")
    images = loaded.get("images") or {}
    if not isinstance(images, dict) or not all(_is_text(item) for item in images.items()):
        raise InvalidEnvironmentsError("images: names, each with an image")
    default = loaded.get("default") or DEFAULT_NAME
    if not isinstance(default, str):
        raise InvalidEnvironmentsError("default: the name of an environment")
    return Environments(images, default)


def _is_text(pair: tuple[Any, Any]) -> bool:
    return all(isinstance(item, str) and item for item in pair)
