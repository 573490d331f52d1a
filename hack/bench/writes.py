"""What validation costs: the status writes of a Task's life beside the same on a CRD without rules.

Both kinds have the same schema and live in the same API server; the second, in a group of its own,
has no CEL rules, and no admission policy matches it. The same accounts write both, by turns.
"""

import asyncio
import copy
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import yaml

from bench.bare import bound, ended, started
from bench.polling import until
from bench.report import Figure, Report, Table
from bench.sizes import Size
from bench.system import System
from bench.tasks import Object, create_all, make_namespace, task
from bench.usage import cpu_seconds
from devcluster.identities import NODE_DAEMON, OPERATOR, SYSTEM_NAMESPACE
from devcluster.rest import Rest
from devcluster.state import CHECKOUT
from weir_crds.kinds import TASK, Kind
from weir_kube.api import Api
from weir_kube.connect import connect
from weir_kube.errors import ApiError
from weir_kube.status import patch_status

_PLAIN = Kind("plain.weir.dev", TASK.version, TASK.plural, TASK.kind, namespaced=True)
_KINDS = (TASK, _PLAIN)
_NAMESPACE = "writes"
_HOST = "bench-writes"
_AT_ONCE = 8
_LIFE = 3  # writes: bound, started, ended
_CRD = CHECKOUT / "crds" / "yaml" / f"{TASK.group}_{TASK.plural}.yaml"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"


async def run(system: System, size: Size) -> Report:
    """Write Tasks of both kinds through their lives, and compare the API server's CPU time."""
    cluster = system.cluster
    _define_plain(cluster.admin)
    accounts = (cluster.kubeconfig_for(OPERATOR), cluster.kubeconfig_for(NODE_DAEMON, host=_HOST))
    async with (
        await connect(str(cluster.admin_kubeconfig)) as admin,
        await connect(str(accounts[0])) as operator,
        await connect(str(accounts[1])) as daemon,
    ):
        await make_namespace(admin, _NAMESPACE)
        await until(lambda: _is_served(daemon), 0.2)
        spent: dict[Kind, list[float]] = {kind: [] for kind in _KINDS}
        for number in range(size.write_rounds + 1):
            for kind in _KINDS:
                made = [_task(f"r{number}-{n}") for n in range(size.writes // _LIFE)]
                await create_all(admin, _NAMESPACE, made, kind)
                objects = (await admin.list(kind, _NAMESPACE)).items
                before = cpu_seconds(system.process("kube-apiserver").pid)
                await _live(kind, objects, operator, daemon)
                used = cpu_seconds(system.process("kube-apiserver").pid) - before
                spent[kind].append(1000 * used / (_LIFE * len(objects)))
                cluster.admin.request("DELETE", kind.path(_NAMESPACE), timeout_seconds=60)
    for found in spent.values():
        del found[0]  # in the first round caches fill
    each = {kind: statistics.median(found) for kind, found in spent.items()}
    return Report(
        "writes",
        size.name,
        figures=[
            Figure(
                "status write of a Task to one without rules",
                each[TASK] / max(each[_PLAIN], 1e-9),
                "x CPU",
                at_most=1.15,
            ),
            Figure("CPU time of the API server for a status write", each[TASK], "ms"),
            Figure("the same without rules and policies", each[_PLAIN], "ms"),
        ],
        tables=[
            Table(
                "CPU milliseconds of the API server for a status write, by round",
                ("ROUND", "TASK", "WITHOUT RULES"),
                [
                    (number + 1, *(spent[kind][number] for kind in _KINDS))
                    for number in range(size.write_rounds)
                ],
            )
        ],
    )


async def _live(kind: Kind, objects: Sequence[Object], operator: Api, daemon: Api) -> None:
    """Bind, start and end every object, some at a time, as operator and daemon write it."""
    left = iter(enumerate(objects))
    steps: tuple[tuple[Api, Callable[[Object, int], Object]], ...] = (
        (operator, lambda _, core: bound(_HOST, core % 256)),
        (daemon, lambda obj, _: started(obj)),
        (daemon, lambda obj, _: ended(obj)),
    )

    async def work() -> None:
        for number, made in left:
            obj = made
            for api, changes in steps:
                obj = await patch_status(api, kind, obj, changes(obj, number))

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(work())


def _task(name: str) -> Object:
    made = task(name, ["sh", "-c", "echo hello; sleep 1"], cpu=1, memory="64Mi")
    made["spec"]["env"] = [{"name": "SEED", "value": "7"}]
    return made


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


def _define_plain(admin: Rest) -> None:
    """Create the kind without rules, and let operator and daemons write it."""
    crd = without_rules(yaml.safe_load(_CRD.read_text()), _PLAIN)
    admin.json("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    name = {"name": "bench-writes"}
    resources = [_PLAIN.plural, f"{_PLAIN.plural}/status"]
    rule = {"apiGroups": [_PLAIN.group], "resources": resources, "verbs": ["list", "patch"]}
    admin.json("POST", f"{_RBAC}/clusterroles", {"metadata": name, "rules": [rule]})
    binding = {
        "metadata": name,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", **name},
        "subjects": [
            {"kind": "ServiceAccount", "name": account, "namespace": SYSTEM_NAMESPACE}
            for account in (OPERATOR, NODE_DAEMON)
        ],
    }
    admin.json("POST", f"{_RBAC}/clusterrolebindings", binding)


async def _is_served(api: Api) -> bool:
    try:
        await api.list(_PLAIN, _NAMESPACE)
    except ApiError:
        return False
    return True
