"""The status word of a Task."""

from typing import Any

import pytest

from weir_api.hostapi.tasks.view import status_of
from weir_api.hostapi.tasks.wire import Status

END = "2026-11-22T10:00:00.000000Z"


def conditions(**states: str) -> list[dict[str, str]]:
    """Return conditions: ``Started="True"``, or ``Succeeded="False/Killed"``."""
    found = []
    for kind, state in states.items():
        status, _, reason = state.partition("/")
        found.append({"type": kind, "status": status, "reason": reason or "Because"})
    return found


CASES: list[tuple[str, dict[str, Any], dict[str, Any], bool, Status]] = [
    ("just made", {}, {}, False, Status.ASSIGNING),
    ("waits", {}, {"conditions": conditions(Scheduled="False/Queued")}, False, Status.ASSIGNING),
    ("bound", {}, {"nodeName": "n1"}, True, Status.PENDING),
    (
        "its image is pulled",
        {},
        {"nodeName": "n1", "conditions": conditions(Started="False/PullingImage")},
        True,
        Status.PENDING,
    ),
    (
        "runs",
        {},
        {"nodeName": "n1", "conditions": conditions(Started="True")},
        True,
        Status.RUNNING,
    ),
    (
        "is to be paused but is not yet",
        {"desiredState": "Paused"},
        {"nodeName": "n1", "conditions": conditions(Started="True")},
        True,
        Status.RUNNING,
    ),
    (
        "paused",
        {"desiredState": "Paused"},
        {"nodeName": "n1", "conditions": conditions(Started="True", Paused="True")},
        True,
        Status.PAUSED,
    ),
    (
        "resumed",
        {},
        {"nodeName": "n1", "conditions": conditions(Started="True", Paused="False")},
        True,
        Status.RUNNING,
    ),
    (
        "ran, and its host is silent",
        {},
        {"nodeName": "n1", "conditions": conditions(Started="True")},
        False,
        Status.LOST,
    ),
    (
        "was paused, and its host is silent",
        {},
        {"nodeName": "n1", "conditions": conditions(Started="True", Paused="True")},
        False,
        Status.LOST,
    ),
    ("bound to a host that is silent", {}, {"nodeName": "n1"}, False, Status.LOST),
    (
        "let go, and queued anew",
        {},
        {"runID": 2, "conditions": conditions(Started="False/Stopped")},
        False,
        Status.ASSIGNING,
    ),
    (
        "waits for its next run",
        {},
        {"runID": 2, "conditions": conditions(Scheduled="False/BackOff")},
        False,
        Status.ASSIGNING,
    ),
    ("awaits approval", {"approval": "Pending"}, {}, False, Status.PENDING_APPROVAL),
    ("refused, not ended yet", {"approval": "Rejected"}, {}, False, Status.REJECTED),
    (
        "refused",
        {"approval": "Rejected"},
        {"finishedAt": END, "conditions": conditions(Succeeded="False/Rejected")},
        False,
        Status.REJECTED,
    ),
    (
        "killed before it was approved",
        {"approval": "Pending"},
        {"finishedAt": END, "conditions": conditions(Succeeded="False/Killed")},
        False,
        Status.KILLED,
    ),
    (
        "succeeded, and its host is gone",
        {},
        {"nodeName": "n1", "finishedAt": END, "conditions": conditions(Succeeded="True/Completed")},
        False,
        Status.COMPLETED,
    ),
    *(
        (
            f"ended: {reason}",
            {},
            {
                "nodeName": "n1",
                "finishedAt": END,
                "conditions": conditions(Started="True", Succeeded=f"False/{reason}"),
            },
            True,
            word,
        )
        for reason, word in {
            "NonZeroExit": Status.FAILED,
            "OOMKilled": Status.KILLED_OOM,
            "Signalled": Status.FAILED,
            "TimedOut": Status.FAILED,
            "Killed": Status.KILLED,
            "ImagePullFailed": Status.FAILED,
            "CreateFailed": Status.FAILED,
            "HostLost": Status.LOST,
        }.items()
    ),
    ("ended, nobody knows how", {}, {"finishedAt": END}, True, Status.FAILED),
]


@pytest.mark.parametrize(
    ("spec", "status", "host_ready", "word"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_word(spec: dict[str, Any], status: dict[str, Any], host_ready: bool, word: Status) -> None:
    assert status_of(spec, status, host_ready=host_ready) == word
