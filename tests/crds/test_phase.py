"""The one word for people."""

from typing import Any

import pytest

from weir_crds.phase import phase_of


def condition(type: str, status: str, reason: str = "Any") -> dict[str, str]:
    return {"type": type, "status": status, "reason": reason}


BOUND: dict[str, Any] = {"nodeName": "n1", "runID": 1}
STARTED = condition("Started", "True", "ContainerStarted")
END: dict[str, Any] = {**BOUND, "finishedAt": "2026-11-22T10:00:00Z"}
RETRIED: dict[str, Any] = {"lastResult": {"runID": 1, "reason": "NonZeroExit"}}
STOPPED = condition("Started", "False", "Stopped")
RETRYING: dict[str, Any] = {
    **RETRIED,
    "conditions": [STOPPED, condition("Succeeded", "Unknown", "Retrying")],
}


@pytest.mark.parametrize(
    ("sentence", "spec", "status", "word"),
    [
        ("a new Task", {}, {}, "Queued"),
        ("one that waits", {}, {"conditions": [condition("Scheduled", "False")]}, "Queued"),
        ("one to approve", {"approval": "Pending"}, {}, "PendingApproval"),
        ("one rejected", {"approval": "Rejected"}, {}, "Rejected"),
        ("suspended before its start", {"suspend": True}, {}, "Queued"),
        ("killed before its start", {"desiredState": "Killed"}, {}, "Stopping"),
        ("bound", {}, BOUND, "Starting"),
        ("running", {}, BOUND | {"conditions": [STARTED]}, "Running"),
        ("paused", {"desiredState": "Paused"},
         BOUND | {"conditions": [STARTED, condition("Paused", "True")]}, "Paused"),
        ("bound, to be paused before its start", {"desiredState": "Paused"},
         BOUND | {"conditions": [condition("Paused", "True")]}, "Paused"),
        ("resumed", {}, BOUND | {"conditions": [STARTED, condition("Paused", "False")]}, "Running"),
        ("being killed", {"desiredState": "Killed"}, BOUND | {"conditions": [STARTED]}, "Stopping"),
        ("being suspended", {"suspend": True}, BOUND | {"conditions": [STARTED]}, "Stopping"),
        ("suspended and stopped", {"suspend": True}, BOUND | {"conditions": [STOPPED]}, "Stopping"),
        ("stopped, and no longer to be suspended", {}, BOUND | {"conditions": [STOPPED]},
         "Stopping"),
        ("a failed run that is retried", {}, BOUND | RETRYING, "Retrying"),
        ("a failed run, killed meanwhile", {"desiredState": "Killed"}, BOUND | RETRYING,
         "Stopping"),
        ("stopped in a run after a retried one", {},
         BOUND | RETRIED | {"runID": 2, "conditions": [STOPPED]}, "Stopping"),
        ("suspended while it backs off", {"suspend": True},
         RETRIED | {"runID": 2, "conditions": [condition("Scheduled", "False", "Suspended")]},
         "Queued"),
        ("backing off", {},
         RETRIED | {"runID": 2, "conditions": [condition("Scheduled", "False", "BackOff")]},
         "Retrying"),
        ("queued again", {},
         RETRIED | {"runID": 2, "conditions": [condition("Scheduled", "False", "Queued")]},
         "Queued"),
        ("its second run", {},
         BOUND | RETRIED | {"runID": 2, "conditions": [STARTED]}, "Running"),
        ("completed", {}, END | {"conditions": [condition("Succeeded", "True")]}, "Succeeded"),
        ("failed", {}, END | {"conditions": [condition("Succeeded", "False", "OOMKilled")]},
         "Failed"),
        ("killed", {"desiredState": "Killed"},
         END | {"conditions": [condition("Succeeded", "False", "Killed")]}, "Killed"),
        ("completed before the kill", {"desiredState": "Killed"},
         END | {"conditions": [condition("Succeeded", "True")]}, "Succeeded"),
        ("ended by a rejection", {"approval": "Rejected"},
         END | {"conditions": [condition("Succeeded", "False", "Rejected")]}, "Rejected"),
        ("on a lost host", {}, END | {"conditions": [condition("Succeeded", "False", "HostLost")]},
         "Failed"),
    ],
)  # fmt: skip
def test_phase(sentence: str, spec: dict[str, Any], status: dict[str, Any], word: str) -> None:
    assert phase_of(spec, status) == word, sentence
