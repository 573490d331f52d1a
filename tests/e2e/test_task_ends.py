"""Each way a Task can end has its own condition and reason, and its output is kept."""

import hashlib
from typing import Any

import pytest

from support.tasks import condition, task
from support.weir_system import WeirSystem

pytestmark = pytest.mark.e2e

# (what, spec changes, Succeeded status, reason, other status fields)
ENDS: list[tuple[str, dict[str, Any], str, str, dict[str, Any]]] = [
    ("success", {"command": ["true"]}, "True", "Completed", {"exitCode": 0}),
    (
        "exit 3",
        {"command": ["sh", "-c", "exit 3"]},
        "False",
        "NonZeroExit",
        {"exitCode": 3},
    ),
    (
        "an image that its registry cannot be asked for",
        {"image": "127.0.0.1:9/none:1"},
        "False",
        "ImagePullFailed",
        {},
    ),
    (
        "an image that is not there and must not be pulled",
        {"image": "localhost/not-there:1", "imagePullPolicy": "Never"},
        "False",
        "ImagePullFailed",
        {},
    ),
    ("a missing program", {"command": ["/no/such/program"]}, "False", "CreateFailed", {}),
    (
        "more memory than its limit",
        {
            "command": ["sh", "-c", "head -c 200m /dev/zero | tail"],
            "resources": {"cpu": 1, "memory": "16Mi"},
        },
        "False",
        "OOMKilled",
        {"exitCode": 137},
    ),
    (
        "longer than its timeout",
        {"command": ["sleep", "60"], "timeoutSeconds": 1},
        "False",
        "TimedOut",
        {},
    ),
    (
        "killed by a signal",
        {"command": ["sh", "-c", "kill -SEGV $$"]},
        "False",
        "Signalled",
        {"exitCode": 139, "signal": 11},
    ),
]


@pytest.mark.parametrize(
    ("spec", "status", "reason", "facts"), [e[1:] for e in ENDS], ids=[e[0] for e in ENDS]
)
def test_each_end_has_its_own_reason(
    weir: WeirSystem,
    namespace: str,
    spec: dict[str, Any],
    status: str,
    reason: str,
    facts: dict[str, Any],
) -> None:
    """The summary condition names what happened, and the container is gone."""
    created = weir.create(task("ends", namespace, **spec))

    ended = weir.wait_finished(namespace, "ends")

    succeeded = condition(ended, "Succeeded")
    assert (succeeded["status"], succeeded["reason"]) == (status, reason), ended["status"]
    assert {key: ended["status"].get(key) for key in facts} == facts
    weir.wait_no_containers(created["metadata"]["uid"])


def test_output_of_ten_megabytes_in_a_second_is_kept_whole(
    weir: WeirSystem, namespace: str
) -> None:
    """A burst larger than any buffer comes out byte for byte."""
    script = "yes 0123456789abcde | head -c 10485760"
    weir.create(task("burst", namespace, command=["sh", "-c", script]))

    ended = weir.wait_finished(namespace, "burst")

    expected = b"0123456789abcde\n" * 655360
    assert ended["status"]["logs"] == {
        "stdoutBytes": len(expected),
        "stderrBytes": 0,
        "truncated": False,
    }
    output = weir.kubectl_weir("logs", "-n", namespace, "burst")
    assert hashlib.sha256(output).digest() == hashlib.sha256(expected).digest()


def test_bytes_that_are_no_text_come_out_as_they_were_written(
    weir: WeirSystem, namespace: str
) -> None:
    """Every byte value, on both streams, apart and together."""
    script = (
        'i=0; while [ $i -lt 256 ]; do printf "\\\\x$(printf %02x $i)"; i=$((i+1)); done;'
        " printf 'err\\377' >&2"
    )
    weir.create(task("bytes", namespace, command=["sh", "-c", script]))
    weir.wait_finished(namespace, "bytes")

    out = weir.kubectl_weir("logs", "-n", namespace, "--stream", "stdout", "bytes")
    err = weir.kubectl_weir("logs", "-n", namespace, "--stream", "stderr", "bytes")

    assert out == bytes(range(256))
    assert err == b"err\xff"


def test_logs_can_be_followed_from_before_the_start_to_the_end(
    weir: WeirSystem, namespace: str
) -> None:
    """``logs -f`` waits for the start, and returns all of the output when the Task ends."""
    script = "for i in 1 2 3; do echo line $i; sleep 0.3; done"
    with weir.follow_logs(namespace, "follow") as follower:
        weir.create(task("follow", namespace, command=["sh", "-c", script]))
        output = follower.communicate(timeout=60)[0]

    assert output == b"line 1\nline 2\nline 3\n"
    assert follower.returncode == 0
