"""What `make status` reads out of logs."""

import pytest

from devcluster.state import State
from devcluster.status import duration, last_error, metrics_address, starts, text


@pytest.mark.parametrize(
    ("whose", "line"),
    [
        ("Kubernetes", 'E1122 10:11:33.897089   24161 file.go:246] "Unhandled Error" err="x"'),
        ("a Kubernetes program that gave up", "F1122 10:11:33.897089   24161 main.go:1] gone"),
        ("etcd", '{"level":"fatal","ts":"2026-11-22T10:11:33Z","msg":"address already in use"}'),
        ("Docker", 'time="2026-11-22T10:11:33Z" level=error msg="no such bridge"'),
        ("ours", "2026-11-22T10:31:45.262Z ERROR weir_operator.main: stopping"),
        ("a traceback", "ModuleNotFoundError: No module named 'weir_operator'"),
    ],
)
def test_an_error_is_found_in_each_format(whose: str, line: str) -> None:
    assert last_error(["I am well", line, "I am well again"]) == line


@pytest.mark.parametrize(
    "line",
    [
        'I1122 10:11:33.897089   24161 file.go:246] "ERRORS" none',
        '{"level":"warn","msg":"slow disk"}',
        "2026-11-22T10:31:45.262Z INFO weir_operator.main: bound task=a/b",
        'time="2026-11-22T10:11:33Z" level=warning msg="cgroup v1"',
        "E1122 11:11:41.897899   23274 controller.go:95] Found stale data, removed previous "
        "endpoints on kubernetes service, apiserver didn't exit successfully previously",
    ],
)
def test_nothing_else_is_taken_for_one(line: str) -> None:
    assert last_error([line]) == ""


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-1, "0s"), (59.9, "59s"), (61, "1m1s"), (7260, "2h1m"), (90000, "1d1h")],
)
def test_durations(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_starts_are_counted_from_supervisords_log() -> None:
    log = [
        "2026-11-22 10:10:00,000 INFO spawned: 'etcd' with pid 1",
        "2026-11-22 10:10:05,000 WARN exited: etcd (terminated by SIGKILL; not expected)",
        "2026-11-22 10:10:05,100 INFO spawned: 'etcd' with pid 2",
    ]

    assert starts(log) == {"etcd": 2}


def test_where_nothing_runs_it_says_what_to_do(state: State) -> None:
    assert "make demo" in text(State(state.root / "absent"))
    assert "interrupted" in text(state)


def test_it_tells_where_our_programs_serve_metrics() -> None:
    ports = {"weir-operator": 1, "weir-api": 2, "weir-api-metrics": 3, "etcd": 4}
    found = [metrics_address(name, ports) for name in ("weir-operator", "weir-api", "etcd")]
    assert found == ["127.0.0.1:1", "127.0.0.1:3", ""]
