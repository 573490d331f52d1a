"""Docker's JSON from and to our words."""

import datetime as dt
from typing import Any

import pytest

from weir_nodedaemon.engines.docker.objects import (
    available_cpus,
    create_body,
    event,
    gives_gpus_to_all,
    init_failure,
    listed,
    observed,
    parse_time,
    usage,
)
from weir_nodedaemon.engines.port import ContainerSpec, EngineEvent, InstanceState


def spec(**changes: Any) -> ContainerSpec:
    values: dict[str, Any] = {"name": "weir-u-1", "image": "busybox:1", "labels": {"a": "b"}}
    return ContainerSpec(**(values | changes))


def inspected(**changes: Any) -> dict[str, Any]:
    """An answer of Docker about a container that has ended."""
    state = {
        "Status": "exited",
        "ExitCode": 3,
        "OOMKilled": False,
        "Error": "",
        "StartedAt": "2026-11-22T10:00:00.123456789Z",
        "FinishedAt": "2026-11-22T10:00:01.5Z",
    }
    return {
        "Id": "1",
        "Name": "/weir-u-1",
        "State": state | changes,
        "Config": {"Labels": {"weir.dev/host": "h"}, "StopTimeout": 7},
        "HostConfig": {"CpusetCpus": "0-1,4", "Memory": 64, "DeviceRequests": None},
    }


def test_what_is_not_asked_for_is_left_to_the_image_and_to_docker() -> None:
    body = create_body(spec(), "h")
    assert body.keys() == {"Image", "Labels", "Env", "StopTimeout", "HostConfig"}
    ours = {"weir.dev/host": "h", "weir.dev/uid": "u", "weir.dev/run": "1"}
    assert body["Labels"] == {"a": "b", **ours}
    assert body["HostConfig"].keys() == {
        "Init",
        "NetworkMode",
        "Privileged",
        "RestartPolicy",
        "LogConfig",
        "Mounts",
    }


@pytest.mark.parametrize(
    ("refusal", "cpus"),
    [
        ("Requested CPUs are not available - requested 8191, available: 0-3,8", (0, 1, 2, 3, 8)),
        ("No such image: weir.invalid/none:none", None),
        ("Requested CPUs are not available - requested 8191, available: ", None),
    ],
)
def test_the_cores_that_docker_has_stand_in_its_refusal(
    refusal: str, cpus: tuple[int, ...] | None
) -> None:
    assert available_cpus(refusal) == cpus


def test_gpus_are_hidden_from_who_has_none_where_all_would_see_them() -> None:
    asked = {"A": "1", "NVIDIA_VISIBLE_DEVICES": "all"}
    hidden = create_body(spec(env=asked), "h", hide_gpus=True)
    assert sorted(hidden["Env"]) == ["A=1", "NVIDIA_VISIBLE_DEVICES=void"]
    given = create_body(spec(gpu_uuids=("GPU-1",)), "h", hide_gpus=True)
    assert given["Env"] == []  # Docker names those that were asked for
    assert create_body(spec(env=asked), "h")["Env"] == ["A=1", "NVIDIA_VISIBLE_DEVICES=all"]


@pytest.mark.parametrize(
    ("info", "gives"),
    [
        ({"DefaultRuntime": "nvidia", "Runtimes": {"nvidia": {"path": "/usr/bin/x"}}}, True),
        (
            {"DefaultRuntime": "gpu", "Runtimes": {"gpu": {"path": "nvidia-container-runtime"}}},
            True,
        ),
        ({"DefaultRuntime": "runc", "Runtimes": {"nvidia": {"path": "nvidia"}, "runc": {}}}, False),
        ({}, False),
    ],
)
def test_a_default_runtime_of_nvidias_gives_gpus_to_all(info: dict[str, Any], gives: bool) -> None:
    assert gives_gpus_to_all(info) is gives


def test_what_it_writes_is_limited_where_docker_can() -> None:
    asked = spec(layer_bytes=2**30)
    assert create_body(asked, "h")["HostConfig"]["StorageOpt"] == {"size": str(2**30)}
    assert "StorageOpt" not in create_body(asked, "h", limit_layer=False)["HostConfig"]


def test_processes_are_limited_where_a_limit_is_given() -> None:
    assert create_body(spec(pids_limit=4096), "h")["HostConfig"]["PidsLimit"] == 4096


def test_memory_is_limited_without_swap() -> None:
    host = create_body(spec(memory_bytes=1 << 30), "h")["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 1 << 30


def test_gpus_are_asked_for_by_their_own_ids() -> None:
    host = create_body(spec(gpu_uuids=("GPU-1", "GPU-2")), "h")["HostConfig"]
    assert host["DeviceRequests"] == [{"DeviceIDs": ["GPU-1", "GPU-2"], "Capabilities": [["gpu"]]}]


def test_gpus_are_read_back() -> None:
    answer = inspected()
    answer["HostConfig"]["DeviceRequests"] = [{"DeviceIDs": ["GPU-1"]}, {"DeviceIDs": None}]
    assert observed(answer).gpu_uuids == ("GPU-1",)


def test_an_ended_container_is_read() -> None:
    seen = observed(inspected())
    assert (seen.name, seen.state, seen.exit_code) == ("weir-u-1", InstanceState.EXITED, 3)
    assert seen.started_at == dt.datetime(2026, 11, 22, 10, 0, 0, 123456, dt.UTC)
    assert seen.finished_at == dt.datetime(2026, 11, 22, 10, 0, 1, 500000, dt.UTC)
    assert (seen.cpus, seen.memory_bytes, seen.stop_grace_seconds) == ((0, 1, 4), 64, 7)


def test_a_running_container_has_no_exit_code_and_no_end() -> None:
    seen = observed(inspected(Status="running", ExitCode=0, FinishedAt="0001-01-01T00:00:00Z"))
    assert (seen.exit_code, seen.finished_at) == (None, None)


def test_an_end_is_not_before_its_start() -> None:
    seen = observed(inspected(FinishedAt="2026-11-22T10:00:00.1Z"))
    assert seen.finished_at == seen.started_at


def test_a_start_that_failed_for_good_is_told() -> None:
    seen = observed(inspected(Status="created", ExitCode=128, Error="no such user"))
    assert (seen.state, seen.exit_code, seen.error) == (
        InstanceState.CREATED,
        None,
        "no such user",
    )


def test_a_start_that_failed_for_now_is_no_error() -> None:
    assert observed(inspected(Status="created", Error="context deadline exceeded")).error == ""


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("0001-01-01T00:00:00Z", None),
        ("", None),
        (None, None),
        ("2026-11-22T10:00:00Z", dt.datetime(2026, 11, 22, 10, tzinfo=dt.UTC)),
        ("2026-11-22T10:00:00.1Z", dt.datetime(2026, 11, 22, 10, 0, 0, 100000, dt.UTC)),
        ("2026-11-22T10:00:00.999999999Z", dt.datetime(2026, 11, 22, 10, 0, 0, 999999, dt.UTC)),
        ("2026-11-22T12:00:00.5+02:00", dt.datetime(2026, 11, 22, 10, 0, 0, 500000, dt.UTC)),
    ],
)
def test_a_time_is_read_to_the_microsecond(text: str | None, time: dt.datetime | None) -> None:
    assert parse_time(text) == time


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (
            b"[FATAL tini (7)] exec /nope failed: No such file or directory\n",
            "exec /nope failed: No such file or directory",
        ),
        (b"[FATAL tini (123)] exec a b failed: x\n", "exec a b failed: x"),
        (b"sh: nope: not found\n", ""),
        (b"before\n[FATAL tini (7)] exec /nope failed: x\n", ""),
        (b"[FATAL tini (7)] exec /nope failed: x\nafter\n", ""),
        (b"", ""),
    ],
)
def test_the_init_is_believed_only_when_nothing_else_spoke(output: bytes, words: str) -> None:
    assert init_failure(output) == words


@pytest.mark.parametrize("cache", ["total_inactive_file", "inactive_file"])
def test_memory_in_use_is_less_the_cache(cache: str) -> None:
    """cgroup v1 and v2 call it differently."""
    found = usage(
        {
            "cpu_stats": {"cpu_usage": {"total_usage": 1_500_000_000}},
            "memory_stats": {"usage": 100, "stats": {cache: 30}},
            "pids_stats": {"current": 2},
        }
    )
    assert found is not None
    assert (found.cpu_seconds, found.memory_bytes, found.pids) == (1.5, 70, 2)


def test_what_does_not_run_has_no_usage() -> None:
    assert usage({"memory_stats": {}, "cpu_stats": {"cpu_usage": {"total_usage": 0}}}) is None


@pytest.mark.parametrize(
    ("action", "seen"),
    [
        ("die", EngineEvent("weir-u-1", "die")),
        ("exec_start: sh", None),
        ("kill", None),
        ("top", None),
    ],
)
def test_an_event_that_changes_nothing_is_left_out(action: str, seen: EngineEvent | None) -> None:
    assert event({"Action": action, "Actor": {"Attributes": {"name": "weir-u-1"}}}) == seen


def test_a_container_that_another_is_linked_to_has_its_own_name_still() -> None:
    shown = listed({"Names": ["/other/alias", "/weir-u-1"], "State": "running", "Labels": {}})
    assert shown is not None
    assert shown.name == "weir-u-1"
