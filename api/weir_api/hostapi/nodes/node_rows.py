"""All nodes as they are now: each made anew only when something about it has changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from weir_api.hostapi.nodes.convert import Machine, health_of, machine_of, node_of
from weir_api.hostapi.nodes.figures import NO_FIGURES, Figures, figures_of_runner
from weir_api.hostapi.runners.heartbeats import Heartbeat, Heartbeats
from weir_crds.facts import is_external
from weir_crds.names import SYSTEM_NAMESPACE
from weir_crds.quantities import InvalidQuantityError
from weir_crds.times import now_rfc3339
from weir_kube.store import Key, Object, Store


class FigureSource(Protocol):
    """Knows how busy the hosts with a daemon of ours are (``Sampler`` does)."""

    def figures(self, host: str) -> Figures:
        """Return what a host told last, if that was not long ago."""
        ...


class CoresInUse(Protocol):
    """Knows what Tasks hold."""

    def cores_in_use(self, host: str) -> float:
        """Return the cores that unfinished Tasks bound to a host hold."""
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """One node, and all that it was made of."""

    host: Object
    lease: Object | None
    heartbeat: Heartbeat | None
    """Of a runner of another make."""
    figures: Figures
    cores_in_use: float
    machine: Machine
    runner_figures: Figures
    node: Mapping[str, Any]
    encoded: bytes
    health: bytes


class NodeRows:
    """Makes nodes of Hosts, Leases, figures and Tasks; only what has changed is encoded anew."""

    def __init__(
        self,
        hosts: Store,
        leases: Store,
        figures: FigureSource,
        tasks: CoresInUse,
        heartbeats: Heartbeats,
    ) -> None:
        """Show what these know."""
        self._heartbeats = heartbeats
        heartbeats.listen(self.changed)
        self._hosts = hosts
        self._leases = leases
        self._figures = figures
        self._tasks = tasks
        self._rows: dict[str, Row] = {}
        self._body: bytes | None = None

    def changed(self, _: object = None) -> None:
        """Take note that something may have changed; cheap."""
        self._body = None

    def encoded(self) -> bytes:
        """Return all nodes, by name, as a JSON array."""
        if self._body is None:
            self._body = b"[" + b",".join(row.encoded for row in self.rows()) + b"]"
        return self._body

    def rows(self) -> list[Row]:
        """Return all nodes as they are now, by name."""
        hosts = sorted(self._hosts.list(), key=_name)
        rows = {host["metadata"]["name"]: self._row(host) for host in hosts}
        self._rows = rows
        return list(rows.values())

    def _row(self, host: Object) -> Row:
        name = host["metadata"]["name"]
        before = self._rows.get(name)
        lease = self._leases.get(Key(SYSTEM_NAMESPACE, name))
        external = is_external(host)
        heartbeat = self._heartbeats.of(name) if external else None
        figures = self._figures.figures(name)
        cores_in_use = self._tasks.cores_in_use(name)
        if (
            before is not None
            and before.host is host
            and before.lease is lease
            and before.heartbeat is heartbeat
            and before.figures is figures
            and before.cores_in_use == cores_in_use
        ):
            return before
        if before is not None and before.host is host:
            machine = before.machine
        else:
            machine = _machine_of(host)
        runner_figures = NO_FIGURES
        if heartbeat is not None:
            runner_figures = (
                before.runner_figures
                if before is not None and before.heartbeat is heartbeat
                else figures_of_runner(heartbeat.metrics)
            )
        shown = NO_FIGURES
        if machine.is_online:
            shown = runner_figures if external else figures
        heard_at = ((lease or {}).get("spec") or {}).get("renewTime")
        if heartbeat is not None:
            heard_at = now_rfc3339(heartbeat.at)
        node = node_of(machine, heard_at, shown, cores_in_use)
        return Row(
            host,
            lease,
            heartbeat,
            figures,
            cores_in_use,
            machine,
            runner_figures,
            node,
            orjson.dumps(node),
            orjson.dumps(health_of(node)),
        )


def _machine_of(host: Object) -> Machine:
    try:
        return machine_of(host)
    except InvalidQuantityError:
        # The CRD refuses such; one such host must not hide the others.
        return machine_of({"metadata": host["metadata"]})


def _name(host: Object) -> str:
    name: str = host["metadata"]["name"]
    return name
