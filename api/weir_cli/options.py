"""What a command line asks for."""

from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Flags that every command has, as kubectl has them."""

    namespace: str | None = None  # None: that of the context
    kubeconfig: str | None = None
    context: str | None = None
    request_timeout_seconds: float | None = None  # None: our default; 0: no limit

    @classmethod
    def extending(cls, common: "Options", **more: Any) -> Self:
        """Return the options of a command: the common ones and its own."""
        own = {field.name: getattr(common, field.name) for field in fields(Options)}
        return cls(**own, **more)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsOptions(Options):
    """Of ``logs``."""

    name: str
    follow: bool = False
    tail: int | None = None
    stream: str | None = None
    run: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyOptions(Options):
    """Of ``why``."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostsOptions(Options):
    """Of ``hosts``."""

    names: tuple[str, ...] = ()
    output: str = "table"


@dataclass(frozen=True, slots=True, kw_only=True)
class TopOptions(Options):
    """Of ``top``."""

    what: str | None = None  # "hosts" or "tasks"; None: both
    names: tuple[str, ...] = ()
    all_namespaces: bool = False
    sort_by: str = "name"
    output: str = "table"
