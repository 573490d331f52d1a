"""Finds out whether containers can be started on this host again."""

import uuid
from collections.abc import Callable
from dataclasses import replace

from weir_crds.names import LABEL_CPU_POOL, container_name, identity_labels
from weir_nodedaemon.engines.port import ContainerEngine, ContainerSpec
from weir_nodedaemon.instances.holdings import SHARED

# Not in any image: the container starts, and its init ends at once, which is all that is asked.
_PROGRAM = "/weir-probe"
_PIDS = 64
_NAMESPACE = uuid.UUID(
    "6f3a5c0e-2d53-4d0b-9d5c-7a1f0e9b8c41"
)  # any; no object's uid is of this make


class StartProbe:
    """Starts a container as those are started that fail, and removes it.

    It asks for what that one had of the host: network, limits, NUMA node, GPUs; and for cores, but
    those of the shared pool, as others may have that one's for themselves by now, like its GPUs.
    """

    def __init__(
        self,
        engine: ContainerEngine,
        host_name: str,
        *,
        pool: Callable[[], tuple[int, ...]],
        free_gpus: Callable[[tuple[str, ...]], tuple[str, ...]],
    ) -> None:
        """Use the containers of ``engine``.

        Args:
            engine: makes them.
            host_name: whose they are.
            pool: returns the cores of the shared pool now.
            free_gpus: returns those of some GPUs that are there and in nobody's use.
        """
        self._engine = engine
        self._host_name = host_name
        self._pool = pool
        self._free_gpus = free_gpus
        self.name = container_name(str(uuid.uuid5(_NAMESPACE, host_name)), 0)
        """Always the same: what an earlier daemon has left is found by it."""
        self.like: ContainerSpec | None = None
        """The last one whose start failed."""

    async def __call__(self) -> None:
        """Start and remove one; nothing where that image is gone: the next Task is the probe then.

        Raises:
            WeirError: it could not be started.
        """
        like = self.like
        if like is None or not await self._engine.has_image(like.image):
            return
        await self.clear()
        labels = identity_labels(self.name, self._host_name)
        try:
            await self._engine.create(
                replace(
                    like,
                    name=self.name,
                    labels={**labels, LABEL_CPU_POOL: SHARED},
                    command=(_PROGRAM,),
                    args=None,
                    working_dir=None,
                    env={},
                    cpus=self._pool(),
                    pids_limit=_PIDS,
                    mounts=(),
                    privileged=False,
                    gpu_uuids=self._free_gpus(like.gpu_uuids),
                    stop_grace_seconds=0,
                )
            )
            await self._engine.start(self.name)
        finally:
            await self._engine.remove(self.name)

    async def clear(self) -> None:
        """Remove what a daemon that died in a probe has left; raises WeirError."""
        await self._engine.remove(self.name)
