"""What instances change on the machine beyond their state directory, and how it is put back.

Docker turns IP forwarding on, sets the policy of iptables' FORWARD chain and adds chains of its
own. Several instances may do so at the same time; the last one to go puts back what the first one
found. They know of each other by a file under /run, which vanishes at a reboot as do the settings.
"""

import ipaddress
import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from devcluster.errors import DevClusterError
from devcluster.state import State, locked_directory, read_json, write_file

_REGISTRY = Path("/run/weir/docker.json")
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
# What dockerd and its containerd make outside of the directories that they are given.
_TRACES = tuple(
    map(
        Path,
        (
            "/etc/docker/key.json",
            "/etc/docker",
            "/run/containerd/s",
            "/run/containerd",
            "/run/docker/plugins",
            "/run/docker",
        ),
    )
)
# A /24 for each instance, taken from the end of Docker's own range, where it comes last.
_SUBNETS = tuple(ipaddress.IPv4Network("172.31.0.0/16").subnets(new_prefix=24))


def claim_network(state: State) -> str:
    """Give the instance a bridge with a subnet of its own; idempotent.

    Returns:
        The bridge's name.

    Raises:
        DevClusterError: no subnet is free, or the bridge cannot be made.
    """
    bridge = bridge_name(state.id)
    with _registry() as registry:
        instances = registry.setdefault("instances", {})
        for left in [key for key, entry in instances.items() if not Path(entry["state"]).exists()]:
            _release(registry, left)
        if not instances:
            registry["before"] = _settings()
        entry = instances.get(state.id) or {
            "state": str(state.root),
            "subnet": str(_free_subnet({other["subnet"] for other in instances.values()})),
        }
        instances[state.id] = entry
    gateway = next(ipaddress.IPv4Network(entry["subnet"]).hosts())
    if not Path(f"/sys/class/net/{bridge}").exists():
        _run("ip", "link", "add", bridge, "type", "bridge")
    _run("ip", "address", "replace", f"{gateway}/24", "dev", bridge)
    _run("ip", "link", "set", bridge, "up")
    return bridge


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Hold up whoever else claims or releases a network, or starts a Docker daemon.

    A daemon looks whether its iptables chains are there, then makes them, and gives up if another
    made them in between.
    """
    with locked_directory(_REGISTRY.parent):
        yield


def release_network(state: State) -> None:
    """Remove the instance's bridge, its iptables rules and, as the last, Docker's chains."""
    with _registry() as registry:
        _release(registry, state.id)


def _release(registry: dict[str, Any], instance: str) -> None:
    instances = registry.get("instances", {})
    entry = instances.pop(instance, None)
    bridge = bridge_name(instance)
    if Path(f"/sys/class/net/{bridge}").exists():
        _run("ip", "link", "delete", bridge)
    if entry is None:
        return
    for table in ("nat", "filter"):
        for rule in _rules(table):
            if _concerns(rule, bridge, entry):
                _run("iptables", "-w", "-t", table, "-D", *rule[1:])
    if not instances and not _docker_runs():
        _restore(registry["before"])


def traces(instance: str) -> list[str]:
    """Return what an instance has on the machine: claim, bridge, cgroups, iptables rules."""
    bridge = bridge_name(instance)
    with _registry() as registry:
        entry = registry.get("instances", {}).get(instance)
    found = [f"claim of {entry['subnet']}"] if entry else []
    if Path(f"/sys/class/net/{bridge}").exists():
        found.append(f"bridge {bridge}")
    found += [f"cgroup {group}" for group in Path("/sys/fs/cgroup").glob(f"**/{bridge}")]
    for table in ("nat", "filter"):
        for rule in _rules(table):
            if _concerns(rule, bridge, entry):
                found.append(f"iptables -t {table} {shlex.join(rule)}")
    return found


def _concerns(rule: list[str], bridge: str, entry: dict[str, Any] | None) -> bool:
    within = entry is not None and any(_is_within(word, entry["subnet"]) for word in rule)
    return bridge in rule or within


def bridge_name(instance: str) -> str:
    """Return the name of an instance's bridge; at most 15 characters."""
    return f"weir-{instance}"


def _is_within(word: str, subnet: str) -> bool:
    try:
        return ipaddress.IPv4Network(word).subnet_of(ipaddress.IPv4Network(subnet))
    except ValueError:
        return False


def _settings() -> dict[str, Any]:
    return {
        "ip_forward": _FORWARDING.read_text().strip(),
        "forward_policy": _forward_policy(),
        "traces": [str(path) for path in _TRACES if path.exists()],
        "chains": [chain for table in ("nat", "filter") for chain in _docker_chains(table)],
    }


def _restore(before: dict[str, Any]) -> None:
    if not before["chains"]:  # else Docker was here before us, and they are not ours to remove
        for table in ("nat", "filter"):
            chains = _docker_chains(table)
            for rule in _rules(table):
                if any(word in chains for word in rule[2:]):
                    _run("iptables", "-w", "-t", table, "-D", *rule[1:])
            for action in ("-F", "-X"):
                for chain in chains:
                    _run("iptables", "-w", "-t", table, action, chain)
    for path in _TRACES:
        if str(path) not in before["traces"] and path.exists():
            _remove(path)
    _run("iptables", "-w", "-P", "FORWARD", before["forward_policy"])
    _FORWARDING.write_text(before["ip_forward"])


def _remove(path: Path) -> None:
    if path.is_file():
        path.unlink()
        return
    with suppress(OSError):  # not empty: somebody else uses it
        path.rmdir()


def _forward_policy() -> str:
    listed = _run("iptables", "-w", "-S", "FORWARD").splitlines()
    return listed[0].split()[2]


def _docker_chains(table: str) -> list[str]:
    listed = _run("iptables", "-w", "-t", table, "-S").splitlines()
    return [line.split()[1] for line in listed if line.startswith("-N DOCKER")]


def _rules(table: str) -> list[list[str]]:
    listed = _run("iptables", "-w", "-t", table, "-S").splitlines()
    return [shlex.split(line) for line in listed if line.startswith("-A")]


def _docker_runs() -> bool:
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            if comm.read_text().strip() == "dockerd":
                return True
        except OSError:
            continue  # it ended meanwhile
    return False


def _free_subnet(claimed: set[str]) -> ipaddress.IPv4Network:
    routes = json.loads(_run("ip", "-json", "route", "show", "table", "all"))
    taken = [ipaddress.IPv4Network(subnet) for subnet in claimed]
    for route in routes:
        if route["dst"] != "default" and ":" not in route["dst"]:
            taken.append(ipaddress.IPv4Network(route["dst"], strict=False))
    for subnet in reversed(_SUBNETS):
        if not any(subnet.overlaps(other) for other in taken):
            return subnet
    raise DevClusterError("No free subnet in 172.31.0.0/16 for Docker's bridge.")


def _run(*command: str) -> str:
    if shutil.which(command[0]) is None:
        raise DevClusterError(f"{command[0]} is missing.", "hack/setup installs it (as root).")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DevClusterError(f"{' '.join(command)} failed.", done.stderr.strip())
    return done.stdout


@contextmanager
def _registry() -> Iterator[dict[str, Any]]:
    """Hold the machine-wide record; it is written back, or removed when no instance is left."""
    with locked_directory(_REGISTRY.parent):
        found = read_json(_REGISTRY)
        yield found
        if found.get("instances"):
            write_file(_REGISTRY, json.dumps(found, indent=1) + "\n")
        else:
            shutil.rmtree(_REGISTRY.parent)
