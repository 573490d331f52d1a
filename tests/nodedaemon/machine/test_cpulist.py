"""The kernel's list format for cores."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir_nodedaemon.machine.cpulist import InvalidCpuListError, format_cpulist, parse_cpulist


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("", ()),
        ("\n", ()),
        ("0\n", (0,)),
        ("0-3", (0, 1, 2, 3)),
        ("0-1,8-9,12", (0, 1, 8, 9, 12)),
        ("3,1,1-2", (1, 2, 3)),
    ],
)
def test_a_list_is_read(text: str, cpus: tuple[int, ...]) -> None:
    assert parse_cpulist(text) == cpus


@pytest.mark.parametrize("text", ["a", "1-", "-1", "3-1", "0-99999999", "1 2", "0x1"])
def test_a_malformed_list_is_refused(text: str) -> None:
    with pytest.raises(InvalidCpuListError):
        parse_cpulist(text)


@given(st.sets(st.integers(0, 300)))
def test_what_is_written_is_read_back(cpus: set[int]) -> None:
    assert parse_cpulist(format_cpulist(cpus)) == tuple(sorted(cpus))


def test_neighbours_become_a_range() -> None:
    assert format_cpulist([8, 3, 0, 1, 2]) == "0-3,8"
