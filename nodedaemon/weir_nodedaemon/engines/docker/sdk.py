"""The only door to the Docker SDK: names of images, and stored credentials."""

from concurrent.futures import ThreadPoolExecutor

from docker import auth, errors
from docker.utils import parse_repository_tag

from weir_nodedaemon.engines.blocking import run_blocking
from weir_nodedaemon.engines.port import EngineUnavailableError, ImagePullError


class LoginUnreadableError(Exception):
    """What is stored cannot be read: a broken file, or a helper program that fails."""


class Credentials:
    """What somebody's ``docker login`` on this host has stored."""

    def __init__(self, deadline_seconds: float) -> None:
        """Ask helper programs for no longer than this."""
        self._deadline_seconds = deadline_seconds
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="docker-credentials")

    async def header(self, registry: str) -> str:
        """Return the credentials for a registry, as Docker's header wants them, or "".

        Raises:
            LoginUnreadableError: they cannot be read, or a helper program did not answer in time.
        """
        try:
            return await run_blocking(self._pool, self._deadline_seconds, lambda: _header(registry))
        except EngineUnavailableError as exc:
            raise LoginUnreadableError(f"the credential helper: {exc}") from exc
        except Exception as exc:  # of the SDK's, a helper's or a parser's, as they come
            raise LoginUnreadableError(f"{type(exc).__name__}: {exc}") from exc

    def close(self) -> None:
        """Let the threads end; calls that still wait for one never run."""
        self._pool.shutdown(wait=False, cancel_futures=True)


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


def _header(registry: str) -> str:
    stored = auth.load_config()  # at each pull: somebody may have logged in since
    found = auth.resolve_authconfig(stored, registry)
    return auth.encode_header(found).decode() if found else ""
