"""The command line, and the environment in its place."""

import re
from pathlib import Path

import pytest

from weir_api import settings
from weir_api.settings import InvalidSettingsError, Settings


def test_defaults() -> None:
    chosen = settings.parse([], {})

    assert (chosen.listen, chosen.metrics_listen) == ("127.0.0.1:8000", "127.0.0.1:8082")
    assert chosen.auth
    assert not chosen.allow_unauthenticated_network
    assert not chosen.secure_cookie
    assert (chosen.namespace, chosen.working_dir) == ("weir", "/shared")
    assert (chosen.shared_dir, chosen.environments) == (None, None)
    assert (chosen.session_hours, chosen.max_body_bytes) == (720, 2**20)
    assert (chosen.admin_secret, chosen.admin_register_secret) == (None, None)


def test_the_environment_stands_in_for_flags_and_flags_win() -> None:
    environ = {
        "WEIR_LISTEN": "127.0.0.1:1",
        "WEIR_NAMESPACE": "a",
        "WEIR_AUTH": "false",
        "WEIR_SECURE_COOKIE": "yes",
        "WEIR_SESSION_HOURS": "5",
        "WEIR_SHARED_DIR": "",
        "WEIR_LOG_JSON": "",
        "WEIR_ADMIN_SECRET": "s",
        "WEIR_ADMIN_REGISTER_SECRET": "",
    }

    chosen = settings.parse(["--namespace", "b", "--no-secure-cookie"], environ)

    assert chosen.listen == "127.0.0.1:1"
    assert chosen.namespace == "b"
    assert not chosen.auth
    assert not chosen.secure_cookie
    assert not chosen.log_json
    assert chosen.session_hours == 5
    assert chosen.shared_dir is None
    assert (chosen.admin_secret, chosen.admin_register_secret) == ("s", None)


def test_bounds_and_proxies_are_settings() -> None:
    chosen = settings.parse([], {})
    assert (chosen.max_stale_seconds, chosen.max_pending_tasks, chosen.pending_days) == (
        60,
        100,
        30,
    )
    assert (chosen.trusted_proxy, chosen.public_url) == ((), ())

    chosen = settings.parse(
        [
            "--max-stale-seconds=5",
            "--max-pending-tasks=6",
            "--pending-days=7",
            "--trusted-proxy=10.0.0.0/8, ::1",
            "--public-url=https://Weir.example.org/ui,http://127.0.0.1:8000",
        ],
        {},
    )
    assert (chosen.max_stale_seconds, chosen.max_pending_tasks, chosen.pending_days) == (5, 6, 7)
    assert [str(one) for one in chosen.trusted_proxy] == ["10.0.0.0/8", "::1/128"]
    assert chosen.public_url == ("https://weir.example.org", "http://127.0.0.1:8000")


@pytest.mark.parametrize(
    "flag",
    [
        "--max-stale-seconds=0",
        "--max-pending-tasks=0",
        "--pending-days=x",
        "--trusted-proxy=10.0.0.1/8",
        "--public-url=weir.example.org",
    ],
)
def test_bounds_and_proxies_that_cannot_be(flag: str) -> None:
    with pytest.raises(SystemExit):
        settings.parse([flag], {})


def test_an_empty_variable_switches_nothing() -> None:
    """A blank in a manifest must not switch authentication off."""
    chosen = settings.parse([], {"WEIR_AUTH": "", "WEIR_ALLOW_UNAUTHENTICATED_NETWORK": ""})

    assert chosen.auth
    assert not chosen.allow_unauthenticated_network


def test_secrets_come_from_files_too_and_are_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("from-file\n")

    chosen = settings.parse(
        [f"--admin-secret-file={file}", f"--admin-register-secret-file={file}"],
        {"WEIR_ADMIN_SECRET": "from-environment"},
    )

    assert (chosen.admin_secret, chosen.admin_register_secret) == ("from-file", "from-file")
    assert "from-file" not in repr(chosen)
    with pytest.raises(InvalidSettingsError, match="nowhere"):
        settings.parse(["--admin-secret-file=/nowhere"], {})


@pytest.mark.parametrize("flag", ["--admin-secret", "--admin-register-secret"])
def test_secrets_are_no_flags(flag: str) -> None:
    """All who may list processes could read them."""
    with pytest.raises(SystemExit):
        settings.parse([f"{flag}=hidden"], {})


@pytest.mark.parametrize(
    ("listen", "open_"),
    [
        ("127.0.0.1:8000", False),
        ("127.9.9.9:8000", False),
        ("[::1]:8000", False),
        ("localhost:8000", False),
        ("0.0.0.0:8000", True),
        (":8000", True),
        ("[::]:8000", True),
        ("10.0.0.1:8000", True),
        ("localhost.example.org:8000", True),
        ("nonsense", True),
    ],
)
def test_without_authentication_only_this_machine_is_served(listen: str, open_: bool) -> None:
    argv = ["--no-auth", f"--listen={listen}"]
    if open_:
        with pytest.raises(InvalidSettingsError):
            settings.parse(argv, {})
    else:
        settings.parse(argv, {})
    settings.parse([f"--listen={listen}"], {})
    assert settings.parse([*argv, "--allow-unauthenticated-network"], {}).listen == listen


@pytest.mark.parametrize(
    ("argv", "environ", "said"),
    [
        (["--session-hours", "0"], {}, "at least 1"),
        (["--max-body-bytes", "x"], {}, "--max-body-bytes"),
        (["--shared-dir", "a/b"], {}, "no absolute path"),
        (["--log-level", "loud"], {}, "--log-level"),
        ([], {"WEIR_AUTH": "perhaps"}, "WEIR_AUTH is either true or false"),
    ],
)
def test_bad_usage_names_the_flag(
    argv: list[str], environ: dict[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        settings.parse(argv, environ)

    assert said in capsys.readouterr().err


def test_help_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        settings.parse(["--help"], {})

    told = capsys.readouterr().out
    for name in Settings.__dataclass_fields__:
        assert re.search(f"--{name.replace('_', '-')}", told), name
