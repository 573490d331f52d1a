"""Quantities mean what Kubernetes takes them to mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir_crds.quantities import InvalidQuantityError, cpu_millis, format_bytes, memory_bytes


@pytest.mark.parametrize(
    ("quantity", "millis"),
    [
        (0, 0),
        (4, 4000),
        ("4", 4000),
        ("500m", 500),
        ("0.5", 500),
        ("1.5", 1500),
        ("1e1", 10_000),
        ("5E-1", 500),
        ("-0", 0),
        ("1n", 1),  # rounded up: who asks for something gets something
        ("100u", 1),
        ("2k", 2_000_000),
    ],
)
def test_cpu_in_millicores(quantity: int | str, millis: int) -> None:
    assert cpu_millis(quantity) == millis


@pytest.mark.parametrize(
    ("quantity", "count"),
    [
        (1, 1),
        ("1k", 1000),
        ("1Ki", 1024),
        ("8Gi", 8 * 2**30),
        ("1.5Gi", 3 * 2**29),
        ("0.1", 1),
        ("1e-99", 1),
        ("128974848", 128974848),
        ("129e6", 129_000_000),
        ("999P", 999 * 10**15),
    ],
)
def test_memory_in_bytes(quantity: int | str, count: int) -> None:
    assert memory_bytes(quantity) == count


@pytest.mark.parametrize(
    ("quantity", "words"),
    [
        ("-1", "negative"),
        (-1, "negative"),
        ("-1m", "negative"),
        ("1E", "below 1E"),
        ("1Ei", "below 1E"),
        (10**18, "below 1E"),
        ("999999999999999999.9999999999", "below 1E"),  # rounds up to it
        ("", "no quantity"),
        ("+", "no quantity"),
        ("1.", "no quantity"),
        (".5", "no quantity"),
        ("1 Gi", "no quantity"),
        ("1gi", "no quantity"),
        ("1e100", "no quantity"),
        ("four", "no quantity"),
        ("٣", "no quantity"),  # a digit, but no ASCII one
        ("1\n", "no quantity"),
        ("0" * 33, "no quantity"),
    ],
)
def test_what_is_refused_says_why(quantity: int | str, words: str) -> None:
    for convert in (cpu_millis, memory_bytes):
        with pytest.raises(InvalidQuantityError, match=words):
            convert(quantity)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (1, "1"), (1024, "1Ki"), (8 * 2**30, "8Gi"), (3 * 2**29, "1536Mi"), (1025, "1025")],
)
def test_bytes_are_written_with_the_largest_exact_suffix(count: int, text: str) -> None:
    assert format_bytes(count) == text


@given(st.integers(min_value=0, max_value=10**18 - 1))
def test_what_is_written_reads_back(count: int) -> None:
    assert memory_bytes(format_bytes(count)) == count


def test_a_negative_count_of_bytes_is_refused() -> None:
    with pytest.raises(InvalidQuantityError):
        format_bytes(-1)
