"""Start a run: image, environment, cores, container. Each may have to be waited for."""

import datetime as dt
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from weir_crds import names
from weir_crds.conditions import Reason
from weir_crds.task import TaskSpec
from weir_kube.backoff import exponential
from weir_kube.store import Key, Object, key_of
from weir_nodedaemon.engines.port import (
    ContainerEngine,
    CreateRefusedError,
    EngineRefusedError,
    ImagePullError,
    InstanceLostError,
    ObservedInstance,
    PullAccess,
)
from weir_nodedaemon.host.breaker import Breaker
from weir_nodedaemon.instances.holdings import Holdings
from weir_nodedaemon.instances.journal import InstanceID, JournalEntry
from weir_nodedaemon.instances.observations import Observations
from weir_nodedaemon.instances.probe import StartProbe
from weir_nodedaemon.instances.pulls import Pulls
from weir_nodedaemon.instances.secrets import (
    ObjectReader,
    PullSecretNotReadableError,
    SecretNotReadableError,
    read_logins,
)
from weir_nodedaemon.instances.shared_pool import SharedPool
from weir_nodedaemon.kinds.task import environment
from weir_nodedaemon.kinds.task import verdict as report
from weir_nodedaemon.kinds.task.container import ContainerDefaults, claim_of, container_spec
from weir_nodedaemon.kinds.task.status_writer import StatusWriter
from weir_nodedaemon.machine.capacity import CapacityWatch

# A state that lasts less is not worth a write.
_TELL_PULL_AFTER_SECONDS = 1.0
_TELL_WAIT_AFTER_SECONDS = 2.0
_SECRET_RETRY_SECONDS = 1.0
_SECRET_RETRY_MAX_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Run:
    """What one step is about, as it was when the step began."""

    task: Object
    spec: TaskSpec
    id: InstanceID
    container: ObservedInstance | None
    record: JournalEntry

    @property
    def key(self) -> Key:
        """The key of its Task."""
        return key_of(self.task)

    @property
    def name(self) -> str:
        """The name of its container."""
        return names.container_name(*self.id)


@dataclass(frozen=True, slots=True)
class Wake:
    """How a key is looked at again."""

    add: Callable[[Key], None]
    add_after: Callable[[Key, float], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt to start: it runs, it will never run, or it waits."""

    started: bool = False
    verdict: report.Verdict | None = None
    requeue_after: dt.timedelta | None = None


_WAITS = Outcome()


@dataclass(slots=True)
class _Wait:
    """A start that waits for cores."""

    key: Key
    since: float


class Starter:
    """Starts runs, and remembers for which something is under way."""

    def __init__(
        self,
        *,
        defaults: ContainerDefaults,
        capacity: CapacityWatch,
        reader: ObjectReader,
        is_current: Callable[[Object], bool],
        engine: ContainerEngine,
        observations: Observations,
        holdings: Holdings,
        pool: SharedPool,
        pulls: Pulls,
        status_writer: StatusWriter,
        wake: Wake,
        breaker: Breaker,
        probe: StartProbe,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use these; see ``Daemon``, which wires them up.

        Args:
            defaults: what all containers of this host have.
            capacity: what the machine has now.
            reader: reads Secrets and ConfigMaps.
            is_current: tells whether a Task is still as it was when the step began.
            engine: where containers are made.
            observations: what the engine showed.
            holdings: who holds which cores.
            pool: the containers without cores of their own.
            pulls: pulls of images.
            status_writer: writes status.
            wake: how a key comes back.
            breaker: is told whether starts succeed.
            probe: is told of images whose start failed.
            clock: seconds, for waits.
        """
        self._defaults = defaults
        self._capacity = capacity
        self._reader = reader
        self._is_current = is_current
        self._engine = engine
        self._observations = observations
        self._holdings = holdings
        self._pool = pool
        self._pulls = pulls
        self._status_writer = status_writer
        self._wake = wake
        self._breaker = breaker
        self._probe = probe
        self._clock = clock
        self._waiting: dict[InstanceID, _Wait] = {}
        self._secret_failures: dict[InstanceID, int] = {}

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
        refusal = self._holdings.assume(run.name, claim, self._observations.containers)
        if refusal is not None:
            return await self._wait_for_cores(run, refusal)
        self._waiting.pop(run.id, None)
        try:
            env = await self._environment(run)
        except SecretNotReadableError as exc:
            await self._status_writer.not_started(run.task, Reason.SECRET_NOT_READABLE, str(exc))
            return self._unreadable(run.id)
        if not self._is_current(run.task):
            self._release(run.id)
            self._wake.add(run.key)  # something else may be wanted by now
            return _WAITS
        try:
            await self._create_and_start(run, env, shared=not claim.cpus)
        except CreateRefusedError as exc:
            return Outcome(verdict=report.create_failed(str(exc)))
        except InstanceLostError as exc:
            return Outcome(verdict=report.container_lost(str(exc)))
        except ImagePullError:
            self.settle(run.id)
            raise
        except EngineRefusedError as exc:
            self._probe.image = run.spec.image
            self._breaker.failed(run.name, str(exc))
            raise
        self._breaker.succeeded()
        return Outcome(started=True)

    def is_starting(self, id: InstanceID) -> bool:
        """Tell whether a start of this run has been assumed and not been settled."""
        return self._holdings.is_assumed(names.container_name(*id))

    def settle(self, id: InstanceID) -> None:
        """Take note that no start of this run is under way; doing it twice is no error."""
        self._pulls.leave(id)
        self._waiting.pop(id, None)
        self._secret_failures.pop(id, None)
        self._release(id)

    def wake_waiting(self) -> None:
        """Look again at every start that waits for cores: some may be free now."""
        for wait in self._waiting.values():
            self._wake.add(wait.key)

    def _release(self, id: InstanceID) -> None:
        if self._holdings.release(names.container_name(*id)):
            self.wake_waiting()

    async def _environment(self, run: Run) -> dict[str, str]:
        """Return the environment; what it may not read holds no cores of others meanwhile."""
        if run.container is not None:
            return {}
        try:
            return await environment.resolve(run.spec, run.key.namespace, self._reader)
        except BaseException:
            self._release(run.id)
            raise

    async def _image(self, run: Run) -> Outcome | None:
        """Return None once the image is on the host; else what comes of it."""
        image, policy = run.spec.image, run.spec.image_pull_policy
        always = policy == "Always" or self._defaults.always_pull
        if not always and await self._engine.has_image(image):
            return None
        if policy == "Never":
            why = "the host asks for every image" if always else f"{image} is not on the host"
            message = f"{why}, and imagePullPolicy is Never"
            return Outcome(verdict=report.image_pull_failed(message))
        state = self._pulls.state(run.id)
        if state is None:
            secrets = [secret.name for secret in run.spec.image_pull_secrets or ()]
            try:
                logins = await read_logins(secrets, run.key.namespace, self._reader)
            except PullSecretNotReadableError as exc:
                await self._status_writer.not_started(
                    run.task, Reason.PULL_SECRET_NOT_READABLE, str(exc)
                )
                return self._unreadable(run.id)
            access = PullAccess(logins, host_login=not self._defaults.always_pull)
            state = self._pulls.want(image, run.id, run.key, access)
        if state.ready:
            return None
        if state.failure is not None:
            return Outcome(verdict=report.image_pull_failed(state.failure))
        if state.trouble is not None:
            await self._status_writer.not_started(run.task, Reason(state.reason), state.trouble)
        elif state.waited_seconds < _TELL_PULL_AFTER_SECONDS:
            left = _TELL_PULL_AFTER_SECONDS - state.waited_seconds
            return Outcome(requeue_after=dt.timedelta(seconds=left))
        else:
            await self._status_writer.not_started(
                run.task, Reason.PULLING_IMAGE, f"pulling {image}"
            )
        return _WAITS

    async def _create_and_start(self, run: Run, env: Mapping[str, str], *, shared: bool) -> None:
        await self._pool.apply()
        if run.container is None:
            await self._engine.create(
                container_spec(
                    run.task,
                    run.spec,
                    env,
                    defaults=self._defaults,
                    pool=self._pool.cpus,
                    memory_nodes=self._capacity.current.memory_nodes,
                )
            )
        if shared:  # the pool may have shrunk before anybody saw this container
            await self._observations.observe(run.name)
            await self._pool.apply()
        await self._engine.start(run.name)

    async def _wait_for_cores(self, run: Run, refusal: str) -> Outcome:
        """Let the key come back when cores become free; say so once it takes a while."""
        wait = self._waiting.setdefault(run.id, _Wait(run.key, self._clock()))
        left = _TELL_WAIT_AFTER_SECONDS - (self._clock() - wait.since)
        if left > 0:
            return Outcome(requeue_after=dt.timedelta(seconds=left))
        await self._status_writer.not_started(run.task, Reason.WAITING_FOR_CORES, refusal)
        return _WAITS

    def _unreadable(self, id: InstanceID) -> Outcome:
        """Return when to read Secrets again: nobody tells when they or the role appear."""
        failures = self._secret_failures[id] = self._secret_failures.get(id, 0) + 1
        seconds = exponential(failures, _SECRET_RETRY_SECONDS, _SECRET_RETRY_MAX_SECONDS)
        return Outcome(requeue_after=dt.timedelta(seconds=seconds))
