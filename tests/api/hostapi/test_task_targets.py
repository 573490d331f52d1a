"""Targets."""

import pytest

from weir_api.hostapi.tasks.request import BadTargetError, Target, parse_target


@pytest.mark.parametrize(
    ("text", "gpus", "host", "numa_node", "wanted"),
    [
        ("n1", [], "n1", None, ()),
        ("n1:0", [], "n1", 0, ()),
        ("n1:12", [3, 1], "n1", 12, (1, 3)),
        ("n1", [1, 1], "n1", None, (1,)),
        ("n1::0", [], "n1", None, (0,)),
        ("n1::1,0", [0, 1], "n1", None, (0, 1)),
        ("n1:0::2,3", [], "n1", 0, (2, 3)),
        ("n1:0:9", [], "n1", 0, ()),
        ("gpu-box.example.org:1", [], "gpu-box.example.org", 1, ()),
    ],
)
def test_target(
    text: str, gpus: list[int], host: str, numa_node: int | None, wanted: tuple[int, ...]
) -> None:
    assert parse_target(text, gpus) == Target(text, host, numa_node, wanted)


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("", []),
        (":0", []),
        ("::0", []),
        ("n1:", []),
        ("n1:x", []),
        ("n1:-1", []),
        ("n1:1.5", []),
        ("n1:٣", []),
        ("n1:1234567", []),
        ("n1::", []),
        ("n1::0,", []),
        ("n1::a", []),
        ("n1::0::1", []),
        ("n1::0", [1]),
    ],
)
def test_no_target(text: str, gpus: list[int]) -> None:
    with pytest.raises(BadTargetError):
        parse_target(text, gpus)
