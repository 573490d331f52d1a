"""Containers and images that are to go with their instance."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

import docker
from docker.errors import DockerException, NotFound

from devcluster.console import say

HOST_LABEL = "weir.dev/host"


def remove_containers(docker_host: str, hosts: Collection[str] | None = None) -> None:
    """Remove by force the containers of these hosts of ours; None: all that Docker has."""
    with _if_it_answers(docker_host) as client:
        filters = {} if hosts is None else {"label": HOST_LABEL}
        for container in client.api.containers(all=True, filters=filters):
            if hosts is None or container["Labels"][HOST_LABEL] in hosts:
                with suppress(NotFound):  # whoever ran it removed it
                    client.api.remove_container(container["Id"], force=True, v=True)


def remove_image(docker_host: str, name: str) -> None:
    """Remove an image, unless a container still uses it."""
    with _if_it_answers(docker_host) as client, suppress(NotFound):
        client.api.remove_image(name)


@contextmanager
def _if_it_answers(docker_host: str) -> Iterator[docker.DockerClient]:
    """Yield a client; what a Docker daemon does not do is told and left undone."""
    client = docker.DockerClient(base_url=docker_host, version="1.41", timeout=30)
    try:
        yield client
    except (DockerException, OSError) as exc:
        say(f"something may be left in Docker at {docker_host}: {exc}")
    finally:
        client.close()
