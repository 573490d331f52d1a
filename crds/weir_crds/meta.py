"""What all our objects have in common: metadata and conditions."""

from typing import Annotated, Literal

from pydantic import Field

from weir_crds.conditions import MAX_MESSAGE
from weir_crds.schema import Integer, ListMap, Model, Time

Generation = Annotated[Integer, Field(ge=0, le=2**53 - 1)]


class ObjectMeta(Model):
    """The part of an object's metadata that decisions need."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    generation: Generation = 0
    resource_version: str = ""
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class ConditionStatus(Model):
    """One thing that was observed of the object, by the one writer of its type."""

    type: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]*$", min_length=1, max_length=64)]
    """What the condition is about, in CamelCase."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Annotated[
        str, Field(pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$", min_length=1, max_length=64)
    ]
    """Why, in one word for programs."""
    message: Annotated[str, Field(max_length=MAX_MESSAGE)] = ""
    """Why, in a sentence for people; may be empty."""
    observed_generation: Generation | None = None
    """The metadata.generation that this was decided on."""
    last_transition_time: Time
    """When the status last changed."""


Conditions = Annotated[list[ConditionStatus], ListMap("type"), Field(max_length=16)]
