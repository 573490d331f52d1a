"""The daemon's own Host: made if absent, kept true, never rewritten while nothing changes."""

import datetime as dt
import logging
from collections.abc import Callable, Mapping
from typing import Any

from weir_crds.errors import WeirError
from weir_crds.facts import is_external
from weir_crds.kinds import HOST
from weir_crds.quantities import memory_bytes
from weir_kube.api import Api
from weir_kube.errors import AlreadyExistsError, ConflictError
from weir_kube.status import patch_status
from weir_kube.store import Key, Store
from weir_nodedaemon.host.status import HostIdentity, MachineState, host_changes, new_host
from weir_nodedaemon.instances.holdings import HostShare
from weir_nodedaemon.machine.capacity import MachineCapacity
from weir_nodedaemon.machine.gpus.watch import GpuState

logger = logging.getLogger(__name__)


class ForeignHostError(WeirError):
    """The Host of our name belongs to another machine: two may not act as one."""

    reason = "ForeignHost"
    fatal = True


def share_of(
    host: Mapping[str, Any], capacity: MachineCapacity, gpus: GpuState | None = None
) -> HostShare:
    """Return what may be given to work, by what an administrator has reserved.

    Of GPUs nothing is known (``gpus`` is None) until they were looked at.
    """
    reserved = (host.get("spec") or {}).get("reserved") or {}
    return HostShare(
        cpus=frozenset(capacity.cpus),
        memory_bytes=capacity.memory_bytes,
        reserved_cpus=frozenset(reserved.get("cpus") or ()),
        reserved_memory_bytes=memory_bytes(reserved.get("memory") or 0),
        gpu_uuids=None if gpus is None else frozenset(gpu.uuid for gpu in gpus.gpus),
    )


class HostKeeper:
    """Reconciles the Host with what the daemon knows."""

    def __init__(
        self,
        api: Api,
        store: Store,
        identity: HostIdentity,
        observe: Callable[[], MachineState | None],
        *,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        """Keep the Host in ``store`` as ``observe`` says; None: not all is known yet."""
        self._api = api
        self._store = store
        self._identity = identity
        self._observe = observe
        self._now = now

    async def reconcile(self, key: Key) -> dt.timedelta | None:
        """Create the Host if it is not there, and write what its status lacks.

        Raises:
            ForeignHostError: it is not this machine's; nothing was written.
            ApiError: the API server did not answer, or refused.
        """
        host = self._store.get(key)
        if host is None:
            try:
                host = await self._api.create(HOST, new_host(self._identity))
            except AlreadyExistsError:
                return await self._refresh(key)
            logger.info("created host=%s", key)
            self._store.apply("ADDED", host)
        self.check_owner(host)
        machine = self._observe()
        if machine is None:
            return None  # a restart is no reason to call a host unready
        changes = host_changes(host, self._identity, machine, self._now())
        try:
            written = await patch_status(self._api, HOST, host, changes)
        except ConflictError:
            return await self._refresh(key)
        self._store.apply("MODIFIED", written)
        return None

    def check_owner(self, host: Mapping[str, Any]) -> None:
        """Raise ForeignHostError if the Host was made by another machine, or is external."""
        if is_external(host):
            raise ForeignHostError(
                f"Host {self._identity.name} is external, a runner of another make reports for it:"
                " choose another --host-name, or delete that Host first"
            )
        owner = host["spec"].get("hostID")
        if owner not in (None, self._identity.host_id):
            raise ForeignHostError(
                f"Host {self._identity.name} belongs to the machine with hostID {owner},"
                f" this one has {self._identity.host_id}:"
                " choose another --host-name, or delete that Host first"
            )

    async def _refresh(self, key: Key) -> dt.timedelta:
        self._store.apply("MODIFIED", await self._api.get(HOST, key.name))
        return dt.timedelta(0)
