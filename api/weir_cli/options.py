"""What a command line asks for."""

from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Flags that every command has: those by which kubectl reaches the API server."""

    namespace: str | None = None  # None: that of the context
    kubectl: tuple[str, ...] = ()  # kubectl's own flags, passed on: --context=c

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
    previous: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyOptions(Options):
    """Of ``why``."""

    name: str
    is_host: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HostsOptions(Options):
    """Of ``hosts``."""

    names: tuple[str, ...] = ()
    selector: str | None = None
    numa: bool = False
    output: str = "table"
    headers: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TopOptions(Options):
    """Of ``top``."""

    what: str | None = None  # "hosts" or "tasks"; None: both
    names: tuple[str, ...] = ()
    selector: str | None = None
    all_namespaces: bool = False
    sort_by: str = "name"
    output: str = "table"
    headers: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionOptions(Options):
    """Of ``version``."""

    client: bool = False
    output: str = "table"


@dataclass(frozen=True, slots=True, kw_only=True)
class HelpOptions(Options):
    """Of ``help``."""

    command: str | None = None
