"""The parts of the daemon, put together in one place."""

import asyncio
import contextlib
import logging
from collections.abc import Collection
from functools import partial

from weir_crds import names
from weir_crds.host import LEASE_SECONDS
from weir_crds.kinds import TASK
from weir_crds.quantities import format_bytes
from weir_kube.connect import connect
from weir_kube.http import HealthServer
from weir_kube.lease import Heartbeat
from weir_kube.process import uptime, version
from weir_kube.store import Store
from weir_nodedaemon.daemon import Daemon
from weir_nodedaemon.engines.port import ContainerDefaults
from weir_nodedaemon.host.status import HostIdentity
from weir_nodedaemon.instances.contact import Contact
from weir_nodedaemon.instances.machinery import Machinery
from weir_nodedaemon.kinds import KINDS
from weir_nodedaemon.logs import LogStore
from weir_nodedaemon.machine import cgroup
from weir_nodedaemon.machine import identity as machine
from weir_nodedaemon.machine.capacity import CapacityWatch, MachineCapacity, Share, capacity
from weir_nodedaemon.machine.cpulist import format_cpulist
from weir_nodedaemon.machine.disk import DiskWatch
from weir_nodedaemon.machine.gpus.nvml_probe import NvmlProbe
from weir_nodedaemon.machine.gpus.port import NoGpus
from weir_nodedaemon.machine.gpus.watch import GpuMemory, GpuWatch
from weir_nodedaemon.machine.temperatures import CpuSensors
from weir_nodedaemon.server import DaemonServer, load_or_create
from weir_nodedaemon.server.routes.stats import Stats, sample_host
from weir_nodedaemon.settings import Settings

logger = logging.getLogger(__name__)

_CONNECTIONS = 16  # each costs both sides a TLS handshake, and a fleet opens them at once


async def serve(chosen: Settings) -> None:
    """Connect, register this host, act; until cancelled."""
    async with contextlib.AsyncExitStack() as stack:
        agent = f"weir-nodedaemon/{version()}"
        api = await connect(chosen.kubeconfig, user_agent=agent, connections=_CONNECTIONS)
        await stack.enter_async_context(api)
        # The life sign waits for no other request.
        lease_api = await connect(chosen.kubeconfig, user_agent=agent, connections=1)
        await stack.enter_async_context(lease_api)
        engine = chosen.engine.make(chosen)
        stack.push_async_callback(engine.close)
        logs = LogStore(chosen.state_dir / "logs", chosen.log_limit_bytes)
        address = chosen.advertise_address or machine.default_address()
        certificate = load_or_create(chosen.state_dir, [chosen.host_name, address, "localhost"])
        capacity_watch = watch_capacity(chosen)
        info = machine.info(version())
        contact = Contact(chosen.state_dir / "contact.json", info["bootID"])
        stack.push_async_callback(contact.close)
        heartbeat = Heartbeat(
            lease_api,
            names.SYSTEM_NAMESPACE,
            chosen.host_name,
            chosen.host_name,
            duration_seconds=LEASE_SECONDS,
            clock=uptime,
            renewed=contact.uptime,
            on_renewed=contact.note,
        )
        machinery = Machinery(
            api=api,
            containers=engine,
            engine_type=chosen.engine,
            capacity=capacity_watch,
            defaults=ContainerDefaults(
                chosen.host_name,
                chosen.pids_limit,
                chosen.always_pull_images,
            ),
            logs=logs,
            state_dir=chosen.state_dir,
            lease_age=lambda: heartbeat.age_seconds,
        )
        kinds = [kind(machinery) for kind in KINDS]
        hosts, tasks = Store(), next(kind.store for kind in kinds if kind.kind is TASK)
        gpus = watch_gpus(chosen, info["bootID"])
        server = DaemonServer(
            api,
            hosts,
            {kind.kind: kind.store for kind in kinds if kind.output is not None},
            logs,
            Stats(
                engine,
                tasks.list,
                gpus=gpus.figures,
                sample=partial(sample_host, CpuSensors(chosen.sysfs_root)),
            ),
            host_name=chosen.host_name,
            listen=chosen.listen,
            certificate=certificate,
        )
        port = await server.start()
        stack.push_async_callback(server.close)
        identity = HostIdentity(
            name=chosen.host_name,
            host_id=machine.host_id(chosen.state_dir, chosen.host_name),
            endpoint={
                "url": machine.endpoint_url(address, port),
                "fingerprint": certificate.fingerprint,
            },
            addresses=machine.addresses(address, chosen.host_name),
            info=info,
            labels={"kubernetes.io/hostname": chosen.host_name},
        )
        daemon = Daemon(
            machinery,
            kinds,
            identity=identity,
            hosts=hosts,
            gpus=gpus,
            disk=DiskWatch(chosen.state_dir, chosen.min_free_disk_bytes),
        )
        health = HealthServer(
            chosen.metrics_listen,
            {
                "tasks": lambda: daemon.has_synced or "the Tasks of this host are not known yet",
                "engine": lambda: daemon.engine_ready or "the engine does not answer",
                "lease": lambda: heartbeat.age_seconds < LEASE_SECONDS,
            },
        )
        await stack.enter_async_context(health)
        found = capacity_watch.current
        cores, memory = format_cpulist(found.cpus), format_bytes(found.memory_bytes)
        logger.info(
            "host=%s version=%s cores=%s memory=%s", identity.name, version(), cores, memory
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(heartbeat.run(), name="heartbeat")
            group.create_task(daemon.run(), name="daemon")


def watch_capacity(chosen: Settings) -> CapacityWatch:
    """Return what looks at the cores and the memory that were chosen."""
    share = Share(chosen.cpus, chosen.memory_bytes, smt=chosen.smt)

    def read(engine_cpus: Collection[int] | None) -> MachineCapacity:
        limits = cgroup.shared_limits(chosen.engine.peer(chosen), sysfs_root=chosen.sysfs_root)
        return capacity(chosen.sysfs_root, share=share, cgroup=limits, engine_cpus=engine_cpus)

    return CapacityWatch(read)


def watch_gpus(chosen: Settings, boot_id: str) -> GpuWatch:
    """Return what looks at the GPUs that were chosen, if the engine has a use for any."""
    none = not chosen.engine.uses_gpus or chosen.gpus == ()
    probe = NoGpus() if none else NvmlProbe(chosen.sysfs_root)
    memory = GpuMemory(chosen.state_dir / "gpus.json", boot_id)
    return GpuWatch(probe, memory, only=() if none else chosen.gpus)
