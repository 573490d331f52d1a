"""The state directory of one instance: its paths, its lock, its remembered ports."""

import fcntl
import hashlib
import json
import os
import random
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devcluster.console import say
from devcluster.errors import DevClusterError

CHECKOUT = Path(__file__).resolve().parents[2]
# sun_path of a unix socket address holds 108 bytes with the closing NUL.
_SOCKET_PATH_LIMIT = 107
# Below the kernel's range for outgoing connections: one of those could else take the port while
# its server restarts.
_PORTS = range(20000, 32000)
# Of all instances that this process began: held until it ends.
_reserved: dict[int, socket.socket] = {}


@dataclass(frozen=True)
class State:
    """Paths of one instance. Building it writes nothing."""

    root: Path

    @property
    def id(self) -> str:
        """Eight hex digits that follow from the path: the same at each run, another elsewhere."""
        return hashlib.sha256(str(self.root).encode()).hexdigest()[:8]

    @property
    def log(self) -> Path:
        """Logs, one for each program."""
        return self.root / "log"

    @property
    def run(self) -> Path:
        """supervisord's files."""
        return self.root / "run"

    @property
    def pki(self) -> Path:
        """Keys, certificates, tokens and the components' kubeconfigs."""
        return self.root / "pki"

    @property
    def bin(self) -> Path:
        """What comes onto the person's PATH."""
        return self.root / "bin"

    @property
    def kubeconfig(self) -> Path:
        """The person's kubeconfig, an administrator of this cluster."""
        return self.root / "kubeconfig"

    @property
    def env(self) -> Path:
        """A file to source."""
        return self.root / "env"

    def log_of(self, program: str) -> Path:
        """Return the log file of a supervised program."""
        return self.log / f"{program}.log"

    @property
    def is_foreign(self) -> bool:
        """Whether the directory is there and holds things, none of them an instance's."""
        if not self.root.is_dir():
            return self.root.exists()
        # Of an instance that was made before it had a mark, the ports tell.
        ours = (self._mark, self.root / "ports.json")
        return not any(path.exists() for path in ours) and any(self.root.iterdir())

    @property
    def _mark(self) -> Path:
        """What is made first: a directory without it is not ours to remove."""
        return self.root / "instance"

    def create(self) -> None:
        """Make the directories; idempotent.

        Raises:
            DevClusterError: there is something else in the directory.
        """
        if self.is_foreign:
            raise DevClusterError(
                f"{self.root} holds other things: `make down` would remove them.",
                "Set WEIR_STATE_DIR to a directory that is empty, or not there yet.",
            )
        self._mark.touch()
        for folder in (self.log, self.run, self.pki, self.bin):
            folder.mkdir(exist_ok=True, mode=0o700)

    def remove(self) -> None:
        """Remove the directory, its mark last: what is half removed is still known to be ours."""
        for path in self.root.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path != self._mark:
                path.unlink()
        self._mark.unlink()
        self.root.rmdir()


def state_at(path: Path | None) -> State:
    """Return the State at a path; None: ``$WEIR_STATE_DIR``, else ``.weir`` of the checkout."""
    chosen = path or Path(os.environ.get("WEIR_STATE_DIR") or CHECKOUT / ".weir")
    return State(chosen.resolve())


def socket_path(path: Path) -> Path:
    """Return the path of a unix socket that is to be made.

    Raises:
        DevClusterError: the path is longer than the kernel allows.
    """
    excess = len(os.fsencode(path)) - _SOCKET_PATH_LIMIT
    if excess > 0:
        raise DevClusterError(
            f"The state directory's path is {excess} bytes too long for the unix socket {path}.",
            "Clone into a shorter path, or set WEIR_STATE_DIR to one such as /tmp/weir-dev.",
        )
    return path


@contextmanager
def locked(state: State) -> Iterator[None]:
    """Hold the instance's lock; make its directories if need be."""
    with locked_directory(state.root):
        state.create()
        yield


@contextmanager
def locked_directory(folder: Path) -> Iterator[None]:
    """Hold a lock on a directory, made if need be; whoever holds it may remove the directory.

    The kernel drops the lock when its holder dies, however it dies.

    Raises:
        DevClusterError: it cannot be made.
    """
    while True:
        fd = _opened(folder)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"waiting for another run that works on {folder}")
                fcntl.flock(fd, fcntl.LOCK_EX)
            if not _same_directory(fd, folder):
                continue  # removed while we waited
            yield
            return
        finally:
            os.close(fd)


def _opened(folder: Path) -> int:
    """Make a directory if need be, and open it."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise DevClusterError(
            f"This cannot be the state directory: {folder}: {error.strerror}.",
            "Set WEIR_STATE_DIR to one that this user can make.",
        ) from error


def is_locked(root: Path) -> bool:
    """Tell whether somebody holds the lock of the instance at ``root``."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _same_directory(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def write_file(path: Path, text: str, mode: int = 0o600) -> bool:
    """Write a file atomically.

    Returns:
        False when it held that text already; then nothing is written.
    """
    try:
        if path.read_text() == text:
            return False
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(fd, "w") as file:
        file.write(text)
    draft.replace(path)
    return True


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; {} when the file is absent."""
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return found


class Ports:
    """Ports on loopback, remembered by name, so that a restart finds the same ones.

    No two living processes choose the same port, whichever instances they do it for, even while
    nothing listens on it yet, or not at the moment.
    """

    def __init__(self, state: State) -> None:
        """Read what the instance remembers."""
        self._path = state.root / "ports.json"
        self._ports: dict[str, int] = read_json(self._path)

    def get(self, name: str, preferred: int | None = None) -> int:
        """Return the port of that name; it is chosen, among the free ones, when first asked for.

        Args:
            name: what it is for.
            preferred: taken if it is free then.
        """
        if name not in self._ports:
            if preferred is not None and _reserve(preferred):
                self._ports[name] = preferred
            else:
                self._ports[name] = _free_port(taken=set(self._ports.values()))
            write_file(self._path, json.dumps(self._ports, indent=1) + "\n")
        return self._ports[name]

    def drop_taken(self) -> None:
        """Forget ports that another program took since; to be called while none of ours runs."""
        kept = {name: port for name, port in self._ports.items() if _is_free(port)}
        for name in self._ports.keys() - kept.keys():
            say(f"port {self._ports[name]} of {name} was taken meanwhile: choosing another")
        if kept != self._ports:
            self._ports = kept
            write_file(self._path, json.dumps(kept, indent=1) + "\n")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _reserve(port: int) -> bool:
    """Take a port for this process if it is free; False: it is in use, or another's."""
    # Such a name is there as long as its socket, belongs to the same network namespace as the port,
    # and is no file that could be left.
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        holder.bind(f"\0weir-port-{port}")
    except OSError:
        holder.close()
        return False
    if not _is_free(port):
        holder.close()
        return False
    _reserved[port] = holder
    return True


def _free_port(taken: set[int]) -> int:
    for port in random.sample(_PORTS, len(_PORTS)):
        if port not in taken and _reserve(port):
            return port
    raise DevClusterError(f"No free port on 127.0.0.1 between {_PORTS.start} and {_PORTS.stop}.")


def wait_until_gone(pids: set[int], deadline_seconds: float) -> set[int]:
    """Wait until the processes are gone; return those that are still there at the deadline."""
    deadline = time.monotonic() + deadline_seconds
    while True:
        left = {pid for pid in pids if Path(f"/proc/{pid}").exists()}
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)
