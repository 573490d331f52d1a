"""Start a run: image, environment, then what every kind's start needs."""

import datetime as dt
import time
from collections.abc import Mapping
from dataclasses import dataclass

from weir_crds.conditions import Reason
from weir_crds.task import TaskSpec
from weir_kube.backoff import exponential
from weir_kube.errors import ApiError
from weir_kube.store import Key, Object, key_of
from weir_kube.workqueue import WorkQueue
from weir_nodedaemon.engines.port import (
    ContainerDefaults,
    ContainerEngine,
    ContainerSpec,
    CreateRefusedError,
    ImagePullError,
    InstanceLostError,
    ObservedInstance,
    PullAccess,
)
from weir_nodedaemon.instances.engines import Engine
from weir_nodedaemon.instances.identity import InstanceID
from weir_nodedaemon.instances.journal import JournalEntry
from weir_nodedaemon.instances.probe import StartProbe
from weir_nodedaemon.instances.pulls import Pulls
from weir_nodedaemon.instances.secrets import (
    ObjectReader,
    PullSecretNotReadableError,
    SecretNotReadableError,
    read_logins,
)
from weir_nodedaemon.instances.shared_pool import SharedPool
from weir_nodedaemon.instances.starts import Starts
from weir_nodedaemon.kinds.task import environment, verdict
from weir_nodedaemon.kinds.task.container import claim_of, container_spec
from weir_nodedaemon.kinds.task.status_writer import StatusWriter
from weir_nodedaemon.kinds.task.verdict import Verdict
from weir_nodedaemon.logs import Collector
from weir_nodedaemon.machine.capacity import CapacityWatch

_REPORT_PULL_AFTER_SECONDS = 1.0  # a state that lasts less is not worth a write
_SECRET_RETRY_SECONDS = 1.0
_SECRET_RETRY_MAX_SECONDS = 30.0
_SECRET_WAIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Run:
    """What one step is about, as it was when the step began."""

    task: Object
    spec: TaskSpec
    id: InstanceID
    container: ObservedInstance | None
    entry: JournalEntry

    @property
    def key(self) -> Key:
        """The key of its Task."""
        return key_of(self.task)

    @property
    def name(self) -> str:
        """The name of its container."""
        return self.id.name


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt to start: it runs, it will never run, or it waits."""

    started: bool = False
    verdict: Verdict | None = None
    requeue_after: dt.timedelta | None = None


_WAITS = Outcome()


@dataclass(slots=True)
class _Unread:
    """A start that waits for Secrets which cannot be read."""

    since: float
    failures: int = 0


class _ChangedError(Exception):
    """The Task has changed since the step began: something else may be wanted by now."""


class Starter:
    """Starts runs: what a Task needs before ``Starts`` does what all kinds' starts have in common.

    What is known of one start: the pull it waits for (``Pulls``), Secrets that could not be read
    (here), whether the engine is at it, refused it or has no room (``Starts``), what it holds until
    it is seen to run (``Holdings``). ``release`` drops all of it.
    """

    def __init__(
        self,
        *,
        defaults: ContainerDefaults,
        capacity: CapacityWatch,
        reader: ObjectReader,
        engine: Engine,
        containers: ContainerEngine,
        starts: Starts,
        shared_pool: SharedPool,
        pulls: Pulls,
        probe: StartProbe,
        status_writer: StatusWriter,
        collector: Collector,
        queue: WorkQueue[Key],
    ) -> None:
        """Use these.

        Args:
            defaults: what all containers of this host have.
            capacity: the machine's; its NUMA nodes that have memory.
            reader: reads Secrets and ConfigMaps.
            engine: the engine as all kinds see it.
            containers: the same engine, where containers are made.
            starts: starts under way, of all kinds.
            shared_pool: the instances without cores of their own.
            pulls: pulls of images.
            probe: is told of what was to be started when that failed.
            status_writer: writes status.
            collector: follows output.
            queue: the keys of Tasks.
        """
        self._defaults = defaults
        self._capacity = capacity
        self._reader = reader
        self._engine = engine
        self._containers = containers
        self._starts = starts
        self._shared_pool = shared_pool
        self._pulls = pulls
        self._probe = probe
        self._status_writer = status_writer
        self._collector = collector
        self._queue = queue
        self._unread: dict[InstanceID, _Unread] = {}

    async def start(self, run: Run) -> Outcome:
        """Create and start the container, or see to it that the key comes back when it may.

        Raises:
            EngineUnavailableError: the container may have been created or started all the same.
            ImagePullError: the image went away meanwhile; try again.
            WeirError: something else did not answer; nothing was started.
        """
        if run.container is None:
            waits = await self._image(run)
            if waits is not None:
                return waits
        claim = claim_of(run.spec, run.task["status"])

        async def begin() -> None:
            await self._create_and_start(run, shared=not claim.cpus)

        try:
            result = await self._starts.start(
                run.id, claim, self._engine, lambda: self._queue.add(run.key), begin
            )
        except CreateRefusedError as exc:
            return Outcome(verdict=verdict.create_failed(str(exc)))
        except InstanceLostError as exc:
            return Outcome(verdict=verdict.container_lost(str(exc)))
        except SecretNotReadableError as exc:
            self._starts.release(run.id)  # who may not read it holds no cores meanwhile
            return await self._unreadable(run, Reason.SECRET_NOT_READABLE, str(exc))
        except _ChangedError:
            self._starts.release(run.id)
            self._queue.add(run.key)
            return _WAITS
        except (ImagePullError, ApiError):
            self.release(run.id)  # nothing was created
            raise
        if result.lacking:
            missing = verdict.held_back(Reason.INSUFFICIENT_CAPACITY, result.lacking)
            return Outcome(verdict=missing)
        if result.in_use:
            await self._status_writer.not_started(run.task, Reason.WAITING_FOR_CORES, result.in_use)
        elif result.refused:
            self._probe.like = self._container_spec(run, {})
            await self._status_writer.not_started(run.task, Reason.CREATE_FAILED, result.refused)
        return Outcome(started=result.started, requeue_after=result.requeue_after)

    def is_under_way(self, id: InstanceID) -> bool:
        """Tell whether the engine is at work on a start: it says nothing of the run yet."""
        return self._starts.is_under_way(id)

    def is_starting(self, id: InstanceID) -> bool:
        """Tell whether a start holds something that no observation shows yet."""
        return self._starts.is_assumed(id)

    def release(self, id: InstanceID) -> None:
        """Take note that this run starts no more; doing it twice is no error."""
        self._pulls.leave(id)
        self._unread.pop(id, None)
        self._starts.release(id)

    async def _image(self, run: Run) -> Outcome | None:
        """Return None once the image is on the host; else what comes of it."""
        image, policy = run.spec.image, run.spec.image_pull_policy
        always = policy == "Always" or self._defaults.always_pull
        if not always and await self._containers.has_image(image):
            return None
        if policy == "Never":
            why = "the host asks for every image" if always else f"{image} is not on the host"
            message = f"{why}, and imagePullPolicy is Never"
            return Outcome(verdict=verdict.image_pull_failed(message))
        state = self._pulls.state(run.id)
        if state is None:
            secrets = [secret.name for secret in run.spec.image_pull_secrets or ()]
            try:
                logins = await read_logins(secrets, run.key.namespace, self._reader)
            except PullSecretNotReadableError as exc:
                return await self._unreadable(run, Reason.PULL_SECRET_NOT_READABLE, str(exc))
            access = PullAccess(logins, host_login=not self._defaults.always_pull)
            state = self._pulls.want(image, run.id, run.key, access)
        if state.ready:
            return None
        if state.failure is not None:
            return Outcome(verdict=verdict.image_pull_failed(state.failure))
        if state.trouble is not None:
            await self._status_writer.not_started(run.task, Reason(state.reason), state.trouble)
        elif state.waited_seconds < _REPORT_PULL_AFTER_SECONDS:
            left = _REPORT_PULL_AFTER_SECONDS - state.waited_seconds
            return Outcome(requeue_after=dt.timedelta(seconds=left))
        else:
            await self._status_writer.not_started(
                run.task, Reason.PULLING_IMAGE, f"pulling {image}"
            )
        return _WAITS

    async def _create_and_start(self, run: Run, *, shared: bool) -> None:
        env: dict[str, str] = {}
        if run.container is None:
            env = await environment.resolve(run.spec, run.key.namespace, self._reader)
        if not self._status_writer.is_current(run.task):
            raise _ChangedError
        if run.container is None:
            await self._containers.create(self._container_spec(run, env))
        if shared:  # the pool may have shrunk before anybody saw this container
            await self._engine.observations.observe(run.name)
            await self._shared_pool.fit(self._engine, run.name)
        await self._collector.begin(*run.id, run.name)
        await self._containers.start(run.name)

    def _container_spec(self, run: Run, env: Mapping[str, str]) -> ContainerSpec:
        return container_spec(
            run.task,
            run.spec,
            env,
            defaults=self._defaults,
            pool=self._shared_pool.cpus,
            memory_nodes=self._capacity.current.memory_nodes,
        )

    async def _unreadable(self, run: Run, reason: Reason, message: str) -> Outcome:
        """Return when to read Secrets again: nobody tells when they or the role appear.

        After a while the run gives back its host, and with it the cores that others wait for.
        """
        unread = self._unread.setdefault(run.id, _Unread(time.monotonic()))
        unread.failures += 1
        if time.monotonic() - unread.since > _SECRET_WAIT_SECONDS:
            return Outcome(verdict=verdict.held_back(reason, message))
        await self._status_writer.not_started(run.task, reason, message)
        seconds = exponential(unread.failures, _SECRET_RETRY_SECONDS, _SECRET_RETRY_MAX_SECONDS)
        return Outcome(requeue_after=dt.timedelta(seconds=seconds))
