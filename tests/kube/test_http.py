"""Health and metrics over plain HTTP; log lines."""

import json
import logging
from collections.abc import Callable

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter

from weir_kube.errors import ConfigError
from weir_kube.http import HealthServer, parse_listen
from weir_kube.logging import setup_logging


async def get(server: HealthServer, path: str) -> tuple[int, str]:
    url = f"http://127.0.0.1:{server.port}{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def test_ready_when_every_check_is_good_and_alive_whatever_they_say() -> None:
    state: dict[str, bool | str] = {"cache": True, "engine": "Docker does not answer"}
    checks = {name: lambda name=name: state[name] for name in state}
    async with HealthServer("127.0.0.1:0", checks) as server:
        assert await get(server, "/readyz") == (
            500,
            "[+] cache ok\n[-] engine failed: Docker does not answer\nfailed\n",
        )
        assert await get(server, "/healthz") == (200, "ok\n")
        state["engine"] = True
        assert await get(server, "/readyz") == (200, "[+] cache ok\n[+] engine ok\nok\n")
        state["cache"] = False
        assert (await get(server, "/readyz"))[0] == 500


async def test_a_failed_sign_of_life_asks_for_a_restart() -> None:
    async with HealthServer("127.0.0.1:0", {}, alive={"loop": lambda: "stuck"}) as server:
        assert (await get(server, "/healthz"))[0] == 500


async def test_metrics_are_served() -> None:
    registry = CollectorRegistry()
    Counter("weir_test", "Of this test.", registry=registry).inc()
    async with HealthServer("127.0.0.1:0", {}, registry=registry) as server:
        status, text = await get(server, "/metrics")
    assert status == 200
    assert "weir_test_total 1.0" in text


async def test_a_port_in_use_is_named() -> None:
    async with HealthServer("127.0.0.1:0", {}) as server:
        with pytest.raises(ConfigError, match=str(server.port)):
            await HealthServer(f"127.0.0.1:{server.port}", {}).start()


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("[::1]:80", ("::1", 80)),
        (":80", ("0.0.0.0", 80)),
        ("n1:0", ("n1", 0)),
    ],
)
def test_parse_listen(listen: str, address: tuple[str, int]) -> None:
    assert parse_listen(listen) == address


@pytest.mark.parametrize("listen", ["", "80", "a:", "a:b", "a:70000", "a:-1"])
def test_parse_listen_refuses(listen: str) -> None:
    with pytest.raises(ConfigError, match="no address to listen on"):
        parse_listen(listen)


@pytest.fixture
def stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[], str]:
    """What was logged; the test run's own logging is left as it was."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    return lambda: capsys.readouterr().err


def test_text_lines_have_utc_times(stderr: Callable[[], str]) -> None:
    setup_logging("info")
    logging.getLogger("weir.x").info("bound task=%s", "a/b")
    logging.getLogger("weir.x").debug("not shown")
    when, rest = stderr().split(" ", 1)
    assert when.endswith("Z")
    assert len(when) == len("2026-11-22T10:00:00.123Z")
    assert rest == "INFO weir.x: bound task=a/b\n"


def test_json_lines_hold_the_exception(stderr: Callable[[], str]) -> None:
    setup_logging("warning", json=True)
    try:
        raise ZeroDivisionError("oops")
    except ZeroDivisionError:
        logging.getLogger("weir.x").exception("it failed")
    line = json.loads(stderr())
    assert line["level"] == "error"
    assert line["message"] == "it failed"
    assert "ZeroDivisionError: oops" in line["exception"]


def test_an_unknown_level_is_refused(stderr: Callable[[], str]) -> None:
    with pytest.raises(ValueError, match="LOUD"):
        setup_logging("loud")
