"""Docker's images: what is there, and what is pulled."""

from collections.abc import Sequence
from contextlib import aclosing
from urllib.parse import quote

from weir_nodedaemon.engines.docker.client import DockerPart, json_lines
from weir_nodedaemon.engines.docker.logins import header_of, logins_for
from weir_nodedaemon.engines.docker.refusals import RefusedError, pull_failure, refusal
from weir_nodedaemon.engines.docker.sdk import (
    Credentials,
    LoginUnreadableError,
    split_reference,
)
from weir_nodedaemon.engines.port import (
    BY_HOST_LOGIN,
    EngineUnavailableError,
    ImagePullError,
    PullAccess,
    RegistryLoginError,
)


class DockerImages(DockerPart):
    """Images of one Docker."""

    credentials: Credentials
    pull_silence_seconds: float

    async def has_image(self, image: str) -> bool:
        """Tell whether the image is on the host; a name that is no image name is not."""
        try:
            await self._client.get(f"/images/{quote(image, safe='/:@')}/json")
        except RefusedError as exc:
            if exc.status in (400, 404):
                return False
            raise refusal(exc) from exc
        return True

    async def pull(self, image: str, access: PullAccess = BY_HOST_LOGIN) -> None:
        """Pull an image; raises ImagePullError. Cancelling the call ends the pull.

        Every login that is for the image is tried, then the host's own; without any, nobody's.
        A stored login that cannot be read keeps no public image away.
        """
        repository, tag, registry = split_reference(image)
        path = repository.removeprefix(f"{registry}/")
        headers = [header_of(login) for login in logins_for(registry, path, access.logins)]
        unreadable = ""
        if access.host_login:
            try:
                stored = await self.credentials.header(registry)
                headers += [stored] if stored else []
            except LoginUnreadableError as exc:
                unreadable = str(exc)
        try:
            await self._pull_with(repository, tag, headers or [""])
        except ImagePullError as exc:
            if not unreadable or not exc.permanent:
                raise
            raise RegistryLoginError(
                f"{exc} (without a login, as the host's own cannot be read: {unreadable})",
                permanent=False,
            ) from exc

    async def _pull_with(self, repository: str, tag: str, headers: Sequence[str]) -> None:
        """Pull with the first of these logins that the registry does not refuse."""
        for header in headers[:-1]:
            try:
                await self._pull(repository, tag, header)
            except ImagePullError as exc:
                if not exc.permanent:
                    raise
            else:
                return
        await self._pull(repository, tag, headers[-1])

    async def _pull(self, repository: str, tag: str, header: str) -> None:
        try:
            async with (
                self._client.stream(
                    "POST",
                    "/images/create",
                    params={"fromImage": repository, "tag": tag},
                    headers={"X-Registry-Auth": header} if header else None,
                    answer_seconds=self.pull_silence_seconds,
                    silence_seconds=self.pull_silence_seconds,
                ) as pieces,
                aclosing(json_lines(pieces)) as messages,
            ):
                async for message in messages:
                    if "error" in message:
                        raise pull_failure(str(message["error"]))
        except EngineUnavailableError as exc:
            await self._client.version()  # it may be Docker that is away, not the registry
            raise ImagePullError(f"the pull stood still: {exc}", permanent=False) from exc
        except RefusedError as exc:
            raise pull_failure(str(exc), exc.status) from exc
