"""What the operator can be told."""

import datetime as dt

import pytest

from weir_operator.settings import Settings, parse


def test_defaults() -> None:
    settings = parse([], {})
    assert settings == Settings(identity=settings.identity)
    assert settings.identity


def test_a_flag_wins_over_the_environment() -> None:
    environ = {
        "WEIR_APPROVE_HOSTS": "false",
        "WEIR_TTL_SECONDS_AFTER_FINISHED": "60",
        "WEIR_FINISHED_TASKS_PER_NAMESPACE": "5",
        "WEIR_LOG_LEVEL": "debug",
        "WEIR_IDENTITY": "me",
        "WEIR_LOG_JSON": "1",
    }
    settings = parse(["--log-level", "error", "--identity=you"], environ)
    assert settings == Settings(
        approve_hosts=False,
        ttl_after_finished=dt.timedelta(minutes=1),
        finished_tasks_per_namespace=5,
        log_level="error",
        log_json=True,
        identity="you",
    )
    assert parse(["--approve-hosts"], environ).approve_hosts


@pytest.mark.parametrize(
    ("argv", "environ"),
    [
        (["--finished-tasks-per-namespace=-1"], {}),
        (["--log-level=loud"], {}),
        ([], {"WEIR_APPROVE_HOSTS": "perhaps"}),
        ([], {"WEIR_TTL_SECONDS_AFTER_FINISHED": "soon"}),
    ],
)
def test_nonsense_is_refused(
    argv: list[str], environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(argv, environ)
    assert "usage:" in capsys.readouterr().err
