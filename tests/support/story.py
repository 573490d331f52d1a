"""Tasks that end in every way there is, however long each step takes: a run to be disturbed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devcluster.rest import RestError
from support.faulty_system import FaultySystem
from support.tasks import condition, task

Object = dict[str, Any]
Look = Callable[[Object], bool]
GONE = {"gone": True}


def _told(kind: str) -> Look:
    return lambda seen: condition(seen, kind).get("status") == "True"


def _at_once(_: Object) -> bool:
    return True


def _runs_again(seen: Object) -> bool:
    return seen["status"].get("runID") == 2 and _told("Started")(seen)


def _waits_suspended(seen: Object) -> bool:
    scheduled = condition(seen, "Scheduled")
    return scheduled.get("reason") == "Suspended" and "nodeName" not in seen["status"]


@dataclass(frozen=True)
class Step:
    """What a person does to a Task, and what that person waits to see before."""

    sees: Look
    changes: Object | None  # of the spec; None: the Task is deleted
    starts: int = 0  # how often its program must have begun before: a start is told before that


@dataclass(frozen=True)
class Plot:
    """One Task's part.

    Attributes:
        timely: its end does not depend on how far it had come when the last step was made.
    """

    spec: Object
    steps: tuple[Step, ...] = ()
    timely: bool = True


def _shell(script: str, cpu: int, **spec: Any) -> Object:
    return {
        "command": ["sh", "-c", f"echo ran >> /witness/$NAME; {script}"],
        "resources": {"cpu": cpu},
        **spec,
    }


_AT_ONCE = {"backoffSeconds": 0}
PLOTS: dict[str, Plot] = {
    "completes": Plot(_shell("echo out", cpu=1)),
    "fails": Plot(_shell("echo err >&2; sleep 0.3; exit 3", cpu=1)),
    "prints": Plot(_shell("yes 0123456789abcde | head -c 400000", cpu=0)),
    "runs-late": Plot(_shell("exec sleep 600", cpu=0, timeoutSeconds=3)),
    "is-killed": Plot(
        _shell("exec sleep 600", cpu=1), (Step(_told("Started"), {"desiredState": "Killed"}, 1),)
    ),
    "is-killed-early": Plot(
        _shell("exec sleep 600", cpu=0), (Step(_at_once, {"desiredState": "Killed"}),), timely=False
    ),
    "is-held": Plot(
        _shell("exit 5", cpu=0, desiredState="Paused"),
        (Step(_told("Paused"), {"desiredState": "Running"}),),
    ),
    "is-paused": Plot(
        _shell("sleep 1; exit 4", cpu=0),
        (
            Step(_told("Started"), {"desiredState": "Paused"}),
            Step(
                lambda seen: _told("Paused")(seen) or "finishedAt" in seen["status"],
                {"desiredState": "Running"},
            ),
        ),
    ),
    "is-retried-in-vain": Plot(
        _shell("exit 6", cpu=0, retry={"limit": 2, **_AT_ONCE}),
    ),
    "is-retried-with-success": Plot(
        _shell(
            "[ $(wc -l < /witness/$NAME) = 2 ] || exit 7", cpu=1, retry={"limit": 3, **_AT_ONCE}
        ),
    ),
    "is-suspended": Plot(
        _shell("exec sleep 600", cpu=1),
        (
            Step(_told("Started"), {"suspend": True}, 1),
            Step(_waits_suspended, {"suspend": False}),
            Step(_runs_again, {"desiredState": "Killed"}, 2),
        ),
    ),
    "has-no-image": Plot({"image": "localhost/not-there:1", "imagePullPolicy": "Never"}),
    "has-no-program": Plot({"command": ["/no/such/program"], "resources": {"cpu": 0}}),
    "is-deleted": Plot(_shell("exec sleep 600", cpu=0), (Step(_told("Started"), None),)),
}


@dataclass
class Story:
    """One run of all plots in a namespace of its own.

    Attributes:
        folder: where each start of a program adds a line to a file of its Task's name.
    """

    system: FaultySystem
    namespace: str
    folder: Path
    uids: dict[str, str] = field(default_factory=dict)
    _done: dict[str, int] = field(default_factory=dict)

    def begin(self) -> None:
        """Create all Tasks."""
        for name, plot in PLOTS.items():
            spec = {
                "network": {"mode": "None"},
                "stopGraceSeconds": 1,
                "env": [{"name": "NAME", "value": name}],
                "mounts": [{"hostPath": str(self.folder), "mountPath": "/witness"}],
                **plot.spec,
            }
            made = self.system.create(task(name, self.namespace, **spec))
            self.uids[name] = made["metadata"]["uid"]

    def go_on(self) -> bool:
        """Make the steps that are due; tell whether all is over."""
        seen = {one["metadata"]["name"]: {"status": {}, **one} for one in self._tasks()}
        over = True
        for name, plot in PLOTS.items():
            done = self._done.get(name, 0)
            if done < len(plot.steps):
                over = False
                step = plot.steps[done]
                if name in seen and step.sees(seen[name]) and self._starts(name) >= step.starts:
                    self._make(name, step)
                    self._done[name] = done + 1
            elif name in seen:
                over = over and "finishedAt" in seen[name]["status"]
        return over

    def result(self) -> dict[str, Object]:
        """Return what every run of the story has to come to, whatever went wrong on its way."""
        found: dict[str, Object] = dict.fromkeys(PLOTS, GONE)
        for seen in self._tasks():
            name, status = seen["metadata"]["name"], seen["status"]
            succeeded = condition(seen, "Succeeded")
            found[name] = {
                "Succeeded": (succeeded["status"], succeeded["reason"]),
                "phase": status["phase"],
            }
            if PLOTS[name].timely:
                found[name] |= {
                    field: status.get(field)
                    for field in ("exitCode", "signal", "runID", "failures", "logs")
                }
                last = status.get("lastResult") or {}
                found[name]["lastResult"] = {k: v for k, v in last.items() if k != "finishedAt"}
                if succeeded["reason"] != "CreateFailed":  # a slow failure was told as a start
                    found[name]["Started"] = condition(seen, "Started").get("status")
                found[name]["starts"] = self._starts(name)
        return found

    def unfinished(self) -> str:
        """Return what has not come to its end, for a failure's message."""
        return "\n".join(
            f"{one['metadata']['name']}: {one.get('status')}"
            for one in self._tasks()
            if "finishedAt" not in one.get("status", {})
        )

    def clear(self) -> None:
        """Delete all Tasks."""
        path = f"/apis/weir.dev/v1alpha1/namespaces/{self.namespace}/tasks"
        self.system.cluster.admin.request("DELETE", path)

    def _make(self, name: str, step: Step) -> None:
        if step.changes is not None:
            self.system.patch_spec(self.namespace, name, **step.changes)
            return
        path = f"/apis/weir.dev/v1alpha1/namespaces/{self.namespace}/tasks/{name}"
        try:
            self.system.cluster.admin.request("DELETE", path)
        except RestError as exc:
            if exc.status != 404:
                raise

    def _starts(self, name: str) -> int:
        witness = self.folder / name
        return len(witness.read_text().splitlines()) if witness.exists() else 0

    def _tasks(self) -> list[Object]:
        return self.system.list(self.namespace)
