"""supervisord as we use it."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcluster.state import State, wait_until_gone
from devcluster.status import text
from devcluster.supervise import Program, Supervisor
from support.polling import eventually

SLEEPER = Program("sleeper", ("sleep", "1000"))


@pytest.fixture
def supervisor(own_state: State) -> Iterator[Supervisor]:
    """A running supervisord."""
    started = Supervisor(own_state)
    assert started.start()
    yield started
    started.kill()


def _pid(supervisor: Supervisor, name: str = "sleeper") -> int:
    """Return the program's process id as soon as it has really begun."""

    def begun() -> int:
        pid: int = next(info["pid"] for info in supervisor.infos() if info["name"] == name)
        try:
            return pid if pid and Path(f"/proc/{pid}/comm").read_text()[:5] == "sleep" else 0
        except OSError:
            return 0  # it has ended since supervisord was asked

    return eventually(begun)


def test_a_program_that_is_killed_is_started_again(supervisor: Supervisor) -> None:
    supervisor.ensure(SLEEPER)
    first = _pid(supervisor)

    os.kill(first, signal.SIGKILL)

    eventually(lambda: _pid(supervisor) != first)


def test_ensure_leaves_alone_what_runs_as_described(supervisor: Supervisor) -> None:
    supervisor.ensure(SLEEPER)
    first = _pid(supervisor)

    supervisor.ensure(SLEEPER)

    assert _pid(supervisor) == first


def test_a_changed_description_restarts_the_program(supervisor: Supervisor) -> None:
    supervisor.ensure(SLEEPER)
    first = _pid(supervisor)

    supervisor.ensure(Program("sleeper", ("sleep", "2000")))

    words = Path(f"/proc/{_pid(supervisor)}/cmdline").read_bytes().split(b"\0")
    assert b"2000" in words
    assert not wait_until_gone({first}, 30)


@pytest.mark.parametrize("begun", [True, False], ids=["that run", "that are being started"])
def test_kill_nine_of_supervisord_takes_the_programs_along(
    supervisor: Supervisor, begun: bool
) -> None:
    supervisor.ensure(SLEEPER)
    parent = supervisor.pid()
    assert parent is not None
    [info] = supervisor.infos()
    child = _pid(supervisor) if begun else info["pid"]

    os.kill(parent, signal.SIGKILL)

    assert not wait_until_gone({child, parent}, 30)
    assert supervisor.pid() is None
    assert supervisor.start()
    assert supervisor.infos() == []


def test_arguments_and_environment_come_through_unchanged(
    supervisor: Supervisor, own_state: State
) -> None:
    script = "import os, sys, time; print(sys.argv[1:], os.environ['X']); time.sleep(1000)"
    odd = ("a b", "100%", "'", '"', "$HOME")
    program = Program("echo", (sys.executable, "-uc", script, *odd), {"X": "50% of a,b"})

    supervisor.ensure(program)

    log = own_state.log_of("echo")
    expected = f"{list(odd)} 50% of a,b"
    eventually(lambda: log.exists() and log.read_text().strip() == expected, what=expected)


def test_status_tells_restarts_and_the_last_error(supervisor: Supervisor, own_state: State) -> None:
    supervisor.ensure(Program("crasher", (sys.executable, "-c", "raise ValueError('broken')")))

    def told() -> bool:
        report = text(own_state)
        return "last error: ValueError: broken" in report and "backoff" in report

    eventually(told, lambda: text(own_state))


def test_stopped_programs_stay_stopped(supervisor: Supervisor) -> None:
    supervisor.ensure(SLEEPER)
    child = _pid(supervisor)

    supervisor.stop_programs(["sleeper", "unknown"])

    assert not wait_until_gone({child}, 0)
    assert [info["statename"] for info in supervisor.infos()] == ["STOPPED"]


def test_kill_is_idempotent(supervisor: Supervisor) -> None:
    supervisor.ensure(SLEEPER)
    child = _pid(supervisor)

    supervisor.kill()
    supervisor.kill()

    assert not wait_until_gone({child}, 30)
