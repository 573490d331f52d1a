"""The OpenAPI document and the running facade say the same: schemathesis, in all its phases.

``_CONFIG`` tells it what it cannot know: what is refused though it has the right shape, and why.
Its phases run side by side, in two processes: a good part of the time is the facade's own, which
waits a moment for ids that it does not know.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.polling import eventually
from support.small_world import SmallWorld
from weir_crds.kinds import TASK

_CONFIG = """
[generation]
allow-x00 = false  # it is refused everywhere, which no schema here says; test_bad_input sends it
database = "none"
[phases.stateful.generation]
max-examples = 100
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 503]  # a submission that no host can ever take
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", 400, 401, 403, 404, 409, 429, 503]
[checks.negative_data_rejection]
enabled = false  # numbers may be written as text; test_bad_input sends what may not be
[[operations]]
include-path = "/api/register"
[operations.checks.positive_data_acceptance]
enabled = false  # not all that looks like an URL is one
[[operations]]
include-path = "/api/submit"
[operations.checks.positive_data_acceptance]
enabled = false  # an Idempotency-Key is good for one submission
"""
_HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
# It would end the run's own token.
_LEFT_OUT = "delete_auth_tokens_token_id"


# Together they are all that there are, and each takes about as long as the other.
_PHASES = (("Examples", "Coverage", "Stateful"), ("Fuzzing",))


@pytest.mark.timeout(900)  # it takes a minute or two where nothing else runs
def test_no_server_error_and_no_answer_that_is_not_documented(
    small_world: SmallWorld, tmp_path: Path
) -> None:
    world = small_world
    ids = [world.submit() for _ in range(4)]
    eventually(lambda: world.request("GET", f"/api/status/{ids[0]}").json()["status"] == "running")
    assert world.request("POST", f"/api/kill/{ids[1]}").status == 202
    pid, told = world.facade.process.pid, len(world.facade.log())
    failed_before = _failures(world)
    (tmp_path / "schemathesis.toml").write_text(_CONFIG)

    with ThreadPoolExecutor(len(_PHASES)) as pool:
        runs = pool.map(lambda phases: _run(world, tmp_path, phases), _PHASES)
    for phases, done in zip(_PHASES, runs, strict=True):
        assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
        for phase in phases:
            assert f"✅ {phase}" in done.stdout, done.stdout[-5_000:]
    assert world.facade.process.pid == pid
    log = world.facade.log()[told:]
    assert "Traceback" not in log
    assert "ERROR" not in log
    # It got as far as real work, and it is only submissions that no host can take that got a 503.
    assert len(world.cluster.admin.json("GET", TASK.path())["items"]) > len(ids)
    failed = _failures(world) - failed_before
    assert all('route="/api/submit"' in line and 'code="503"' in line for line in failed), failed


def _run(
    world: SmallWorld, folder: Path, phases: Sequence[str]
) -> subprocess.CompletedProcess[str]:
    """Have schemathesis go through some of its phases."""
    return subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            *("--config-file", str(folder / "schemathesis.toml")),
            *("run", f"{world.facade.url}/openapi.json", "--no-color", "--no-shrink"),
            *("--header", f"Authorization: Bearer {world.token}"),
            *("--phases", ",".join(phases).lower()),
            *("--max-examples", "15", "--continue-on-failure", "--seed", "5"),
            *("--exclude-operation-id", _LEFT_OUT),
        ],
        cwd=folder,
        env=os.environ
        | {"SCHEMATHESIS_HOOKS": str(_HOOKS), "PYTHONPATH": str(_HOOKS.parents[1])}
        # Where hypothesis keeps its tables of characters: else it makes them anew each time.
        | {"HYPOTHESIS_STORAGE_DIRECTORY": str(_HOOKS.parents[2] / ".hypothesis")}
        | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )


def _failures(world: SmallWorld) -> set[str]:
    """Return the lines of the facade's metrics that count requests it failed to serve."""
    metrics = world.facade.health.request("GET", "/metrics").decode()
    return {line for line in metrics.splitlines() if 'requests_total{code="5' in line}
