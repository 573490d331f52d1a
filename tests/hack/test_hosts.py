"""How a machine is shared by several hosts."""

import pytest

from devcluster.hosts import Share, shares


@pytest.mark.parametrize(
    ("what", "cores", "hosts", "expected"),
    [
        ("one host has all, whatever that is", [0, 1], 1, [None]),
        ("neighbouring cores stay together", [0, 1, 2, 3], 2, [(0, 1), (2, 3)]),
        ("a rest goes to the later ones", [0, 1, 2, 3], 3, [(0,), (1,), (2, 3)]),
        ("ids need not be consecutive", [4, 6, 8], 3, [(4,), (6,), (8,)]),
        ("too few cores are shared in turn", [0, 1], 3, [(0,), (1,), (0,)]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_cores(
    what: str, cores: list[int], hosts: int, expected: list[tuple[int, ...] | None]
) -> None:
    assert [share.cpus for share in shares(cores, 8192, hosts)] == expected


def test_memory_is_shared_equally() -> None:
    assert shares([0, 1], 8192, 2) == [
        Share((0,), 4096),
        Share((1,), 4096, gpus=False),
    ]


@pytest.mark.parametrize("cores", [[0], [0, 1, 2], [4, 5, 6, 7]])
def test_gpus_are_the_first_hosts(cores: list[int]) -> None:
    """Two daemons that give out the same GPU would not know of each other."""
    assert [share.gpus for share in shares(cores, 8192, 3)] == [True, False, False]
    assert shares(cores, 8192, 1)[0].gpus
