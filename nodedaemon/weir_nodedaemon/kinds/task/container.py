"""What container a Task's run becomes. Pure."""

from collections.abc import Mapping
from typing import Any

from weir_crds import names
from weir_crds.kinds import TASK
from weir_crds.task import TaskSpec
from weir_nodedaemon.engines.port import ContainerDefaults, ContainerSpec, Mount
from weir_nodedaemon.instances.fence_limits import fence_labels
from weir_nodedaemon.instances.holdings import EXCLUSIVE, SHARED, Claim


def claim_of(spec: TaskSpec, status: Mapping[str, Any]) -> Claim:
    """Return what the run needs for itself on this host."""
    return Claim(
        cpus=frozenset(status.get("cpus") or ()),
        memory_bytes=spec.resources.memory_bytes or 0,
        gpu_uuids=frozenset(gpu["uuid"] for gpu in status.get("gpus") or ()),
    )


def container_spec(
    task: Mapping[str, Any],
    spec: TaskSpec,
    env: Mapping[str, str],
    *,
    defaults: ContainerDefaults,
    pool: tuple[int, ...],
    memory_nodes: frozenset[int],
) -> ContainerSpec:
    """Return the container of the Task's current run.

    Args:
        task: the whole object, bound.
        spec: its spec.
        env: its environment, with every reference resolved.
        defaults: what all containers of this host have.
        pool: the cores of the shared pool now.
        memory_nodes: the NUMA nodes that have memory; a container can be tied to no other.
    """
    metadata, status = task["metadata"], task["status"]
    uid, run = metadata["uid"], status["runID"]
    cpus = tuple(sorted(status.get("cpus") or ()))
    numa_node = status.get("numaNode")
    layer = spec.resources.layer_bytes
    return ContainerSpec(
        name=names.container_name(uid, run),
        image=spec.image,
        labels={
            names.LABEL_UID: uid,
            names.LABEL_NAMESPACE: metadata["namespace"],
            names.LABEL_NAME: metadata["name"],
            names.LABEL_RUN: str(run),
            names.LABEL_HOST: defaults.host,
            names.LABEL_KIND: TASK.kind,
            names.LABEL_CPU_POOL: EXCLUSIVE if cpus else SHARED,
            **({} if layer is None else {names.LABEL_LAYER_LIMIT: str(layer)}),
            **fence_labels(task["spec"]),
        },
        command=None if spec.command is None else tuple(spec.command),
        args=None if spec.args is None else tuple(spec.args),
        working_dir=spec.working_dir,
        env=env,
        cpus=cpus or pool,
        memory_nodes=(numa_node,) if numa_node in memory_nodes else (),
        cpu_millis=None if cpus else spec.resources.shared_millis or None,
        memory_bytes=spec.resources.memory_bytes,
        shm_bytes=spec.resources.shm_bytes,
        layer_bytes=layer,
        pids_limit=spec.resources.pids or defaults.pids_limit,
        mounts=tuple(
            Mount(mount.host_path, mount.mount_path, mount.read_only) for mount in spec.mounts or ()
        ),
        privileged=spec.privileged,
        network_mode=spec.network.mode,
        gpu_uuids=tuple(gpu["uuid"] for gpu in status.get("gpus") or ()),
        stop_grace_seconds=spec.stop_grace_seconds,
    )
