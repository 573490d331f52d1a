"""Whether a host could ever take a request; where it goes is ``tests/operator/test_place.py``."""

import pytest

from support.ledgers import GIB, cpu, facts
from weir_crds.demand import Request
from weir_crds.facts import HostFacts
from weir_crds.fit import never_fits

HOST = facts("n1", gpus=2, labels={"gpu": "a100"})


@pytest.mark.parametrize(
    ("request_", "host", "never"),
    [
        (cpu(8), HOST, None),
        (cpu(8), facts("n1", unavailable="not ready"), None),
        (cpu(9), HOST, "too few cores"),
        (cpu(4, numa_node=1), HOST, None),
        (cpu(5, numa_node=1), HOST, "too few cores"),
        (cpu(1, numa_node=2), HOST, "lack NUMA node 2"),
        (cpu(1, memory_bytes=64 * GIB), HOST, None),
        (cpu(1, memory_bytes=65 * GIB), HOST, "too little memory"),
        (cpu(1, gpu_count=2), HOST, None),
        (cpu(1, gpu_count=3), HOST, "too few gpus"),
        (cpu(1, gpu_count=1), facts("n1"), "no gpu"),
        (cpu(1, gpu_indices=(0, 2)), HOST, "lack those gpus"),
        (cpu(1, host_selector=(("gpu", "a100"),)), HOST, None),
        (cpu(1, host_selector=(("gpu", "h100"),)), HOST, "lack the labels"),
        (cpu(1, host_name="n2"), HOST, "not asked for"),
        (cpu(1), facts("n1", external=True), "external"),
        (cpu(99), HostFacts("n1"), None),
    ],
)
def test_never(request_: Request, host: HostFacts, never: str | None) -> None:
    assert never_fits(request_, host) == never
