"""How a run ended. Pure."""

import signal as signals
from dataclasses import dataclass, replace

from weir_crds.conditions import Reason
from weir_crds.run_status import one_line
from weir_crds.task import TaskSpec
from weir_nodedaemon.engines.port import ObservedInstance
from weir_nodedaemon.instances.journal import JournalEntry, StopReason
from weir_nodedaemon.kinds.task.plan import is_interruption

_EXEC_FAILED_CODES = (126, 127)
_STOP_SIGNALS = (signals.SIGTERM, signals.SIGKILL)
_CUT_OFF = "its host could not reach the API server and stopped it"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run ended."""

    reason: Reason
    message: str
    exit_code: int | None = None
    signal: int | None = None
    interrupted: bool = False
    """It was stopped to run again: how it ended counts for nothing."""

    @property
    def succeeded(self) -> bool:
        """Tell whether it ended as its author meant it to."""
        return self.reason is Reason.COMPLETED


def judge(container: ObservedInstance, entry: JournalEntry, spec: TaskSpec) -> Verdict:
    """Return how an exited container ended.

    What stopped it comes first, and the times decide whether something did: a program that had
    ended before it was to be stopped ended by itself. That a process in it was once killed for
    lack of memory says nothing of an end that came otherwise: only SIGKILL ends by that.

    Args:
        container: what the engine shows of it.
        entry: what was noted about the run.
        spec: of the Task.
    """
    code = container.exit_code if container.exit_code is not None else 255
    signal = code - 128 if 128 < code <= 192 else None
    out_of_memory = container.oom_killed and signal == signals.SIGKILL
    stopped = _why_stopped(container, entry, spec, signal)
    if is_interruption(spec, stopped):
        return replace(interruption(stopped), exit_code=code, signal=signal)
    if stopped is StopReason.HOST_LOST and spec.desired_state != "Killed":
        return Verdict(Reason.HOST_LOST, _CUT_OFF, code, signal)
    if stopped in (StopReason.KILLED, StopReason.SUSPENDED, StopReason.HOST_LOST):
        return Verdict(Reason.KILLED, "killed as desired", code, signal)
    if stopped is StopReason.TIMED_OUT:
        message = f"ran longer than {spec.timeout_seconds} s"
        return Verdict(Reason.TIMED_OUT, message, code, signal)
    if out_of_memory:
        limit = spec.resources.memory
        message = f"used more memory than its limit of {limit}" if limit else "ran out of memory"
        return Verdict(Reason.OOM_KILLED, message, code, signal)
    if container.error and code in _EXEC_FAILED_CODES:
        return Verdict(Reason.CREATE_FAILED, one_line(container.error), code)
    if signal is not None:
        return Verdict(Reason.SIGNALLED, f"ended by signal {signal}", code, signal)
    if code == 0:
        return Verdict(Reason.COMPLETED, "exit code 0", code)
    return Verdict(Reason.NON_ZERO_EXIT, f"exit code {code}", code)


def _why_stopped(
    container: ObservedInstance, entry: JournalEntry, spec: TaskSpec, signal: int | None
) -> StopReason | None:
    """Return why the daemon stopped a container, by its note or, without one, by what is wanted."""
    if entry.stop_reason is not None:
        ended_before = (
            entry.stop_noted is not None
            and container.finished_at is not None
            and container.finished_at < entry.stop_noted
        )
        return None if ended_before else entry.stop_reason
    if container.exit_code and spec.desired_state == "Killed":
        return StopReason.KILLED
    if spec.suspend and signal in _STOP_SIGNALS and not container.oom_killed:
        return StopReason.SUSPENDED
    return None


KILLED_UNSTARTED = Verdict(Reason.KILLED, "killed before its start")
CONTAINER_LOST = Verdict(
    Reason.HOST_LOST, "its container was removed by somebody else; how it ended is not known"
)


def interruption(reason: StopReason | None) -> Verdict:
    """Return the verdict on a run that was stopped for that reason, to run again."""
    if reason is StopReason.HOST_LOST:
        return Verdict(Reason.HOST_LOST, _CUT_OFF, interrupted=True)
    return Verdict(Reason.SUSPENDED, "stopped, as spec.suspend was true", interrupted=True)


def held_back(reason: Reason, message: str) -> Verdict:
    """Return the verdict on a run that gives back its host before its start, to run later."""
    return Verdict(reason, one_line(message), interrupted=True)


def container_lost(message: str) -> Verdict:
    """Return the verdict on a run that the engine lost after it had begun."""
    return Verdict(Reason.HOST_LOST, one_line(message))


def create_failed(message: str) -> Verdict:
    """Return the verdict on a run that the engine refused."""
    return Verdict(Reason.CREATE_FAILED, one_line(message))


def image_pull_failed(message: str) -> Verdict:
    """Return the verdict on a run whose image cannot be had."""
    return Verdict(Reason.IMAGE_PULL_FAILED, one_line(message))
