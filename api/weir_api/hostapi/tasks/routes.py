"""All that is served about tasks."""

from weir_api.hostapi.known_hosts import KnownHosts
from weir_api.hostapi.tasks.approval import TaskApproval
from weir_api.hostapi.tasks.control import TaskControl
from weir_api.hostapi.tasks.output import DaemonStreams, TaskOutput
from weir_api.hostapi.tasks.reads import TaskReads
from weir_api.hostapi.tasks.request import TaskDefaults
from weir_api.hostapi.tasks.submit import TaskSubmit
from weir_api.hostapi.workloads import WorkloadIndex
from weir_api.state.writer import Writer


def task_routes(
    index: WorkloadIndex,
    hosts: KnownHosts,
    writer: Writer,
    daemons: DaemonStreams,
    defaults: TaskDefaults,
) -> tuple[object, ...]:
    """Return the groups of endpoints about tasks."""
    return (
        TaskSubmit(index, hosts, writer, defaults),
        TaskReads(index),
        TaskControl(index, writer),
        TaskApproval(index, writer),
        TaskOutput(index, hosts, daemons),
    )
