"""Find etcd and the Kubernetes programs, or build them from their Go modules.

Looked for in this order: ``$KUBEBUILDER_ASSETS``, ``$PATH`` (both only in the wanted minor
version), the cache ``~/.cache/weir/bin/<name>-<version>/``. What is nowhere is built into the cache
from ``hack/kubernetes`` and ``hack/etcd``. Ready-made programs are not downloaded: that would need
sites beyond the package registries that the project uses anyway.
"""

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devcluster.console import say
from devcluster.errors import DevClusterError
from devcluster.gobuild import build
from devcluster.state import CHECKOUT


@dataclass(frozen=True)
class Source:
    """A pinned Go module that brings some of the programs."""

    name: str
    folder: Path
    module: str
    packages: dict[str, str]
    ldflags: str = ""

    @property
    def version(self) -> str:
        """The version that go.mod pins, without the ``v``."""
        go_mod = (self.folder / "go.mod").read_text()
        pinned = re.search(rf"^require {re.escape(self.module)} v(\S+)", go_mod, re.MULTILINE)
        if pinned is None:
            raise DevClusterError(f"{self.folder}/go.mod does not pin {self.module}.")
        return pinned[1]


_STAMP = "-X k8s.io/component-base/version.{0} -X k8s.io/client-go/pkg/version.{0}"
SOURCES = (
    Source(
        "etcd",
        CHECKOUT / "hack" / "etcd",
        "go.etcd.io/etcd/server/v3",
        {"etcd": "go.etcd.io/etcd/server/v3"},
    ),
    Source(
        "kubernetes",
        CHECKOUT / "hack" / "kubernetes",
        "k8s.io/kubernetes",
        {
            name: f"k8s.io/kubernetes/cmd/{name}"
            for name in ("kube-apiserver", "kube-controller-manager", "kubectl")
        },
        ldflags=_STAMP.format("gitVersion=v{version}"),
    ),
)


def find_all() -> dict[str, Path]:
    """Return where each program is; builds what is nowhere, which takes minutes.

    Raises:
        DevClusterError: a build was not possible; names what is missing.
    """
    return {program: _find(source, program) for source in SOURCES for program in source.packages}


def _find(source: Source, program: str) -> Path:
    version = source.version
    there = _installed(program, version)
    if there is not None:
        return there
    folder = _cache() / f"{source.name}-{version}"
    cached = folder / program
    if cached.exists():
        return cached
    with _build_lock(folder, program):
        if not cached.exists():  # else another run built it while we waited
            ldflags = f"-s -w {source.ldflags.format(version=version)}".strip()
            build(source.folder, source.packages[program], ldflags, cached, f"{program} {version}")
    return cached


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weir" / "bin"


def _installed(program: str, version: str) -> Path | None:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    candidates = [Path(assets) / program] if assets else []
    on_path = shutil.which(program)
    if on_path:
        # After `. .weir/env` it is our own link, which must not come to point at itself.
        candidates.append(Path(on_path).resolve())
    for path in candidates:
        if path.exists() and fits(_version_of(path), version):
            return path
    return None


def fits(found: str, wanted: str) -> bool:
    """Tell whether a program's version has the wanted major and minor number."""
    return found.split(".")[:2] == wanted.split(".")[:2]


def _version_of(path: Path) -> str:
    arguments = ["version", "--client"] if path.name == "kubectl" else ["--version"]
    try:
        asked = subprocess.run(
            [path, *arguments], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"(?:Version:|Kubernetes) v?(\d+\.\d+\.\d+)", asked.stdout)
    return found[1] if found else ""


@contextmanager
def _build_lock(folder: Path, program: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{program}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another run that builds {program}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
