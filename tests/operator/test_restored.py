"""etcd is put back while the operator runs: it goes on with what is there, and asks for little."""

from support.operator_rig import OperatorApi, running
from weir_kube.errors import ApiUnavailableError


async def test_a_waiting_task_is_bound_after_a_few_requests() -> None:
    api = OperatorApi()
    async with running(api) as rig:
        await rig.add_host(cores=1)
        rig.add_task("t", suspend=True)
        await rig.settle()
        backup = api.backup()
        for _ in range(50):
            rig.change("t", timeoutSeconds=60)
            rig.change("t", timeoutSeconds=None)
        await rig.settle()
        patches = 0

        def count(*_: object) -> ApiUnavailableError | None:
            nonlocal patches
            patches += 1
            return None

        api.refuse = count
        api.restore(backup)
        rig.change("t", suspend=False)
        await rig.bound("t")
        assert patches <= 3
        rig.end("t")
        rig.add_task("next")
        await rig.bound("next")
        assert patches <= 6
