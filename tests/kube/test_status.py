"""Status patches: the smallest that gives each field its new value."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir_kube.status import status_patch


@pytest.mark.parametrize(
    ("status", "changes", "patch"),
    [
        pytest.param({}, {}, {}, id="nothing"),
        pytest.param({"a": 1}, {"a": 1}, {}, id="what is there already"),
        pytest.param({"a": 1}, {"b": 2}, {"b": 2}, id="another field"),
        pytest.param({"a": 1}, {"a": None}, {"a": None}, id="a deletion"),
        pytest.param({}, {"a": None}, {}, id="a deletion of what is not there"),
        pytest.param({"l": [1, 2]}, {"l": [2]}, {"l": [2]}, id="a list is replaced whole"),
        pytest.param(
            {"m": {"x": 1, "y": {"z": 1, "k": 0}}},
            {"m": {"y": {"z": 2, "k": 0}}},
            {"m": {"x": None, "y": {"z": 2}}},
            id="of a map, what is gone is deleted and what is kept is left out",
        ),
        pytest.param({"m": 1}, {"m": {"x": 1}}, {"m": {"x": 1}}, id="a map in place of a number"),
    ],
)
def test_status_patch(
    status: dict[str, Any], changes: dict[str, Any], patch: dict[str, Any]
) -> None:
    assert status_patch(status, changes) == patch


def merge(target: Any, patch: Any) -> Any:
    """The algorithm of RFC 7386, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


NAMES = st.sampled_from("abc")
VALUES = st.recursive(
    st.integers(0, 2) | st.lists(st.integers(0, 2), max_size=2),
    lambda inner: st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
STATUS = st.dictionaries(NAMES, VALUES, max_size=3)


@given(old=STATUS, new=STATUS)
def test_applying_the_patch_gives_the_new_values(old: dict[str, Any], new: dict[str, Any]) -> None:
    patch = status_patch(old, new)
    assert merge(old, patch) == old | new
    assert (patch == {}) == (old | new == old)
