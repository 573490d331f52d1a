"""``/register``, ``/heartbeat/{hostname}`` and ``/update``: the calls of runners."""

from weir_api.access.capabilities import Capability
from weir_api.access.identity import Identity
from weir_api.errors import AccessDeniedError
from weir_api.hostapi.runners.reports import RunnerReports
from weir_api.hostapi.runners.translate import KILLED_BY_RUNNER, Report
from weir_api.hostapi.runners.wire import (
    HeartbeatIn,
    RegistrationIn,
    RegistrationOut,
    UpdateIn,
    UpdateOut,
)
from weir_api.hostapi.wire import MessageOut
from weir_api.web.dialect import Object
from weir_api.web.endpoint import Answer, Call, Json, endpoint

_TAG = "Runners"
_WHO = (
    "Needs a node credential (an API token made by an admin for that host), or the role admin."
    " With authentication off everyone may."
)


class RunnerRoutes:
    """What runners of another make say of their hosts and tasks. Nothing is dispatched to them."""

    def __init__(self, reports: RunnerReports) -> None:
        """Pass all on to ``reports``."""
        self._reports = reports

    @endpoint(
        "POST",
        "/api/register",
        Capability.REPORT_HOST,
        "Register an external host",
        tag=_TAG,
        answers={
            200: Answer(
                "The Host is there and ready.",
                RegistrationOut,
                example={
                    "message": "runner-1 registered",
                    "created": True,
                    "overlay": None,
                },
            )
        },
        errors={409: "A host of that name has, or had, a daemon of Weir's own."},
        body=Json(
            RegistrationIn,
            example={
                "hostname": "runner-1",
                "url": "http://10.0.0.9:8001",
                "total_cores": 16,
                "total_ram_bytes": 68719476736,
                "numa_topology": {"0": {"cores": [0, 1], "memory_bytes": 68719476736}},
                "gpu_info": None,
            },
        ),
        description=f"Makes a Host with `spec.external: true`, or updates it. {_WHO}",
    )
    async def register(self, call: Call) -> Object:
        """Register an external host."""
        registration: RegistrationIn = call.body
        _check_host(call.identity, registration.hostname)
        created = await self._reports.register(registration)
        message = f"{registration.hostname} {'registered' if created else 'updated'}"
        return {"message": message, "created": created, "overlay": None}

    @endpoint(
        "PUT",
        "/api/heartbeat/{hostname}",
        Capability.REPORT_HOST,
        "An external host lives",
        tag=_TAG,
        answers={200: Answer("Taken.", MessageOut, example={"message": "taken"})},
        errors={404: "No such external host: register."},
        body=Json(
            HeartbeatIn, example={"running_tasks": [], "cpu_percent": 12.5, "memory_percent": 40.0}
        ),
        description="Keeps the Host ready for 40 seconds. Figures are kept with the host's Lease,"
        f" at most every nine seconds. {_WHO}",
    )
    async def heartbeat(self, call: Call) -> Object:
        """Take a sign of life, and the ends that come with it."""
        name, heartbeat = call.path["hostname"], call.body
        _check_host(call.identity, name)
        await self._reports.heartbeat(name, heartbeat)
        for killed in heartbeat.killed_tasks:
            status = "killed_oom" if killed.reason == "oom" else "failed"
            report = Report(status, KILLED_BY_RUNNER, killed.reason)
            await self._reports.update(killed.task_id, report, name)
        return {"message": "taken"}

    @endpoint(
        "POST",
        "/api/update",
        Capability.REPORT_HOST,
        "Report what became of a task",
        tag=_TAG,
        answers={
            200: Answer(
                "Taken, or refused: `accepted` tells.",
                UpdateOut,
                example={"message": "taken", "accepted": True},
            )
        },
        body=Json(
            UpdateIn,
            example={
                "task_id": 1234567890123456789,
                "status": "completed",
                "exit_code": 0,
            },
        ),
        description="Only for a task that is bound to the caller's own external host, and only"
        f" steps that can be: an end is final. {_WHO}",
    )
    async def update(self, call: Call) -> Object:
        """Take what became of a task."""
        update: UpdateIn = call.body
        report = Report(
            update.status, update.exit_code, update.message, update.started_at, update.completed_at
        )
        refused = await self._reports.update(update.task_id, report, call.identity.host)
        if refused is None:
            return {"message": "taken", "accepted": True}
        return {"message": f"not taken: {refused}", "accepted": False, "reason": refused}


def _check_host(identity: Identity, name: str) -> None:
    """Refuse a node that speaks for another; who is no node is an admin here."""
    if identity.host is not None and identity.host != name:
        raise AccessDeniedError(f"this credential is host {identity.host}'s")
