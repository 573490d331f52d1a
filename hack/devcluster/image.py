"""The image that demo and tests use, made here: no registry can be assumed."""

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import docker
from docker.errors import DockerException

from devcluster.console import say
from devcluster.errors import DevClusterError

BUSYBOX = "localhost/busybox:demo"
_PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
_GROUP = "root:x:0:\nnogroup:x:65534:\n"


def ensure_busybox(docker_host: str) -> bool:
    """Make the image from this machine's static busybox.

    Returns:
        False when Docker had it already.

    Raises:
        DevClusterError: busybox is not installed, or Docker refuses.
    """
    client = docker.DockerClient(base_url=docker_host, timeout=60)
    try:
        if client.images.list(name=BUSYBOX):
            return False
        repository, tag = BUSYBOX.rsplit(":", 1)
        client.api.import_image_from_data(
            _archive(_busybox()), repository=repository, tag=tag, changes=['CMD ["sh"]']
        )
    except (DockerException, OSError) as exc:
        raise DevClusterError(f"Docker does not take the image {BUSYBOX}.", str(exc)) from exc
    finally:
        client.close()
    say(f"made the image {BUSYBOX}")
    return True


def _busybox() -> Path:
    found = shutil.which("busybox")
    if found is None:
        raise DevClusterError(
            "busybox is missing, from which the demo's image is made.",
            "hack/setup installs busybox-static (as root).",
        )
    return Path(found)


def _archive(busybox: Path) -> bytes:
    listed = subprocess.run(
        [busybox, "--list"], capture_output=True, text=True, check=True, timeout=10
    )
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder in ("bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr", "var"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            archive.addfile(entry)
        _add_file(archive, "bin/busybox", busybox.read_bytes(), 0o755)
        _add_file(archive, "etc/passwd", _PASSWD.encode(), 0o644)
        _add_file(archive, "etc/group", _GROUP.encode(), 0o644)
        for applet in listed.stdout.split():
            if applet != "busybox":
                entry = tarfile.TarInfo(f"bin/{applet}")
                entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(entry)
    return buffer.getvalue()


def _add_file(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))
