"""Image registries on loopback: a real one, and one that never answers."""

import http.client
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devcluster.rest import Rest
from devcluster.supervise import Program
from support.polling import eventually
from support.process import Process

_CONFIG = """\
version: 0.1
log: {{level: warn}}
storage:
  filesystem: {{rootdirectory: "{folder}/images"}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:{port}"}}
"""
_AUTH = """\
auth: {{htpasswd: {{realm: test, path: "{folder}/htpasswd"}}}}
"""


@contextmanager
def real_registry(folder: Path, port: int, *, htpasswd: str = "") -> Iterator[str]:
    """Run a registry that can be pushed to and pulled from; yield its ``host:port``.

    Args:
        folder: to be made, for what it keeps.
        port: to listen on.
        htpasswd: a line of who may; empty: everybody.
    """
    folder.mkdir()
    config = folder / "config.yml"
    config.write_text((_CONFIG + (_AUTH if htpasswd else "")).format(folder=folder, port=port))
    if htpasswd:
        (folder / "htpasswd").write_text(f"{htpasswd}\n")
    process = Process(
        Program("registry", ("docker-registry", "serve", str(config))), folder / "registry.log"
    )
    process.start()
    try:
        probe = Rest(f"http://127.0.0.1:{port}")
        eventually(
            lambda: probe.answers("/v2/") or (bool(htpasswd) and _asks(port)),
            "the registry answers",
        )
        yield f"127.0.0.1:{port}"
    finally:
        process.stop()


def _asks(port: int) -> bool:
    """Tell whether somebody asks there who is calling."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status == 401
    except OSError:
        return False
    finally:
        connection.close()


@contextmanager
def stuck_registry() -> Iterator[str]:
    """Listen, and answer nothing to nobody; yield its ``host:port``."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
