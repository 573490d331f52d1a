"""The command line, and the environment in its place."""

from pathlib import Path

import pytest

from weir_nodedaemon import settings


def test_defaults() -> None:
    chosen = settings.parse(["--state-dir", "/var/lib/weir"], {})

    assert chosen.state_dir == Path("/var/lib/weir")
    assert chosen.engine.name == "docker"
    assert chosen.docker_host == "unix:///var/run/docker.sock"
    assert (chosen.listen, chosen.metrics_listen) == ("0.0.0.0:8443", "127.0.0.1:8444")
    assert (chosen.cpus, chosen.memory_bytes, chosen.gpus) == (None, None, None)
    assert chosen.log_limit_bytes == 32 * 2**20
    assert chosen.host_name
    assert chosen.pids_limit == 4096


def test_the_environment_stands_in_for_flags_and_flags_win() -> None:
    environ = {
        "WEIR_STATE_DIR": "/s",
        "WEIR_HOST_NAME": "n1",
        "WEIR_CPUS": "0-1,4",
        "WEIR_MEMORY": "8Gi",
        "WEIR_LOG_JSON": "true",
        "DOCKER_HOST": "unix:///run/other.sock",
    }

    chosen = settings.parse(["--host-name", "n2"], environ)

    assert chosen.state_dir == Path("/s")
    assert chosen.host_name == "n2"
    assert chosen.cpus == (0, 1, 4)
    assert chosen.memory_bytes == 8 * 2**30
    assert chosen.log_json
    assert chosen.docker_host == "unix:///run/other.sock"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "--state-dir"),
        (["--state-dir", "/s", "--cpus", "a"], "argument --cpus"),
        (["--state-dir", "/s", "--cpus", ""], "at least one core"),
        (["--state-dir", "/s", "--memory", "much"], "argument --memory"),
        (["--state-dir", "/s", "--pids-limit", "0"], "argument --pids-limit"),
        (["--state-dir", "/s", "--pids-limit", "-1"], "argument --pids-limit"),
        (["--state-dir", "/s", "--pids-limit", "15"], "from 16 on"),
        (["--state-dir", "/s", "--engine", "podman"], "argument --engine"),
    ],
)
def test_bad_usage_names_the_flag(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        settings.parse(argv, {})

    assert said in capsys.readouterr().err


def test_help_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        settings.parse(["--help"], {})

    help_text = capsys.readouterr().out
    for name in settings.Settings.__dataclass_fields__:
        flag = name.removesuffix("_bytes").replace("_", "-")
        assert f"--{flag}" in help_text


@pytest.mark.parametrize(
    ("text", "gpus"),
    [("none", ()), ("GPU-a", ("GPU-a",)), ("GPU-a, GPU-b,", ("GPU-a", "GPU-b"))],
)
def test_gpus_are_chosen_by_uuid(text: str, gpus: tuple[str, ...]) -> None:
    assert settings.parse(["--state-dir", "/s", "--gpus", text], {}).gpus == gpus


def test_no_gpus_has_a_word_of_its_own() -> None:
    with pytest.raises(SystemExit):
        settings.parse(["--state-dir", "/s", "--gpus", ","], {})
