"""What the models say beside their types: the markers that ``hack/generate_crds.py`` reads.

A rule stands here once, in both its forms: the CEL expression that the API server enforces and the
Python check that a model makes. A test holds them together with made-up objects.
"""

import datetime as dt
import re
import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from weir_crds.kinds import Kind
from weir_crds.quantities import InvalidQuantityError, parse_quantity
from weir_crds.times import InvalidTimeError, parse_time

IMMUTABLE_MESSAGE = "is immutable after creation"


@dataclass(frozen=True, slots=True)
class Rule:
    """A validation in CEL, of an object; or as the marker of a list, of that list alone.

    ``holds`` is the same check on a model or list. A rule without it compares with ``oldSelf``,
    which only the API server has.
    """

    rule: str
    message: str
    field_path: str | None = None
    reason: str | None = None
    holds: Callable[[Any], bool] | None = None
    message_expression: str | None = None
    """CEL that gives the message, where it depends on what is wrong."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Add the check to the schema of what it marks."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, value: Any) -> Any:
        if self.holds is not None and not self.holds(value):
            raise ValueError(self.message)
        return value


def transition(rule: str, message: str, field_path: str) -> Rule:
    """Return a rule about changes; a violation is reported as a forbidden value of that field."""
    return Rule(rule, message, field_path, reason="FieldValueForbidden")


def gathered(rules: Sequence[Rule], path: str, *, unless: str | None = None) -> Rule:
    """Return one rule that holds where all of these do, and says of each that does not its field.

    The API server evaluates every rule at every write, a status write too, and each costs it about
    as much as two looks at a field; so those of one place are one.

    Args:
        rules: transition rules of one object, each with its ``field_path`` there.
        path: of that object, as seen from where the gathered rule stands: "" or ".spec".
        unless: CEL that, where it is true, ends the evaluation early.
    """
    checks = [f"({_moved(rule.rule, path)})" for rule in rules]
    words = [f"{(rule.field_path or '').lstrip('.')}: {rule.message}" for rule in rules]
    said = (f"({check} ? '' : '; {word}')" for check, word in zip(checks, words, strict=True))
    whole = " && ".join(checks)
    return Rule(
        f"{unless} || ({whole})" if unless else whole,
        "; ".join(dict.fromkeys(rule.message for rule in rules)),
        path or None,
        "FieldValueForbidden",
        message_expression=f"({' + '.join(said)}).substring(2)",
    )


def _moved(rule: str, path: str) -> str:
    """Return a rule about an object as one about what holds it at that path."""
    return re.sub(r"\b(self|oldSelf)\.", rf"\1{path}.", rule)


@dataclass(frozen=True, slots=True)
class Immutable:
    """Marks a field of a spec that may not change once the object exists."""

    unless: str | None = None
    """CEL on ``oldSelf``: while it holds, the field may change."""

    def to_rule(self, name: str, *, always_present: bool) -> Rule:
        """Return the transition rule of the field of that name."""
        same = f"self.{name} == oldSelf.{name}"
        if not always_present:
            same = f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || {same})"
        rule = f"{self.unless} || ({same})" if self.unless else same
        return transition(rule, IMMUTABLE_MESSAGE, f".{name}")


class Distinct(ABC):
    """Base of the markers of lists whose items must differ."""

    @abstractmethod
    def keys(self, items: list[Any]) -> Iterable[Any]:
        """Return what must differ of each item."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Add the check to the schema of the list."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, items: list[Any]) -> list[Any]:
        seen = set()
        for key in self.keys(items):
            if key in seen:
                raise ValueError(f"duplicate entry {key!r}")
            seen.add(key)
        return items


@dataclass(frozen=True, slots=True)
class ListMap(Distinct):
    """Marks a list whose items are told apart by one field, which none may share."""

    key: str
    """The field's name in the model."""

    def keys(self, items: list[Any]) -> Iterable[Any]:
        """Return each item's key."""
        return (getattr(item, self.key) for item in items)


@dataclass(frozen=True, slots=True)
class ListSet(Distinct):
    """Marks a list of distinct scalars."""

    def keys(self, items: list[Any]) -> Iterable[Any]:
        """Return the items themselves."""
        return items


@dataclass(frozen=True, slots=True)
class ListAtomic:
    """Marks a list that is replaced as a whole; items may repeat."""


@dataclass(frozen=True, slots=True)
class QuantityRange:
    """Marks an int or string as a Kubernetes quantity below 1E: not negative, or more than 0."""

    positive: bool = False

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Add the check to the schema of the int or string."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, quantity: int | str) -> int | str:
        try:
            value = parse_quantity(quantity)
        except InvalidQuantityError as exc:
            raise ValueError(str(exc)) from exc
        if self.positive and value == 0:
            raise ValueError(f"{quantity} must be more than 0")
        return quantity


class TimeFormat:
    """Marks a time that the API carries as an RFC 3339 string."""


def _time(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return parse_time(value)
    except InvalidTimeError as exc:
        raise ValueError(str(exc)) from exc


def _without_nulls(value: object) -> object:
    """Leave out what is null, as the API server does."""
    if isinstance(value, dict):
        return {name: item for name, item in value.items() if item is not None}
    return value


def _integer(value: object) -> object:
    """Accept 1.0 for 1: JSON does not tell them apart, and neither does the API server."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Integer = Annotated[int, BeforeValidator(_integer)]
Quantity = Annotated[int | str, QuantityRange()]
PositiveQuantity = Annotated[int | str, QuantityRange(positive=True)]
Time = Annotated[dt.datetime, BeforeValidator(_time), TimeFormat()]

Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
"""Any text that can be an argument or a value of a process: without NUL."""
AbsolutePath = Annotated[str, Field(pattern=r"^/[^\x00]*$", max_length=4096)]
ObjectName = Annotated[
    str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", min_length=1, max_length=253)
]
LabelValue = Annotated[
    str, Field(pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$", max_length=63)
]
LabelSelector = Annotated[
    dict[str, LabelValue], BeforeValidator(_without_nulls), Field(max_length=32)
]
CoreID = Annotated[Integer, Field(ge=0, le=65535)]
NumaNodeID = Annotated[Integer, Field(ge=0, le=1023)]
GPUIndex = Annotated[Integer, Field(ge=0, le=255)]
ByteCount = Annotated[Integer, Field(ge=0, le=2**53 - 1)]


def field_name(attribute: str) -> str:
    """Return the API's name of a model's attribute: ``run_id`` is ``runID``."""
    return re.sub(r"(Id|Url)$", lambda word: word[0].upper(), to_camel(attribute))


class Model(BaseModel):
    """Base of all parts of a resource: camelCase outside, strict, frozen, tolerant of new fields.

    Unknown fields are dropped as the API server prunes them, and a null counts as absent, as there.
    """

    model_config = ConfigDict(
        alias_generator=field_name,
        strict=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        return _without_nulls(data)

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        for rule in self.rules:
            if rule.holds is not None and not rule.holds(self):
                raise ValueError(f"{(rule.field_path or '').lstrip('.')} {rule.message}".lstrip())
        return self


@dataclass(frozen=True, slots=True)
class Column:
    """A column of ``kubectl get``; ``wide``: only with ``-o wide``.

    A path yields one value: the first match, or a list as a whole.
    """

    name: str
    json_path: str
    description: str
    type: str = "string"
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Lifetime:
    """When an object of a kind is over for good, and how long it stays then: paths of fields.

    A kind whose objects have no end (a VPS may be started again) has none.
    """

    ended_at: tuple[str, ...]
    """A time, set once: nothing is written to the object after that."""
    ttl_seconds: tuple[str, ...]
    """How long it stays after its end; absent: as the operator is told."""

    def end_of(self, obj: Mapping[str, Any]) -> str | None:
        """Return when an object ended, or None: it has not."""
        return _at(obj, self.ended_at) or None

    def ttl_of(self, obj: Mapping[str, Any]) -> int | None:
        """Return for how many seconds an object stays after its end, if it says so itself."""
        seconds: int | None = _at(obj, self.ttl_seconds)
        return seconds


def _at(obj: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        obj = obj.get(name) if obj else None
    return obj


class Component(StrEnum):
    """A program of ours, by the name of its ServiceAccount."""

    OPERATOR = "weir-operator"
    NODEDAEMON = "weir-nodedaemon"
    API = "weir-api"


@dataclass(frozen=True, slots=True)
class Resource:
    """A custom resource: a kind, its model, how people meet it, and what the programs do with it.

    The roles and policies in ``manifests/base`` and the programs' watches agree with it, which
    tests prove.
    """

    kind: Kind
    model: type[Model]
    singular: str
    short_names: tuple[str, ...]
    columns: tuple[Column, ...]
    selectable_fields: tuple[str, ...] = ()
    watched_by: frozenset[Component] = frozenset()
    is_workload: bool = False
    """Its objects run on hosts: the scheduler places them."""
    is_private: bool = False
    """Only the facade and cluster administrators read it."""
    lifetime: Lifetime | None = None
    is_status_write: str | None = None
    """CEL on the whole object, cheap to evaluate: true only where the status has changed, and true
    at most such writes. The API server takes spec or status from a write, never both, so where it
    is true the spec's transition rules need not be looked at: they are gathered behind it."""


def markers(info: FieldInfo) -> list[Any]:
    """Return all metadata of a field, also of an optional one's only type."""
    return [*info.metadata, *strip(info.annotation)[1]]


def strip(annotation: Any) -> tuple[Any, list[Any]]:
    """Take the type and its metadata out of any nesting of Annotated and Optional."""
    metadata: list[Any] = []
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *found = get_args(annotation)
            for item in found:
                metadata += item.metadata if isinstance(item, FieldInfo) else [item]
        elif get_origin(annotation) in (Union, types.UnionType) and types.NoneType in get_args(
            annotation
        ):
            (annotation,) = [arg for arg in get_args(annotation) if arg is not types.NoneType]
        else:
            return annotation, metadata
