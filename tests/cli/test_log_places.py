"""Where a Task's output is."""

from typing import Any

import pytest

from weir_cli.logs import Never, NotYet, Readable, readiness

RAN: dict[str, Any] = {"runID": 2, "lastResult": {"runID": 1, "reason": "X", "nodeName": "n1"}}
BOUND = {**RAN, "nodeName": "n2"}
STARTED = [{"type": "Started", "status": "True", "reason": "ContainerStarted"}]
END = {"finishedAt": "2026-11-22T10:00:00Z"}


@pytest.mark.parametrize(
    ("sentence", "status", "wanted", "follow", "found"),
    [
        ("not bound yet", {}, None, False, NotYet),
        ("ended without a host", END, None, False, Never),
        ("running", {**BOUND, "conditions": STARTED}, None, False, Readable("n2")),
        ("running, an earlier run", {**BOUND, "conditions": STARTED}, 1, False,
         Readable("n1", 1)),
        ("running, this run", {**BOUND, "conditions": STARTED}, 2, False, Readable("n2")),
        ("waiting for its second run", RAN, None, False, Readable("n1", 1)),
        ("waiting for its second run, which is waited for", RAN, None, True, NotYet),
        ("waiting for its second run, the first is asked for", RAN, 1, True, Readable("n1", 1)),
        ("killed before its second run", {**RAN, **END}, None, True, Readable("n1", 1)),
    ],
)  # fmt: skip
def test_where_output_is(
    sentence: str, status: dict[str, Any], wanted: int | None, follow: bool, found: Any
) -> None:
    answer = readiness({"status": status}, wanted, follow=follow)
    if isinstance(found, type):
        assert isinstance(answer, found), sentence
    else:
        assert answer == found, sentence
