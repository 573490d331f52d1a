"""Image registries on loopback: a real one, and one that never answers."""

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


@contextmanager
def real_registry(folder: Path, port: int) -> Iterator[str]:
    """Run a registry that can be pushed to and pulled from; yield its ``host:port``."""
    folder.mkdir()
    config = folder / "config.yml"
    config.write_text(_CONFIG.format(folder=folder, port=port))
    process = Process(
        Program("registry", ("docker-registry", "serve", str(config))), folder / "registry.log"
    )
    process.start()
    try:
        probe = Rest(f"http://127.0.0.1:{port}")
        eventually(lambda: probe.answers("/v2/"), "the registry answers")
        yield f"127.0.0.1:{port}"
    finally:
        process.stop()


@contextmanager
def stuck_registry() -> Iterator[str]:
    """Listen, and answer nothing to nobody; yield its ``host:port``."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
