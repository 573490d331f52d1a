"""The facade as a process with its own account on a real API server."""

import dataclasses
import http.client
import json
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from devcluster.components import Component, facade
from devcluster.identities import Identities
from devcluster.rest import Rest
from support.cluster import Cluster
from support.polling import eventually
from support.process import Process

REGISTER_SECRET = "of the first administrator"


@dataclasses.dataclass(frozen=True)
class Reply:
    """An answer of the facade."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the JSON value that it holds."""
        return json.loads(self.body)


class FacadeProcess:
    """One facade.

    Attributes:
        url: where it serves.
        process: it.
    """

    def __init__(
        self,
        cluster: Cluster,
        *arguments: str,
        identities: Identities | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        component: Component = facade(
            identities or cluster.identities,
            cluster.ports,
            log_level="debug",
            arguments=arguments,
            program=f"weir-api-{uuid.uuid4().hex[:6]}",
        )
        program = dataclasses.replace(
            component.program, env={**component.program.env, **(environ or {})}
        )
        self.url = f"http://127.0.0.1:{cluster.ports.get(program.name)}"
        self.process = Process(program, cluster.state.log_of(program.name))
        self.health = Rest(f"http://{component.health}")

    def start(self) -> None:
        """Start it and wait until it serves."""
        self.process.start()
        serves = Rest(self.url)
        eventually(lambda: serves.answers("/readyz"), self.log, timeout=60)

    def log(self) -> str:
        """Return what it said."""
        return self.process.log.read_text()

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        seconds: float = 60,
    ) -> Reply:
        """Send a request on a connection of its own; bytes as they are, all else as JSON."""
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(
            address.hostname or "", address.port, timeout=seconds
        )
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Content-Type": "application/json"} if content is not None else {}
        try:
            connection.request(method, path, content, given | dict(headers or {}))
            answer = connection.getresponse()
            return Reply(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()
