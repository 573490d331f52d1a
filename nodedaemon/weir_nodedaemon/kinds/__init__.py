"""The kinds that this daemon runs. A kind is one folder here and one line in ``KINDS``."""

from collections.abc import Callable

from weir_nodedaemon.instances.kind import InstanceKind
from weir_nodedaemon.instances.machinery import Machinery
from weir_nodedaemon.kinds.task.kind import task_kind

KINDS: tuple[Callable[[Machinery], InstanceKind], ...] = (task_kind,)
