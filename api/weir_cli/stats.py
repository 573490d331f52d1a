"""Live figures of many hosts: each daemon asked twice, many side by side, before one deadline."""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from weir_cli.figures import Answers, Silence, Stats, is_readable
from weir_cli.kubectl import KubectlError
from weir_crds import conditions
from weir_crds.conditions import ConditionType
from weir_crds.daemon_endpoint import NotContactedError
from weir_crds.errors import WeirError
from weir_kube.errors import DaemonRefusedError
from weir_kube.store import Object

_PATH = "/v1/stats"
_AT_ONCE = 32
# A daemon measures anew when its last sample is two seconds old.
_APART_SECONDS = 2.1


class Answering(Protocol):
    """A daemon that can be asked."""

    def get_json(self, path: str, seconds: float) -> Any:
        """Return its answer to one request."""
        ...


@dataclass(order=True)
class _Sample:
    """A question to a host: those that are ready before the others, first before second ones."""

    rank: int
    number: int
    turn: int
    host: Object = field(compare=False)
    due: float = field(compare=False, default=0.0)
    daemon: Answering | None = field(compare=False, default=None)
    first: Stats = field(compare=False, default_factory=dict)


_READY, _NOT_READY, _NO_MORE = range(3)


class _Survey:
    """Samples that threads take and do; who fails is done with."""

    def __init__(
        self,
        hosts: Sequence[Object],
        connect: Callable[[Object], Answering],
        answer_seconds: float,
        apart_seconds: float,
    ) -> None:
        self._connect = connect
        self._answer_seconds = answer_seconds
        self._apart_seconds = apart_seconds
        self._samples: queue.PriorityQueue[_Sample] = queue.PriorityQueue()
        self._results: queue.SimpleQueue[tuple[str, Answers | Silence | KubectlError]]
        self._results = queue.SimpleQueue()
        self._over = threading.Event()
        for turn, host in enumerate(hosts):
            ready = conditions.is_true(host, ConditionType.READY)
            self._samples.put(_Sample(_READY if ready else _NOT_READY, 1, turn, host))

    def run(self, count: int, until: float) -> dict[str, Answers | Silence]:
        """Return what is known of the hosts once all are done, or time is up."""
        # Not of a pool: the end of this process does not wait for them.
        threads = [
            threading.Thread(target=self._work, daemon=True) for _ in range(min(_AT_ONCE, count))
        ]
        for thread in threads:
            thread.start()
        seen: dict[str, Answers | Silence] = {}
        try:
            while len(seen) < count:
                name, found = self._results.get(timeout=max(0.0, until - time.monotonic()))
                if isinstance(found, KubectlError):
                    raise found
                seen[name] = found
        except queue.Empty:
            pass
        finally:
            self._over.set()
            for turn in range(len(threads)):
                self._samples.put(_Sample(_NO_MORE, 0, turn, {}))
        return seen

    def _work(self) -> None:
        while (sample := self._samples.get()).rank != _NO_MORE and not self._over.is_set():
            name = sample.host["metadata"]["name"]
            try:
                found = self._run_sample(sample)
            except NotContactedError as error:
                found = Silence(str(error), failed=False)
            except DaemonRefusedError as error:
                found = Silence(f"host {name} refused ({error.daemon_reason}): {error.message}")
            except KubectlError as error:
                if error.status == "Forbidden":  # no host's fault: it is so for all of them
                    self._results.put((name, error))
                    return
                found = Silence(str(error).partition("\n")[0])
            except WeirError as error:
                found = Silence(str(error))
            except (KeyError, TypeError, ValueError):
                found = Silence(f"host {name} states an endpoint that cannot be read")
            if found is not None:
                self._results.put((name, found))

    def _run_sample(self, sample: _Sample) -> Answers | Silence | None:
        """Take a sample; None: another is due later."""
        if sample.daemon is None:
            daemon = self._connect(sample.host)
            first = daemon.get_json(_PATH, self._answer_seconds)
            due = time.monotonic() + self._apart_seconds
            self._samples.put(_Sample(sample.rank, 2, sample.turn, sample.host, due, daemon, first))
            return None
        self._over.wait(max(0.0, sample.due - time.monotonic()))
        answers = Answers(sample.first, sample.daemon.get_json(_PATH, self._answer_seconds))
        name = sample.host["metadata"]["name"]
        if not is_readable(name, answers):
            return Silence(f"host {name} answered with what cannot be read")
        return answers


def read_stats(
    hosts: Sequence[Object],
    connect: Callable[[Object], Answering],
    *,
    answer_seconds: float,
    all_seconds: float,
    apart_seconds: float = _APART_SECONDS,
) -> dict[str, Answers | Silence]:
    """Return what the hosts' daemons answered, by host, or why there is nothing.

    Args:
        hosts: whom to ask; those that are ready go first.
        connect: makes the client of a host's daemon.
        answer_seconds: how long one answer may take.
        all_seconds: how long all of it may take; who has not answered by then is not waited for.
        apart_seconds: time between the two samples at a host.

    Raises:
        KubectlError: the person may not ask daemons at all.
    """
    late = f"no answer within the {all_seconds:g} s that all hosts have together"
    survey = _Survey(hosts, connect, answer_seconds, apart_seconds)
    seen = survey.run(len(hosts), time.monotonic() + all_seconds)
    names = [host["metadata"]["name"] for host in hosts]
    return {name: seen.get(name, Silence(late)) for name in names}
