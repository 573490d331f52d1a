"""Docker's JSON from and to our words. Pure; formats are those of the Docker Engine API 1.41."""

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

from weir_crds.names import (
    LABEL_HOST,
    LABEL_RUN,
    LABEL_UID,
    container_name,
    identity_labels,
    parse_container_name,
)
from weir_nodedaemon.engines.docker.refusals import is_users_fault
from weir_nodedaemon.engines.port import (
    ContainerSpec,
    EngineEvent,
    InstanceState,
    InstanceUsage,
    ObservedInstance,
)
from weir_nodedaemon.machine.cpulist import format_cpulist, parse_cpulist

# Docker's words for a container's state, in lists and in detail.
STATES = {
    "created": InstanceState.CREATED,
    "running": InstanceState.RUNNING,
    "restarting": InstanceState.RUNNING,
    "paused": InstanceState.PAUSED,
    "exited": InstanceState.EXITED,
    "removing": InstanceState.REMOVING,
    "dead": InstanceState.REMOVING,
}
_NETWORKS = {"Bridge": "bridge", "Host": "host", "None": "none"}
_EVENTS = frozenset({"create", "start", "die", "pause", "unpause", "oom", "destroy"})
_LEAST_CPU_MILLIS = 10  # Docker takes no smaller quota
_NANO_PER_MILLI = 1_000_000
# Output is followed while it is written: Docker's log is for the time when nobody follows. It drops
# a file at a time, so that with many small ones it is known for longer that nothing was dropped.
_LOG_FILES = 8
_INIT_FAILED = re.compile(rb"\A\[FATAL tini \(\d+\)\] (exec .* failed: [^\n]*)\n?\Z", re.DOTALL)
_AVAILABLE_CPUS = re.compile(r"requested 8191, available: ([0-9,-]+)")
IMPOSSIBLE_BODY: Mapping[str, Any] = {
    "Image": "weir.invalid/none:none",
    "HostConfig": {"CpusetCpus": "8191"},  # the highest number that Docker takes for one
}
"""Docker refuses this, naming the cores that it has (``IsCpusetCpusAvailable`` of its sysinfo)."""
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)")


def create_body(
    spec: ContainerSpec, host_name: str, *, hide_gpus: bool = False, limit_layer: bool = True
) -> dict[str, Any]:
    """Return the body of ``POST /containers/create``.

    Args:
        spec: what is asked for.
        host_name: whose container it is.
        hide_gpus: whether a container without GPUs would see them, as Docker's default runtime
            gives them to every image that asks for them.
        limit_layer: whether Docker's storage can limit what a container writes.

    Commands are meant as in Kubernetes: ``command`` replaces the image's entrypoint and drops
    its arguments, ``args`` replace the arguments.
    """
    host: dict[str, Any] = {
        "Init": True,
        "NetworkMode": _NETWORKS[spec.network_mode],
        "Privileged": spec.privileged,
        "RestartPolicy": {"Name": "no"},
        "LogConfig": {
            "Type": "local",
            "Config": {
                "max-size": str(max(1, spec.log_buffer_bytes // _LOG_FILES)),
                "max-file": str(_LOG_FILES),
                "compress": "false",
            },
        },
        # A bind of the type "mount" is refused when the host has no such path; the older "Binds"
        # would make an empty folder instead.
        "Mounts": [
            {
                "Type": "bind",
                "Source": mount.host_path,
                "Target": mount.mount_path,
                "ReadOnly": mount.read_only,
            }
            for mount in spec.mounts
        ],
    }
    if spec.cpus:
        host["CpusetCpus"] = format_cpulist(spec.cpus)
    if spec.memory_nodes:
        host["CpusetMems"] = format_cpulist(spec.memory_nodes)
    if spec.cpu_millis is not None:
        host["NanoCpus"] = max(spec.cpu_millis, _LEAST_CPU_MILLIS) * _NANO_PER_MILLI
    if spec.memory_bytes is not None:
        # Without swap, or the limit would only make the program slow.
        host["Memory"] = host["MemorySwap"] = spec.memory_bytes
    if spec.layer_bytes is not None and limit_layer:
        host["StorageOpt"] = {"size": str(spec.layer_bytes)}
    if spec.pids_limit is not None:
        host["PidsLimit"] = spec.pids_limit
    if spec.shm_bytes is not None:
        host["ShmSize"] = spec.shm_bytes
    if spec.gpu_uuids:
        host["DeviceRequests"] = [
            {"DeviceIDs": list(spec.gpu_uuids), "Capabilities": [["gpu"]]},
        ]
    env = dict(spec.env)
    if hide_gpus and not spec.gpu_uuids:
        env["NVIDIA_VISIBLE_DEVICES"] = "void"  # as if there were no such runtime
    body: dict[str, Any] = {
        "Image": spec.image,
        "Labels": {**spec.labels, **identity_labels(spec.name, host_name)},
        "Env": [f"{name}={value}" for name, value in env.items()],
        "StopTimeout": spec.stop_grace_seconds,
        "HostConfig": host,
    }
    if spec.command:
        body["Entrypoint"] = list(spec.command)
    if spec.args:
        body["Cmd"] = list(spec.args)
    if spec.working_dir:
        body["WorkingDir"] = spec.working_dir
    return body


def log_file_bytes(container: Mapping[str, Any]) -> int | None:
    """Return from which size on Docker may have dropped some of a container's log; None: never."""
    config = (container["HostConfig"].get("LogConfig") or {}).get("Config") or {}
    size, files = config.get("max-size", ""), config.get("max-file", "")
    if not (size.isdecimal() and files.isdecimal()):
        return None
    return int(size) * max(1, int(files) - 1)


def observed(container: Mapping[str, Any]) -> ObservedInstance:
    """Return our view of the answer of ``GET /containers/<name>/json``."""
    state, config, host = container["State"], container["Config"], container["HostConfig"]
    seen = STATES[state["Status"]]
    ended = seen is InstanceState.EXITED
    started_at = parse_time(state.get("StartedAt"))
    finished_at = parse_time(state.get("FinishedAt")) if ended else None
    if started_at is not None and finished_at is not None:
        # Docker notes the start after the process runs: a quick one has ended before.
        finished_at = max(started_at, finished_at)
    return ObservedInstance(
        name=container["Name"].removeprefix("/"),
        labels=config.get("Labels") or {},
        state=seen,
        exit_code=state["ExitCode"] if ended else None,
        oom_killed=bool(state.get("OOMKilled")),
        error=_start_error(state.get("Error") or ""),
        started_at=started_at,
        finished_at=finished_at,
        cpus=parse_cpulist(host.get("CpusetCpus") or ""),
        memory_bytes=host.get("Memory") or None,
        gpu_uuids=tuple(
            uuid
            for request in host.get("DeviceRequests") or ()
            for uuid in request.get("DeviceIDs") or ()
        ),
        stop_grace_seconds=10 if config.get("StopTimeout") is None else config["StopTimeout"],
    )


def gives_gpus_to_all(info: Mapping[str, Any]) -> bool:
    """Tell by the answer of ``GET /info`` whether Docker's default runtime is NVIDIA's."""
    default = info.get("DefaultRuntime") or ""
    runtime = (info.get("Runtimes") or {}).get(default) or {}
    return "nvidia" in default or "nvidia" in (runtime.get("path") or "")


def available_cpus(refusal: str) -> tuple[int, ...] | None:
    """Return the cores in Docker's refusal of ``IMPOSSIBLE_BODY``; None: it says something else."""
    match = _AVAILABLE_CPUS.search(refusal)
    return parse_cpulist(match[1]) if match else None


def listed(entry: Mapping[str, Any]) -> ObservedInstance | None:
    """Return what an entry of Docker's list shows, which is little; None: it has no name."""
    # By a link (``--link``) a container has names below those of others, too.
    names = [name for name in entry.get("Names") or () if name.rfind("/") <= 0]
    if not names:
        return None
    return ObservedInstance(
        name=names[0].removeprefix("/"),
        labels=entry.get("Labels") or {},
        state=STATES.get(entry["State"], InstanceState.UNKNOWN),
    )


def is_ours(container: ObservedInstance, host_name: str) -> bool:
    """Tell whether a container is this host's: its labels and its name agree on it.

    Labels alone prove nothing: ``docker commit`` puts those of the container on the image, and
    Docker those of the image on whatever is run from it.
    """
    parsed = parse_container_name(container.name)
    return (
        parsed is not None
        and container.labels.get(LABEL_HOST) == host_name
        and container.labels.get(LABEL_UID) == parsed[0]
    )


def own_name(container: ObservedInstance, host_name: str) -> str:
    """Return the name under which a container was made here, by its labels; empty: it was not.

    An image can carry these labels, too: see ``is_ours``.
    """
    labels = container.labels
    uid, run = labels.get(LABEL_UID, ""), labels.get(LABEL_RUN, "")
    if labels.get(LABEL_HOST) != host_name or not uid or not run.isdecimal():
        return ""
    return container_name(uid, int(run))


def _start_error(words: str) -> str:
    """Return why a start failed for good; what may pass leaves a container to start again."""
    return words if is_users_fault(0, words) else ""


def parse_time(text: str | None) -> dt.datetime | None:
    """Return Docker's time with its nanoseconds cut to microseconds; the zero time is None."""
    match = _TIME.fullmatch(text or "")
    if match is None or match[1].startswith("0001-"):
        return None
    micros = (match[2] or "")[:6].ljust(6, "0")
    return dt.datetime.fromisoformat(f"{match[1]}.{micros}{match[3]}").astimezone(dt.UTC)


def init_failure(output: bytes) -> str:
    """Return why the container's init could not run the program, or "" when it did.

    With ``Init`` a missing program is no start error: Docker's init (tini) is what starts, says
    so on stderr and exits 127, or 126 for a file that is no program. Nothing else has written
    before it.
    """
    match = _INIT_FAILED.match(output)
    return match[1].decode(errors="replace") if match else ""


def usage(stats: Mapping[str, Any]) -> InstanceUsage | None:
    """Return the counters in the answer of ``GET /containers/<name>/stats``; None: not running."""
    memory = stats.get("memory_stats") or {}
    if "usage" not in memory:
        return None
    details = memory.get("stats") or {}
    # The page cache that the kernel can drop at once is not counted: cgroup v1, then v2.
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))
    return InstanceUsage(
        cpu_seconds=stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9,
        memory_bytes=max(0, memory["usage"] - cache),
        pids=(stats.get("pids_stats") or {}).get("current", 0),
    )


def event(message: Mapping[str, Any]) -> EngineEvent | None:
    """Return our view of an event, or None when it changes nothing that ``observe`` shows.

    An event has the labels of the container, but it is the name that says whether it is ours. Of
    one that was renamed it says little: all is to be looked at.
    """
    action = message.get("Action")
    if action == "rename":
        return EngineEvent(name="", action="")
    name = message.get("Actor", {}).get("Attributes", {}).get("name")
    if action not in _EVENTS or not name or parse_container_name(name) is None:
        return None
    return EngineEvent(name=name, action=action)
