"""Docker's containers: made, watched, moved on, removed.

Docker's init (tini) is the first process of every container, so that signals reach the program and
its orphans are reaped.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from weir_crds.names import LABEL_HOST, LABEL_UID, OUR_LABELS
from weir_nodedaemon.engines.docker import objects
from weir_nodedaemon.engines.docker.client import container_path, json_lines
from weir_nodedaemon.engines.docker.leftovers import Leftovers
from weir_nodedaemon.engines.docker.logs import DockerLogs
from weir_nodedaemon.engines.docker.refusals import (
    RefusedError,
    is_away,
    is_layer_limit,
    is_leftover,
    is_users_fault,
    refusal,
)
from weir_nodedaemon.engines.port import (
    ContainerSpec,
    CreateRefusedError,
    EngineEvent,
    EngineInfo,
    EngineRefusedError,
    EngineUnavailableError,
    ImagePullError,
    InstanceGoneError,
    InstanceState,
    ObservedInstance,
)
from weir_nodedaemon.machine.cpulist import format_cpulist

logger = logging.getLogger(__name__)

_INSPECT_SECONDS = 5.0  # Docker answers nothing about a container while it starts
_INSPECTIONS = 32
_CONFLICT_SECONDS = 0.05
_INIT_EXIT_CODES = (126, 127)
# In these states nothing that we show changes any more without a change of the state.
_STABLE = (InstanceState.RUNNING, InstanceState.PAUSED, InstanceState.EXITED)
_ALIVE = (InstanceState.RUNNING, InstanceState.PAUSED)
_ENDED = (InstanceState.EXITED, InstanceState.REMOVING)


class DockerLifecycle(DockerLogs):
    """The containers of one Docker that are this host's; see ``objects.is_ours``."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Begin as ``DockerPart``, with nothing seen."""
        super().__init__(*args, **options)
        self._stable: dict[str, ObservedInstance] = {}  # by Docker's id
        self._unstarted: set[str] = set()  # made here and never started: no need to look first
        self._leftovers = Leftovers()
        self._ours: set[str] = set()  # seen or made here: no need to look whose it is
        self._theirs: set[str] = set()  # Docker's ids of what is run from images of ours
        self._updates = 0  # an inspection that began before a change is not remembered
        self._cpus: tuple[int, ...] | None = None
        self._root_dir = ""
        self._limits_layers = True  # until it says that it cannot
        self._gives_gpus_to_all: bool | None = None  # not known yet
        self._inspections = asyncio.Semaphore(_INSPECTIONS)

    async def info(self) -> EngineInfo:
        """Return Docker's version, the cores that it knows, and where it keeps all.

        Its version alone says whether it answers; what else it does not say in time is as before.
        """
        version = await self._client.version()
        try:
            found = await self._client.get("/info")
            self._gives_gpus_to_all = objects.gives_gpus_to_all(found)
            self._root_dir = found.get("DockerRootDir") or ""
            self._cpus = await self._available_cpus()
        except (RefusedError, EngineUnavailableError) as exc:
            logger.warning("Docker says little of itself: %s", exc)
        return EngineInfo("docker", version, cpus=self._cpus, root_dir=self._root_dir)

    async def observe(self) -> dict[str, ObservedInstance]:
        """Return all containers of this host, by name; costs one request when nothing changed.

        One that Docker cannot show in time hides no other: its state is UNKNOWN.
        """
        filters = json.dumps({"label": [f"{LABEL_HOST}={self._host_name}"]})
        try:
            listed = await self._client.get("/containers/json", {"all": "1", "filters": filters})
        except RefusedError as exc:
            raise refusal(exc) from exc
        for gone in self._stable.keys() - {entry["Id"] for entry in listed}:
            del self._stable[gone]
        self._theirs &= {entry["Id"] for entry in listed}
        seen = await asyncio.gather(*(self._refresh(entry) for entry in listed))
        found = {container.name: container for container in seen if container is not None}
        self._ours &= found.keys()
        self._forget_gone(found)
        return found

    async def inspect(self, name: str) -> ObservedInstance | None:
        """Return one container of this host, or None."""
        container = await self._inspect(name)
        return container if container is not None and container.name == name else None

    async def create(self, spec: ContainerSpec) -> None:
        """Create a container; one that exists under that name already is left as it is."""
        if self._gives_gpus_to_all is None:
            await self.info()
        body = objects.create_body(
            spec,
            self._host_name,
            hide_gpus=self._gives_gpus_to_all is not False,
            limit_layer=self._limits_layers,
        )
        try:
            await self._client.call(
                "POST", "/containers/create", params={"name": spec.name}, body=body
            )
            self._unstarted.add(spec.name)
            self._ours.add(spec.name)
        except RefusedError as exc:
            if exc.status == 409:
                return await self._resolve_conflict(spec.name)
            if is_layer_limit(str(exc)) and self._limits_layers:
                logger.warning("what containers write is measured, not limited: %s", exc)
                self._limits_layers = False
                return await self.create(spec)
            if exc.status == 404 and "no such image" in str(exc).lower():
                raise ImagePullError(str(exc), permanent=False) from exc
            if is_users_fault(exc.status, str(exc)):
                raise CreateRefusedError(str(exc)) from exc
            raise refusal(exc) from exc

    async def layer_bytes(self, name: str) -> int | None:
        """Return how much a container has written; None: it is gone. Docker reads all of it."""
        try:
            path = f"/containers/{quote(name, safe='')}/json"
            seen = await self._client.get(
                path, {"size": "1"}, deadline_seconds=self._client.change_seconds
            )
        except RefusedError as exc:
            if exc.status == 404:
                return None
            raise refusal(exc) from exc
        written: int | None = seen.get("SizeRw")
        return written

    async def start(self, name: str) -> None:
        """Start a created container; a running or ended one is left as it is."""
        if name in self._unstarted:
            self._unstarted.discard(name)
        elif (await self._known(name)).state is not InstanceState.CREATED:
            return  # Docker would run an ended one again
        elif await self._leftovers.clear_before_start(name):
            await self.remove(name)
            raise InstanceGoneError(f"Docker died in the start of {name}: another one is needed")
        await self._start(name)

    async def start_again(self, name: str) -> None:
        """Start an ended container once more, with all that it wrote; see the port."""
        if (await self._known(name)).state is InstanceState.EXITED:
            await self._start(name)

    async def pause(self, name: str) -> None:
        """Freeze a running container; one in any other state is left as it is."""
        if (await self._known(name)).state is InstanceState.RUNNING:
            await self._change(name, "/pause", InstanceState.RUNNING)

    async def resume(self, name: str) -> None:
        """Thaw a paused container; one in any other state is left as it is."""
        if (await self._known(name)).state is InstanceState.PAUSED:
            await self._change(name, "/unpause", InstanceState.PAUSED)

    async def signal(self, name: str, signal_number: int) -> None:
        """Send a signal to the container's program, and thaw it; see the port."""
        # Whoever stops a container has looked at it: a slow Docker is not asked the same again.
        alive = (seen for seen in self._stable.values() if seen.state in _ALIVE)
        seen = next((one for one in alive if one.name == name), None) or await self.inspect(name)
        if seen is None or seen.state not in _ALIVE:
            return
        with suppress(InstanceGoneError):
            await self._change(name, "/kill", *_ALIVE, params={"signal": str(int(signal_number))})
            if seen.state is InstanceState.PAUSED:
                await self.resume(name)

    async def remove(self, name: str) -> None:
        """Remove a container, killing it if it runs; a missing one is no error."""
        if name not in self._ours and await self.inspect(name) is None:
            return
        self._unstarted.discard(name)
        self._ours.discard(name)
        await self._leftovers.clear(name)
        try:
            await self._client.call("DELETE", container_path(name), params={"v": "1", "force": "1"})
        except RefusedError as exc:
            if exc.status != 404 and "already in progress" not in str(exc):
                raise refusal(exc) from exc

    async def update_cpus(self, name: str, cpus: tuple[int, ...]) -> None:
        """Move a container to these cores; an ended one is left as it is."""
        if (await self._known(name)).state in _ENDED:
            return
        await self._change(
            name,
            "/update",
            InstanceState.CREATED,
            *_ALIVE,
            body={"CpusetCpus": format_cpulist(cpus)},
        )

    async def commit(self, name: str, image: str) -> None:
        """Keep the container's files as an image without our labels; see the port."""
        await self._known(name)
        repository, _, tag = image.rpartition(":")
        # Docker's own merge of the labels cannot leave one out, but an empty one is nobody's.
        changes = "\n".join(f'LABEL {label}=""' for label in OUR_LABELS)
        params = {"container": name, "repo": repository, "tag": tag, "pause": "1"}
        try:
            params["changes"] = changes
            await self._client.call("POST", "/commit", params=params, body={})
        except RefusedError as exc:
            if exc.status == 404:
                raise InstanceGoneError(str(exc)) from exc
            raise refusal(exc) from exc

    async def events(self) -> AsyncGenerator[EngineEvent, None]:
        """Yield events of this host's containers, after a first one that says: observe all."""
        label = f"{LABEL_HOST}={self._host_name}"
        filters = json.dumps({"type": ["container"], "label": [label]})
        try:
            async with (
                self._client.stream("GET", "/events", params={"filters": filters}) as pieces,
                aclosing(json_lines(pieces)) as messages,
            ):
                yield EngineEvent(name="", action="")
                async for message in messages:
                    event = objects.event(message)
                    if event is not None:
                        yield event
        except RefusedError as exc:
            raise refusal(exc) from exc

    async def _available_cpus(self) -> tuple[int, ...] | None:
        """Return the cores that Docker can give a container, by what it says when it lacks one.

        No other answer tells which they are: it asks for a core that no machine has, of an image
        that nobody has.
        """
        try:
            await self._client.call(
                "POST",
                "/containers/create",
                body=objects.IMPOSSIBLE_BODY,
                deadline_seconds=self._client.read_seconds,
            )
        except RefusedError as exc:
            if is_away(exc.status, str(exc)):
                raise
            return objects.available_cpus(str(exc))
        return None

    async def _start(self, name: str) -> None:
        try:
            await self._client.call("POST", f"{container_path(name)}/start")
        except RefusedError as exc:
            if is_leftover(str(exc)):
                await self.remove(name)
                raise InstanceGoneError(str(exc)) from exc
            if exc.status == 404 and "no such container" in str(exc).lower():
                raise InstanceGoneError(str(exc)) from exc
            if is_users_fault(exc.status, str(exc)):
                raise CreateRefusedError(str(exc)) from exc
            raise refusal(exc) from exc

    async def _inspect(
        self, reference: str, deadline_seconds: float | None = None
    ) -> ObservedInstance | None:
        """Return the container of this name or Docker id, if it is this host's."""
        updates = self._updates
        raw = await self._raw(reference, deadline_seconds)
        if raw is None:
            return None
        try:
            container = objects.observed(raw)
        except (KeyError, TypeError, ValueError) as exc:
            raise EngineRefusedError(f"Docker shows {reference} incompletely: {exc!r}") from exc
        if not objects.is_ours(container, self._host_name):
            return None
        self._ours.add(container.name)
        self._leftovers.note(raw["Id"], container)
        if container.exit_code in _INIT_EXIT_CODES:
            container = replace(container, error=await self._init_failure(container.name))
        if container.state in _STABLE and updates == self._updates:
            self._stable[raw["Id"]] = container
        return container

    async def _resolve_conflict(self, name: str) -> None:
        """Find out what holds a name: a container of ours, which is fine, or somebody else's.

        Docker gives a name away before the container can be seen: an earlier call of ours that
        took too long may still be at work.
        """
        try:
            async with asyncio.timeout(self._client.change_seconds):
                raw = await self._raw(name)
                while raw is None:
                    await asyncio.sleep(_CONFLICT_SECONDS)
                    raw = await self._raw(name)
        except TimeoutError as exc:
            raise EngineUnavailableError(f"{name} is being created for long") from exc
        if not objects.is_ours(objects.observed(raw), self._host_name):
            raise CreateRefusedError(f"another container has the name {name}")

    async def _refresh(self, listed: Mapping[str, Any]) -> ObservedInstance | None:
        """Return the container of an entry of Docker's list, asking only when it changed."""
        shown = objects.listed(listed)
        if shown is None:
            return None
        if not objects.is_ours(shown, self._host_name):
            if not await self._has_its_name_back(listed, shown):
                return None
            shown = replace(shown, name=objects.own_name(shown, self._host_name))
        if shown.state is InstanceState.REMOVING:
            return shown  # Docker may fail to show it in detail
        known = self._stable.get(listed["Id"])
        if known is not None and known.state is shown.state:
            return known
        try:
            async with self._inspections:
                seconds = min(_INSPECT_SECONDS, self._client.read_seconds)
                return await self._inspect(listed["Id"], seconds)
        except (EngineUnavailableError, EngineRefusedError):
            return replace(shown, state=InstanceState.UNKNOWN)

    async def _has_its_name_back(self, listed: Mapping[str, Any], shown: ObservedInstance) -> bool:
        """Give a container of ours that somebody renamed its name again; tell if it has it.

        Under another name it would run on unseen, beside the one that takes its place. What
        somebody runs from an image of one of our containers bears our labels, too, but so does
        that image, and no image that we make containers from.
        """
        name, id = objects.own_name(shown, self._host_name), listed["Id"]
        if not name or id in self._theirs:
            return False
        try:
            image = await self._client.get(f"/images/{quote(listed['ImageID'], safe='')}/json")
            if (image["Config"].get("Labels") or {}).get(LABEL_UID):
                self._theirs.add(id)
                return False
            await self._client.call("POST", f"{container_path(id)}/rename", params={"name": name})
        except (RefusedError, EngineUnavailableError, KeyError, TypeError) as exc:
            logger.warning("%s was renamed to %s, and stays so: %r", name, shown.name, exc)
            return False
        logger.warning("%s was renamed to %s, and has its name back", name, shown.name)
        return True

    async def _known(self, name: str) -> ObservedInstance:
        container = await self.inspect(name)
        if container is None:
            raise InstanceGoneError(f"no container {name}")
        return container

    async def _change(
        self,
        name: str,
        path: str,
        *states: InstanceState,
        params: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> None:
        """Act on a container; a refusal counts only while it still is in one of these states."""
        try:
            await self._client.call(
                "POST", f"{container_path(name)}{path}", params=params, body=body
            )
        except RefusedError as exc:
            if (await self._known(name)).state in states:
                raise refusal(exc) from exc
        finally:
            self._updates += 1
            self._stable = {id: one for id, one in self._stable.items() if one.name != name}
