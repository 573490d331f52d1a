"""Faults of a request, as clients are told them."""

import tracemalloc

import orjson
import pytest

from weir_api.web.validation import nul_fault


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("a\0", ("body",)),
        ({"a": ["b", {"c": "\0"}]}, ("body", "a", 1, "c")),
        ({"a": {"b\0": 1}}, ("body", "a", "b\0")),
        ([[], [["", "\0"]]], ("body", 1, 0, 1)),
    ],
)
def test_a_nul_is_told_with_its_place(value: object, place: tuple[str | int, ...]) -> None:
    found = nul_fault(value, ("body",))

    assert found is not None
    assert (found["type"], found["loc"]) == ("string_nul", [*place])


@pytest.mark.parametrize("value", [None, 1, "a", {"a": ["b", {"c": 2.5}]}, []])
def test_without_a_nul_there_is_no_fault(value: object) -> None:
    assert nul_fault(value, ("body",)) is None


def test_a_deep_and_wide_value_costs_no_more_than_its_size() -> None:
    """A place for each member of a deep list would take gigabytes for a body of one megabyte."""
    depth, width = 900, 100_000
    value = orjson.loads("[" * depth + '"\\u0000",' + ",".join(["0"] * width) + "]" * depth)
    tracemalloc.start()

    found = nul_fault(value, ("body",))

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found is not None
    assert len(found["loc"]) == depth + 1
    assert peak < 50e6
