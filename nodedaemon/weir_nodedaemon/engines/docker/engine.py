"""Docker as a container engine.

Calls that end go through the SDK, in threads; streams go through ``docker_stream``. Docker's init
(tini) is the first process of every container, so that signals reach the program and its orphans
are reaped.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote

from weir_crds.names import LABEL_HOST
from weir_nodedaemon.engines.docker import objects as docker_objects
from weir_nodedaemon.engines.docker import refusals as docker_refusals
from weir_nodedaemon.engines.docker.frames import FrameDecoder, skip
from weir_nodedaemon.engines.docker.leftovers import Leftovers
from weir_nodedaemon.engines.docker.refusals import RefusedError, may_pass, pull_is_hopeless
from weir_nodedaemon.engines.docker.sdk import APIClient, Lane, registry_header, split_reference
from weir_nodedaemon.engines.docker.stream import StreamClient, json_lines
from weir_nodedaemon.engines.port import (
    ContainerCreateError,
    ContainerGoneError,
    ContainerSpec,
    ContainerState,
    ContainerUsage,
    EngineEvent,
    EngineInfo,
    EngineUnavailableError,
    ImagePullError,
    LogChunk,
    ObservedContainer,
)
from weir_nodedaemon.machine.cpulist import format_cpulist

T = TypeVar("T")

_LOOK_THREADS = 8
_ACT_THREADS = 16
_USAGE_THREADS = 16  # before version 23, Docker answers for usage only once a second
_CONFLICT_SECONDS = 0.05
_INIT_EXIT_CODES = (126, 127)
_INIT_OUTPUT_BYTES = 4096
# In these states nothing that we show changes any more without a change of the state.
_SETTLED = (ContainerState.RUNNING, ContainerState.PAUSED, ContainerState.EXITED)
_ALIVE = (ContainerState.RUNNING, ContainerState.PAUSED)
_ENDED = (ContainerState.EXITED, ContainerState.REMOVING)


class DockerEngine:
    """The containers of one Docker that carry the label ``weir.dev/host=<host_name>``."""

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
        self._host_name = host_name
        self._look = Lane(base_url, "look", _LOOK_THREADS, look_seconds)
        self._act = Lane(base_url, "act", _ACT_THREADS, act_seconds)
        self._usage = Lane(base_url, "usage", _USAGE_THREADS, look_seconds)
        self._pull_silence_seconds = pull_silence_seconds
        self._streams = StreamClient(base_url, self._api_version, look_seconds)
        self._settled: dict[str, ObservedContainer] = {}  # by Docker's id
        self._unstarted: set[str] = set()  # made here and never started: no need to look first
        self._leftovers = Leftovers()
        self._ours: set[str] = set()  # seen or made here: no need to look whose it is
        self._updates = 0  # a look that began before an update is not remembered

    async def info(self) -> EngineInfo:
        """Return Docker's version, the cores that it knows, and where it keeps all."""
        found = await self._ask(lambda client: client.info())
        return EngineInfo(
            name="docker",
            version=found["ServerVersion"],
            cpus=await self._available_cpus(),
            root_dir=found.get("DockerRootDir") or "",
        )

    async def observe(self) -> dict[str, ObservedContainer]:
        """Return all containers of this host, by name; costs one request when nothing changed."""
        label = {"label": [f"{LABEL_HOST}={self._host_name}"]}
        listed = await self._ask(lambda client: client.containers(all=True, filters=label))
        for gone in self._settled.keys() - {entry["Id"] for entry in listed}:
            del self._settled[gone]
        seen = await asyncio.gather(*(self._refresh(entry) for entry in listed))
        found = {container.name: container for container in seen if container is not None}
        self._ours &= found.keys()
        return found

    async def inspect(self, name: str) -> ObservedContainer | None:
        """Return one container of this host, or None."""
        container = await self._inspect(name)
        return container if container is not None and container.name == name else None

    async def has_image(self, image: str) -> bool:
        """Tell whether the image is on the host; a name that is no image name is not."""
        try:
            await self._look.call(lambda client: client.inspect_image(image))  # type: ignore[no-untyped-call]
        except RefusedError as exc:
            if exc.status in (400, 404):
                return False
            raise _unavailable(exc) from exc
        return True

    async def pull(self, image: str) -> None:
        """Pull an image; raises ImagePullError. Cancelling the call ends the pull."""
        repository, tag, registry = split_reference(image)
        header = await self._ask(lambda client: registry_header(client, registry))
        try:
            async with (
                self._streams.open(
                    "POST",
                    "/images/create",
                    params={"fromImage": repository, "tag": tag},
                    headers={"X-Registry-Auth": header} if header else None,
                    answer_seconds=self._pull_silence_seconds,
                    silence_seconds=self._pull_silence_seconds,
                ) as pieces,
                aclosing(json_lines(pieces)) as messages,
            ):
                async for message in messages:
                    if "error" in message:
                        words = str(message["error"])
                        raise ImagePullError(words, permanent=pull_is_hopeless(words))
        except EngineUnavailableError as exc:
            await self.info()  # it may be Docker that is away, not the registry
            raise ImagePullError(f"the pull stood still: {exc}", permanent=False) from exc
        except RefusedError as exc:
            hopeless = pull_is_hopeless(str(exc), exc.status)
            raise ImagePullError(str(exc), permanent=hopeless) from exc

    async def create(self, spec: ContainerSpec) -> None:
        """Create a container; one that exists under that name already is left as it is."""
        body = docker_objects.create_body(spec, self._host_name)
        try:
            await self._act.call(
                lambda client: client.create_container_from_config(  # type: ignore[no-untyped-call]
                    body, name=spec.name
                )
            )
            self._unstarted.add(spec.name)
            self._ours.add(spec.name)
        except RefusedError as exc:
            if exc.status == 409:
                return await self._settle_conflict(spec.name)
            if exc.status == 404 and "no such image" in str(exc).lower():
                raise ImagePullError(str(exc), permanent=False) from exc
            if exc.status >= 500 or may_pass(str(exc)):
                raise _unavailable(exc) from exc
            raise ContainerCreateError(str(exc)) from exc

    async def start(self, name: str) -> None:
        """Start a created container; a running or ended one is left as it is."""
        if name in self._unstarted:
            self._unstarted.discard(name)
        elif (await self._known(name)).state is not ContainerState.CREATED:
            return  # Docker would run an ended one again
        elif await self._leftovers.clear_before_start(name):
            await self.remove(name)
            raise ContainerGoneError(f"Docker died in the start of {name}: another one is needed")
        try:
            await self._act.call(lambda client: client.start(name))
        except RefusedError as exc:
            if docker_refusals.is_leftover(str(exc)):
                await self.remove(name)
                raise ContainerGoneError(str(exc)) from exc
            if exc.status == 404 and "no such container" in str(exc).lower():
                raise ContainerGoneError(str(exc)) from exc
            if exc.status == 503 or may_pass(str(exc)):
                raise _unavailable(exc) from exc
            raise ContainerCreateError(str(exc)) from exc

    async def pause(self, name: str) -> None:
        """Freeze a running container; one in any other state is left as it is."""
        if (await self._known(name)).state is ContainerState.RUNNING:
            await self._change(name, lambda client: client.pause(name), ContainerState.RUNNING)

    async def resume(self, name: str) -> None:
        """Thaw a paused container; one in any other state is left as it is."""
        if (await self._known(name)).state is ContainerState.PAUSED:
            await self._change(name, lambda client: client.unpause(name), ContainerState.PAUSED)

    async def signal(self, name: str, signal_number: int) -> None:
        """Send a signal to the container's program, and thaw it; see the port."""
        seen = await self.inspect(name)
        if seen is None or seen.state not in _ALIVE:
            return
        with suppress(ContainerGoneError):
            await self._change(name, lambda client: client.kill(name, signal_number), *_ALIVE)
            if seen.state is ContainerState.PAUSED:
                await self.resume(name)

    async def remove(self, name: str) -> None:
        """Remove a container, killing it if it runs; a missing one is no error."""
        if name not in self._ours and await self.inspect(name) is None:
            return
        self._unstarted.discard(name)
        self._ours.discard(name)
        await self._leftovers.clear(name)
        try:
            await self._act.call(lambda client: client.remove_container(name, v=True, force=True))
        except RefusedError as exc:
            if exc.status != 404 and "already in progress" not in str(exc):
                raise _unavailable(exc) from exc

    async def update_cpus(self, name: str, cpus: tuple[int, ...]) -> None:
        """Move a container to these cores; an ended one is left as it is."""
        if (await self._known(name)).state in _ENDED:
            return
        cores = format_cpulist(cpus)
        try:
            await self._change(
                name,
                lambda client: client.update_container(name, cpuset_cpus=cores),
                ContainerState.CREATED,
                *_ALIVE,
            )
        finally:
            self._updates += 1
            settled = self._settled.items()
            self._settled = {id: seen for id, seen in settled if seen.name != name}

    async def logs(self, name: str, *, follow: bool = False) -> AsyncGenerator[LogChunk, None]:
        """Yield the container's output from its beginning; with follow until it ends."""
        await self._known(name)
        told = 0
        try:
            async with aclosing(self._logs(name, follow=follow)) as chunks:
                async for chunk in chunks:
                    told += len(chunk.data)
                    yield chunk
            if follow:
                # A follower in Docker 20.10 may end before it has read what was written last.
                async with aclosing(self._logs(name, follow=False)) as chunks:
                    async for chunk in skip(chunks, told):
                        yield chunk
        except RefusedError as exc:
            if exc.status not in (404, 409):
                raise _unavailable(exc) from exc
            if not told:
                raise ContainerGoneError(str(exc)) from exc

    async def events(self) -> AsyncGenerator[EngineEvent, None]:
        """Yield events of this host's containers, after a first one that says: look at all."""
        label = f"{LABEL_HOST}={self._host_name}"
        filters = json.dumps({"type": ["container"], "label": [label]})
        try:
            async with (
                self._streams.open("GET", "/events", params={"filters": filters}) as pieces,
                aclosing(json_lines(pieces)) as messages,
            ):
                yield EngineEvent(name="", action="")
                async for message in messages:
                    event = docker_objects.event(message)
                    if event is not None:
                        yield event
        except RefusedError as exc:
            raise _unavailable(exc) from exc

    async def usage(self, name: str) -> ContainerUsage | None:
        """Return what a running container has used; None when it does not run."""
        seen = await self.inspect(name)
        if seen is None or seen.state not in _ALIVE:
            return None
        try:
            stats = await self._usage.call(
                lambda client: client.stats(name, stream=False, one_shot=True)
            )
        except RefusedError as exc:
            if exc.status == 404:
                return None
            raise _unavailable(exc) from exc
        return docker_objects.usage(stats)

    async def close(self) -> None:
        """Cut the streams and let the threads end."""
        await self._streams.close()
        self._look.close()
        self._act.close()
        self._usage.close()

    async def _available_cpus(self) -> tuple[int, ...] | None:
        """Return the cores that Docker can give a container, by what it says when it lacks one.

        No other answer tells which they are: it asks for a core that no machine has, of an image
        that nobody has.
        """
        try:
            await self._look.call(
                lambda client: client.create_container_from_config(  # type: ignore[no-untyped-call]
                    docker_objects.IMPOSSIBLE_BODY
                )
            )
        except RefusedError as exc:
            return docker_objects.available_cpus(str(exc))
        return None

    async def _api_version(self) -> str:
        return (await self._look.client()).api_version

    async def _ask(self, fn: Callable[[APIClient], T]) -> T:
        """Return the result of a look that Docker has no reason to refuse."""
        try:
            return await self._look.call(fn)
        except RefusedError as exc:
            raise _unavailable(exc) from exc

    async def _inspect(self, reference: str) -> ObservedContainer | None:
        """Return the container of this name or Docker id, if it is this host's."""
        updates = self._updates
        raw = await self._raw(reference)
        if raw is None:
            return None
        container = docker_objects.observed(raw)
        if container.labels.get(LABEL_HOST) != self._host_name:
            return None
        self._ours.add(container.name)
        self._leftovers.note(container.name, raw["Id"], container.state)
        if container.exit_code in _INIT_EXIT_CODES:
            container = replace(container, error=await self._init_failure(container.name))
        if container.state in _SETTLED and updates == self._updates:
            self._settled[raw["Id"]] = container
        return container

    async def _raw(self, reference: str) -> Mapping[str, Any] | None:
        """Return Docker's words on any container, whosever it is."""
        try:
            return await self._look.call(lambda client: client.inspect_container(reference))
        except RefusedError as exc:
            if exc.status == 404:
                return None
            raise _unavailable(exc) from exc

    async def _settle_conflict(self, name: str) -> None:
        """Tell what holds a name: a container of ours, which is fine, or somebody else's.

        Docker gives a name away before the container can be seen: an earlier call of ours that
        took too long may still be at work.
        """
        try:
            async with asyncio.timeout(self._act.deadline_seconds):
                raw = await self._raw(name)
                while raw is None:
                    await asyncio.sleep(_CONFLICT_SECONDS)
                    raw = await self._raw(name)
        except TimeoutError as exc:
            raise EngineUnavailableError(f"{name} is being created for long") from exc
        if docker_objects.observed(raw).labels.get(LABEL_HOST) != self._host_name:
            raise ContainerCreateError(f"another container has the name {name}")

    async def _refresh(self, listed: Mapping[str, Any]) -> ObservedContainer | None:
        """Return the container of an entry of Docker's list, asking only when it changed."""
        if docker_objects.STATES.get(listed["State"]) is ContainerState.REMOVING:
            return docker_objects.half_removed(listed)
        known = self._settled.get(listed["Id"])
        if known is not None and known.state is docker_objects.STATES.get(listed["State"]):
            return known
        return await self._inspect(listed["Id"])

    async def _known(self, name: str) -> ObservedContainer:
        container = await self.inspect(name)
        if container is None:
            raise ContainerGoneError(f"no container {name}")
        return container

    async def _change(
        self, name: str, fn: Callable[[APIClient], object], *states: ContainerState
    ) -> None:
        """Act on a container; a refusal counts only while it still is in one of these states."""
        try:
            await self._act.call(fn)
        except RefusedError as exc:
            if (await self._known(name)).state in states:
                raise _unavailable(exc) from exc

    async def _init_failure(self, name: str) -> str:
        output = b""
        try:
            async with aclosing(self._logs(name, follow=False)) as chunks:
                async for chunk in chunks:
                    output += chunk.data
                    if len(output) > _INIT_OUTPUT_BYTES:
                        break
        except RefusedError:
            return ""  # one container whose log is broken must not hide all the others
        return docker_objects.init_failure(output)

    async def _logs(self, name: str, *, follow: bool) -> AsyncGenerator[LogChunk, None]:
        decoder = FrameDecoder()
        params = {"stdout": "1", "stderr": "1", "follow": "1" if follow else "0"}
        path = f"/containers/{quote(name, safe='')}/logs"
        async with self._streams.open("GET", path, params=params) as pieces:
            async for piece in pieces:
                for chunk in decoder.feed(piece):
                    yield chunk


def _unavailable(exc: RefusedError) -> EngineUnavailableError:
    return EngineUnavailableError(f"Docker answered {exc.status}: {exc}")
