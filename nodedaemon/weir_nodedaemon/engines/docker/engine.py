"""Docker as a container engine."""

from weir_crds.conditions import ConditionType
from weir_nodedaemon.engines.docker.client import DockerClient, socket_of
from weir_nodedaemon.engines.docker.images import DockerImages
from weir_nodedaemon.engines.docker.lifecycle import DockerLifecycle
from weir_nodedaemon.engines.docker.sdk import Credentials
from weir_nodedaemon.engines.engine_type import EngineSettings, EngineType
from weir_nodedaemon.machine.cgroup import peer_of


class DockerEngine(DockerLifecycle, DockerImages):
    """The containers of one Docker that are this host's, its images, and their output."""

    def __init__(
        self,
        host_name: str,
        base_url: str = "unix:///var/run/docker.sock",
        *,
        look_seconds: float = 15.0,
        act_seconds: float = 60.0,
        pull_silence_seconds: float = 300.0,
    ) -> None:
        """Connect at the first call.

        Args:
            host_name: the Host whose containers these are; several Hosts may share a Docker.
            base_url: ``unix://<path>`` or ``tcp://<address>:<port>``.
            look_seconds: deadline of calls that only read.
            act_seconds: deadline of calls that change a container.
            pull_silence_seconds: longest time that a pull may make no progress.
        """
        client = DockerClient(base_url, read_seconds=look_seconds, change_seconds=act_seconds)
        super().__init__(client, host_name)
        self.credentials = Credentials(look_seconds)
        self.pull_silence_seconds = pull_silence_seconds

    async def close(self) -> None:
        """Cut the connections and let the threads end."""
        await self._presence.close()
        await self._client.close()
        self.credentials.close()


def _peer(chosen: EngineSettings) -> int | None:
    """Return the process of a Docker on this machine; None: it is elsewhere, or does not answer."""
    socket = socket_of(chosen.docker_host)
    return None if socket is None else peer_of(socket)


DOCKER = EngineType(
    name="docker",
    ready_condition=ConditionType.DOCKER_READY,
    make=lambda chosen: DockerEngine(chosen.host_name, chosen.docker_host),
    peer=_peer,
    uses_gpus=True,
)
