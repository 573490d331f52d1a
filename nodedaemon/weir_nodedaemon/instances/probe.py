"""Finds out whether containers can be started on this host again."""

import uuid

from weir_crds.names import container_name, identity_labels
from weir_nodedaemon.engines.port import ContainerEngine, ContainerSpec

# Not in any image: the container starts, and its init ends at once, which is all that is asked.
_PROGRAM = "/weir-probe"
_PIDS = 64
_NAMESPACE = uuid.UUID(
    "6f3a5c0e-2d53-4d0b-9d5c-7a1f0e9b8c41"
)  # any; no object's uid is of this make


class StartProbe:
    """Starts a container as those are started that fail, and removes it."""

    def __init__(self, engine: ContainerEngine, host_name: str) -> None:
        """Use the containers of ``engine``."""
        self._engine = engine
        self._host_name = host_name
        self.name = container_name(str(uuid.uuid5(_NAMESPACE, host_name)), 0)
        """Always the same: what an earlier daemon has left is found by it."""
        self.image = ""
        """That of the last start that failed."""

    async def __call__(self) -> None:
        """Start and remove one; nothing where that image is gone: the next Task is the probe then.

        Raises:
            WeirError: it could not be started.
        """
        if not self.image or not await self._engine.has_image(self.image):
            return
        await self.clear()
        try:
            await self._engine.create(
                ContainerSpec(
                    name=self.name,
                    image=self.image,
                    labels=identity_labels(self.name, self._host_name),
                    command=(_PROGRAM,),
                    pids_limit=_PIDS,
                    stop_grace_seconds=0,
                )
            )
            await self._engine.start(self.name)
        finally:
            await self._engine.remove(self.name)

    async def clear(self) -> None:
        """Remove what a daemon that died in a probe has left; raises WeirError."""
        await self._engine.remove(self.name)
