"""Docker's images: what is there, and what is pulled."""

from contextlib import aclosing
from urllib.parse import quote

from weir_nodedaemon.engines.docker.client import DockerPart, json_lines
from weir_nodedaemon.engines.docker.refusals import RefusedError, pull_is_hopeless, refusal
from weir_nodedaemon.engines.docker.sdk import Credentials, split_reference
from weir_nodedaemon.engines.port import EngineUnavailableError, ImagePullError


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

    async def pull(self, image: str) -> None:
        """Pull an image; raises ImagePullError. Cancelling the call ends the pull."""
        repository, tag, registry = split_reference(image)
        header = await self.credentials.header(registry)
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
                        words = str(message["error"])
                        raise ImagePullError(words, permanent=pull_is_hopeless(words))
        except EngineUnavailableError as exc:
            await self._client.version()  # it may be Docker that is away, not the registry
            raise ImagePullError(f"the pull stood still: {exc}", permanent=False) from exc
        except RefusedError as exc:
            hopeless = pull_is_hopeless(str(exc), exc.status)
            raise ImagePullError(str(exc), permanent=hopeless) from exc
