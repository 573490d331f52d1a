"""Whatever goes wrong in whatever order: a run ends in the state of a run without faults."""

import os
import sys
import time
from pathlib import Path

import pytest

from support.chaos import Chaos
from support.faulty_system import FaultySystem
from support.polling import eventually
from support.seeds import seeded
from support.story import Object, Story

# WEIR_TEST_EXAMPLES=7-7 plays one again, 0-999 looks for new ones.
FIRST, LAST = map(int, os.environ.get("WEIR_TEST_EXAMPLES", "0-7").split("-"))
FAULTS = 7

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300 + 60 * (LAST - FIRST))]

_STRIKES_SECONDS = 3.0
_SETTLE_SECONDS = 90.0


def test_any_sequence_of_faults_ends_as_a_run_without_faults(
    system: FaultySystem, faulty_namespace: str, tmp_path: Path
) -> None:
    """Same verdicts, codes and logs; each run was started once; no container is left."""
    expected = _play(system, faulty_namespace, tmp_path / "calm", None)
    for seen in expected.values():
        assert seen.get("starts") in (None, 0, seen.get("runID")), expected

    for number in range(FIRST, LAST + 1):
        chaos = Chaos(system, seeded("faults", number))
        try:
            seen = _in_doubt(_play(system, faulty_namespace, tmp_path / str(number), chaos))
            differing = {name for name in expected if seen.get(name) != expected[name]}
            assert {name: seen.get(name) for name in differing} == {
                name: expected[name] for name in differing
            }
        except BaseException:
            sys.stderr.write("\n".join([f"example {number}:", *chaos.told, ""]))
            raise


def _in_doubt(result: dict[str, Object]) -> dict[str, Object]:
    """Let output be said to be truncated though all of it is there: Docker may have been away."""
    for seen in result.values():
        for part in (seen, seen.get("lastResult") or {}):
            if part.get("logs"):
                part["logs"] = {**part["logs"], "truncated": False}
    return result


def _play(
    system: FaultySystem, namespace: str, folder: Path, chaos: Chaos | None
) -> dict[str, Object]:
    """Run the story to its end, disturbed by some faults; return what came of it."""
    folder.mkdir()
    story = Story(system, namespace, folder)
    began = time.monotonic()
    with system.watch_containers() as watcher:
        strikes: list[float] = []
        if chaos is not None:
            count = chaos.chance.randint(2, FAULTS)
            strikes = sorted(chaos.chance.uniform(0, _STRIKES_SECONDS) for _ in range(count))
        story.begin()
        while chaos is not None and time.monotonic() - began < _STRIKES_SECONDS:
            while strikes and strikes[0] <= time.monotonic() - began:
                strikes.pop(0)
                chaos.strike()
            chaos.tick()
            story.go_on()
            time.sleep(0.05)
        if chaos is not None:
            for _ in strikes:
                chaos.strike()
            chaos.end()
        struck = time.monotonic()
        eventually(story.go_on, story.unfinished, _SETTLE_SECONDS, every=0.1)
        result = story.result()
        uids = set(story.uids.values())
        system.wait_no_containers(timeout=_SETTLE_SECONDS)
        story.clear()
    sys.stderr.write(f"{struck - began:.1f} s, then {time.monotonic() - struck:.1f} s to the end\n")
    assert {run: n for run, n in watcher.runs.items() if run[0] in uids and n > 1} == {}
    assert watcher.shared == []
    return result
