"""Containers that are to go with their instance."""

from collections.abc import Collection

import docker
from docker.errors import DockerException, NotFound

from devcluster.console import say

HOST_LABEL = "weir.dev/host"


def remove_containers(docker_host: str, hosts: Collection[str] | None = None) -> None:
    """Remove by force the containers of these hosts of ours; None: all that Docker has.

    A Docker daemon that does not answer is left alone.
    """
    try:
        client = docker.DockerClient(base_url=docker_host, timeout=30)
    except DockerException:
        return
    try:
        filters = {} if hosts is None else {"label": HOST_LABEL}
        for container in client.api.containers(all=True, filters=filters):
            if hosts is not None and container["Labels"][HOST_LABEL] not in hosts:
                continue
            try:
                client.api.remove_container(container["Id"], force=True, v=True)
            except NotFound:
                continue  # whoever ran it removed it
    except DockerException as exc:
        say(f"some containers are left at {docker_host}: {exc}")
    finally:
        client.close()
