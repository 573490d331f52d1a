"""The only door to the Docker SDK: its threads, deadlines and exceptions stay behind it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import requests
from docker import APIClient, auth, errors
from docker.utils import parse_repository_tag

from weir_nodedaemon.engines.blocking import run_blocking
from weir_nodedaemon.engines.docker.refusals import RefusedError
from weir_nodedaemon.engines.port import EngineUnavailableError, ImagePullError

__all__ = ["APIClient", "Lane", "registry_header", "split_reference"]

T = TypeVar("T")

_LIBRARY_SHARE = 0.8  # of the deadline is the SDK's own timeout: its words are better than ours


class Lane:
    """Threads and connections with one deadline, so that slow actions never hold up a look."""

    def __init__(self, base_url: str, name: str, threads: int, deadline_seconds: float) -> None:
        """Connect at the first call."""
        self.deadline_seconds = deadline_seconds
        self._base_url = base_url
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"docker-{name}")
        self._client: APIClient | None = None

    async def client(self) -> APIClient:
        """Return the connected SDK client, which speaks the API version that Docker has."""
        client = self._client
        if client is None:
            client = self._client = await self._run(self._connect)
        return client

    async def call(self, fn: Callable[[APIClient], T]) -> T:
        """Return the result of one request.

        Raises:
            RefusedError: Docker answered with an error.
            EngineUnavailableError: it did not answer.
        """
        client = await self.client()
        return await self._run(lambda: fn(client))

    def close(self) -> None:
        """Let the threads end; calls that still wait for one never run."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            self._client.close()

    def _connect(self) -> APIClient:
        return APIClient(
            self._base_url,
            version="auto",
            timeout=self.deadline_seconds * _LIBRARY_SHARE,  # type: ignore[arg-type]
        )

    async def _run(self, fn: Callable[[], T]) -> T:
        try:
            return await run_blocking(self._pool, self.deadline_seconds, fn)
        except errors.APIError as exc:
            raise RefusedError(exc.status_code or 0, exc.explanation or str(exc)) from exc
        except (errors.DockerException, requests.RequestException, OSError) as exc:
            self._client = None  # the Docker that comes back may speak another version
            raise EngineUnavailableError(f"Docker does not answer: {exc}") from exc


def split_reference(image: str) -> tuple[str, str, str]:
    """Return an image's repository, its tag or digest, and its registry.

    Raises:
        ImagePullError: it is no name of an image; permanent.
    """
    repository, tag = parse_repository_tag(image)
    if not repository:  # Docker would ask a registry without a name
        raise ImagePullError(f"invalid reference format: {image!r}", permanent=True)
    try:
        registry, _ = auth.resolve_repository_name(repository)
    except errors.DockerException as exc:
        raise ImagePullError(str(exc), permanent=True) from exc
    return repository, tag or "latest", registry


def registry_header(client: APIClient, registry: str) -> str:
    """Return Docker's own stored credentials for a registry, as its header wants them, or ""."""
    client.reload_config()  # somebody may have logged in since
    header = auth.get_config_header(client, registry)
    return header.decode() if header else ""
