"""What runners send and get."""

import datetime as dt
import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field

from weir_api.hostapi.wire import MessageOut
from weir_crds.names import LEASE_OPERATOR

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_PRINTABLE = re.compile(r"[!-~]+")
_MOST_BYTES = 2**53 - 1
# Far more than devices are told with. What is deeper than a few hundred could not be told on.
_MOST_LEVELS = 16


def _checked_hostname(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("must be lower-case letters, digits, '-' and '.', as in a DNS name")
    if text == LEASE_OPERATOR:
        raise ValueError("that name is taken by Weir itself")
    return text


def _checked_url(text: str) -> str:
    parts = urlsplit(text)
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or not _PRINTABLE.fullmatch(text)
    ):
        raise ValueError("must be an http or https URL with a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold credentials")
    if parts.query or parts.fragment:
        raise ValueError("must not have a query or a fragment")
    _ = parts.port  # raises ValueError for what is none
    return text


def _shallow(device: dict[str, Any]) -> dict[str, Any]:
    if not _is_within(device, _MOST_LEVELS):
        raise ValueError(f"must not hold more than {_MOST_LEVELS} levels of objects and lists")
    return device


def _is_within(value: Any, levels: int) -> bool:
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return True
    return levels > 0 and all(_is_within(member, levels - 1) for member in value)


Hostname = Annotated[
    str,
    Field(
        min_length=1,
        max_length=63,
        json_schema_extra={"pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"},
    ),
    AfterValidator(_checked_hostname),
]
RunnerUrl = Annotated[
    str,
    Field(min_length=1, max_length=512, json_schema_extra={"pattern": r"^https?://[^\s@?#/]+"}),
    AfterValidator(_checked_url),
]
Bytes = Annotated[int, Field(ge=0, le=_MOST_BYTES)]
Figure = Annotated[float, Field(allow_inf_nan=False)]
TaskNumber = Annotated[int, Field(ge=0, le=2**64 - 1)]
Device = Annotated[dict[str, Any], AfterValidator(_shallow)]
Gpus = Annotated[list[Device], Field(max_length=64)]


class RegistrationIn(BaseModel):
    """A runner tells of its machine."""

    hostname: Hostname
    url: RunnerUrl
    """Where the runner says it is reached. It is shown, and nothing is sent there."""
    total_cores: Annotated[int, Field(ge=0, le=65536)]
    total_ram_bytes: Bytes | None = None
    numa_topology: dict[str, Any] | None = None
    """``{"0": {"cores": [0, 1], "memory_bytes": 1073741824}, …}``."""
    gpu_info: Gpus | None = None


class RegistrationOut(BaseModel):
    """What became of a registration."""

    message: str
    created: bool
    """False: the host was known, and has been updated."""
    overlay: None = None


class KilledTask(BaseModel):
    """A task that the runner ended by itself."""

    task_id: TaskNumber
    reason: Annotated[str, Field(max_length=4096)]


class HeartbeatIn(BaseModel):
    """A runner lives, and tells how busy its machine is."""

    running_tasks: Annotated[list[TaskNumber], Field(max_length=10_000)] = []
    """Taken, and of no effect: only ``/update`` says that a task runs."""
    killed_tasks: Annotated[list[KilledTask], Field(max_length=1000)] = []
    cpu_percent: Figure | None = None
    memory_percent: Figure | None = None
    memory_used_bytes: Bytes | None = None
    memory_total_bytes: Bytes | None = None
    current_avg_temp: Figure | None = None
    current_max_temp: Figure | None = None
    gpu_info: Gpus | None = None
    vm_capable: bool = False
    vfio_gpus: Gpus | None = None
    runner_version: Annotated[str, Field(max_length=256)] | None = None


class UpdateIn(BaseModel):
    """What became of a task, says the runner that it is bound to."""

    task_id: TaskNumber
    status: Annotated[str, Field(max_length=64)]
    exit_code: Annotated[int, Field(ge=-(2**31), le=2**31 - 1)] | None = None
    message: Annotated[str, Field(max_length=65536)] | None = None
    started_at: dt.datetime | None = None
    completed_at: dt.datetime | None = None
    ssh_port: int | None = None
    """Ignored: tasks have none."""


class UpdateOut(MessageOut):
    """What became of a report; clients that know no more look at the status 200 only."""

    accepted: bool
    reason: str | None = None
    """Why it was not accepted; absent if it was."""
