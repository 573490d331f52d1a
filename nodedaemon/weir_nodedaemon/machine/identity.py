"""Who this machine is: names, addresses, ids."""

import ipaddress
import platform
import socket
import uuid
from pathlib import Path

from weir_nodedaemon.files import write_atomically

_ROOT = Path("/")
_MACHINE_IDS = ("etc/machine-id", "var/lib/dbus/machine-id")
_BOOT_ID = "proc/sys/kernel/random/boot_id"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_PROBE = ("192.0.2.1", 9)  # TEST-NET-1, RFC 5737; connecting a UDP socket sends nothing
_HOST_ID_FILE = "host-id"


def machine_id(root: Path = _ROOT) -> str:
    """Return the machine's id, or an empty string where it has none."""
    return next(filter(None, (_read(root / path) for path in _MACHINE_IDS)), "")


def host_id(state_dir: Path, host_name: str, root: Path = _ROOT) -> str:
    """Return the uuid of this machine under this host name, for good.

    It is made of the machine's id, so that it outlives the state directory; where a machine has
    none, the state directory keeps it.
    """
    path = state_dir / _HOST_ID_FILE
    known = _read(path)
    if known:
        return known
    machine = machine_id(root) or _read(root / _BOOT_ID)
    made = uuid.uuid5(uuid.NAMESPACE_OID, f"{machine}/{host_name}") if machine else uuid.uuid4()
    write_atomically(path, f"{made}\n".encode())
    return str(made)


def info(daemon_version: str, root: Path = _ROOT) -> dict[str, str]:
    """Return ``Host.status.info``."""
    machine = platform.machine()
    return {
        "bootID": _read(root / _BOOT_ID),
        "machineID": machine_id(root),
        "os": _os_name(root),
        "kernel": platform.release(),
        "architecture": _ARCHITECTURES.get(machine, machine),
        "daemonVersion": daemon_version,
    }


def default_address() -> str:
    """Return the address that the default route leaves from; loopback where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_PROBE)
            address: str = probe.getsockname()[0]
        except OSError:
            return "127.0.0.1"
    return address


def addresses(address: str, host_name: str) -> list[dict[str, str]]:
    """Return ``Host.status.addresses``."""
    kind = "InternalIP"
    try:
        ipaddress.ip_address(address)
    except ValueError:
        kind = "InternalDNS"
    return [{"type": kind, "address": address}, {"type": "Hostname", "address": host_name}]


def endpoint_url(address: str, port: int) -> str:
    """Return the URL of the daemon's HTTPS port."""
    return f"https://[{address}]:{port}" if ":" in address else f"https://{address}:{port}"


def _os_name(root: Path) -> str:
    for line in _read(root / "etc/os-release").splitlines():
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME":
            return value.strip('"')
    return platform.system()


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
