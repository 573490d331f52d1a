"""What validation costs: a status write of a Task beside the same write on a CRD without rules.

Both kinds have the same schema and live in the same API server; the second, in a group of its own,
has no CEL rules, and no admission policy matches it. A daemon's account writes both.
"""

import asyncio
import copy
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from bench.bare import bound, ended, started
from bench.report import Figure, Report, Table
from bench.sizes import Size
from bench.system import System
from bench.tasks import Object, make_namespace, task
from bench.usage import cpu_seconds
from devcluster.identities import NODE_DAEMON, SYSTEM_NAMESPACE
from devcluster.state import CHECKOUT
from weir_crds.kinds import TASK, Kind
from weir_kube.api import Api
from weir_kube.connect import connect

_NAMESPACE = "writes"
_PLAIN = Kind("plain.weir.dev", TASK.version, TASK.plural, TASK.kind, namespaced=True)
_HOST = "bench-writes"
_OBJECTS = 40
_AT_ONCE = 8
_DEFINED_SECONDS = 60.0
_CRD = CHECKOUT / "crds" / "yaml" / f"{TASK.group}_{TASK.plural}.yaml"


async def run(system: System, size: Size) -> Report:
    """Write the status of bound Tasks of both kinds by turns, and compare the CPU time."""
    cluster = system.cluster
    define(cluster.admin, without_rules(yaml.safe_load(_CRD.read_text()), _PLAIN))
    account = cluster.kubeconfig_for(NODE_DAEMON, host=_HOST)
    async with (
        await connect(str(cluster.admin_kubeconfig)) as admin,
        await connect(str(account)) as api,
    ):
        await make_namespace(admin, _NAMESPACE)
        kinds = (TASK, _PLAIN)
        objects = {kind: await make_bound(admin, kind) for kind in kinds}
        costs = await compare(api, objects, size, system.process("kube-apiserver").pid)
    each = {kind: 1000 * statistics.median(found) for kind, found in costs.items()}
    return Report(
        "writes",
        size.name,
        figures=[
            Figure(
                "status write of a Task to one without rules",
                each[TASK] / each[_PLAIN],
                "x CPU",
                at_most=1.15,
            ),
            Figure("API server's CPU time for a status write", each[TASK], "ms"),
            Figure("the same without rules and policies", each[_PLAIN], "ms"),
        ],
        tables=[
            Table(
                f"CPU milliseconds for a write, rounds of {size.status_writes}",
                ("ROUND", "TASK", "WITHOUT RULES"),
                [
                    (number + 1, *(1000 * costs[kind][number] for kind in kinds))
                    for number in range(size.write_rounds)
                ],
            )
        ],
        samples={kind.group: found for kind, found in costs.items()},
    )


def without_rules(crd: Object, kind: Kind) -> Object:
    """Return a CRD of the same schema in another group, without the CEL rules."""
    crd = copy.deepcopy(crd)
    crd["metadata"]["name"] = f"{kind.plural}.{kind.group}"
    crd["spec"]["group"] = kind.group
    crd["spec"]["names"] |= {"shortNames": [], "categories": []}
    for version in crd["spec"]["versions"]:
        _drop_rules(version["schema"]["openAPIV3Schema"])
    return crd


def _drop_rules(schema: Any) -> None:
    if isinstance(schema, dict):
        schema.pop("x-kubernetes-validations", None)
        for part in schema.values():
            _drop_rules(part)
    elif isinstance(schema, list):
        for part in schema:
            _drop_rules(part)
