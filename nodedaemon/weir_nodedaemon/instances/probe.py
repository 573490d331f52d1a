"""Finds out whether containers can be started on this host again."""

import uuid

from weir_crds.names import container_name, identity_labels
from weir_nodedaemon.engines.port import ContainerEngine, ContainerSpec

# Not in any image: the container starts, and its init ends at once, which is all that is asked.
_PROGRAM = "/weir-probe"
_PIDS = 64


class StartProbe:
    """Starts a container as those are started that fail, and removes it."""

    def __init__(self, engine: ContainerEngine, host_name: str) -> None:
        """Use the containers of ``engine``."""
        self._engine = engine
        self._host_name = host_name
        self.image = ""
        """That of the last start that failed."""

    async def __call__(self) -> None:
        """Start and remove one; nothing where that image is gone: the next Task is the probe then.

        If the daemon dies in it, the sweep removes the container: no object has its uid.

        Raises:
            WeirError: it could not be started.
        """
        if not self.image or not await self._engine.has_image(self.image):
            return
        name = container_name(str(uuid.uuid4()), 0)
        try:
            await self._engine.create(
                ContainerSpec(
                    name=name,
                    image=self.image,
                    labels=identity_labels(name, self._host_name),
                    command=(_PROGRAM,),
                    pids_limit=_PIDS,
                    stop_grace_seconds=0,
                )
            )
            await self._engine.start(name)
        finally:
            await self._engine.remove(name)
