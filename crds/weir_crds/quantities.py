"""Kubernetes quantities (``4``, ``500m``, ``8Gi``) as whole millicores and bytes.

The grammar is that of ``k8s.io/apimachinery/pkg/api/resource``, less its oddities (``+``, ``1.``,
exponents of three digits): the CRDs' rules refuse the same strings.
"""

import math
import re
from fractions import Fraction

from weir_crds.errors import WeirError

PATTERN = "^-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]{1,2}|[KMGTPE]i|[numkMGTPE])?$"
"""What a quantity looks like, to the CRDs' rules too. Group 2 is the suffix or exponent."""

_REGEX = re.compile(PATTERN, re.ASCII)
_BINARY = {f"{letter}i": 1024**power for power, letter in enumerate("KMGTPE", 1)}
_DECIMAL = {letter: 1000**power for power, letter in enumerate("kMGTPE", 1)}
_SMALL = {letter: Fraction(1, 1000**power) for power, letter in enumerate("mun", 1)}
_FACTOR: dict[str, int | Fraction] = {**_BINARY, **_DECIMAL, **_SMALL}
_NANO = 10**9  # Kubernetes knows nothing finer: it rounds up to it
_LIMIT = 10**18
MAX_LENGTH = 32


class InvalidQuantityError(WeirError):
    """A string is no quantity, or the quantity is negative or as large as 1E."""

    reason = "InvalidQuantity"


def parse_quantity(quantity: int | str) -> Fraction:
    """Return the value of a quantity, rounded up to a billionth as Kubernetes does.

    Raises:
        InvalidQuantityError: it is malformed, negative, or not below 1E.
    """
    if isinstance(quantity, int):
        value = Fraction(quantity)
    else:
        match = _REGEX.fullmatch(quantity) if len(quantity) <= MAX_LENGTH else None
        if match is None:
            raise InvalidQuantityError(
                f"{quantity[: 2 * MAX_LENGTH]!r} is no quantity (such as 4, 500m, 8Gi)"
            )
        suffix: str = match[2] or ""
        value = Fraction(quantity.removesuffix(suffix))
        if suffix in _FACTOR:
            value *= _FACTOR[suffix]
        elif suffix:
            value *= Fraction(10) ** int(suffix[1:])
    if value < 0:
        raise InvalidQuantityError(f"{quantity} must not be negative")
    value = Fraction(math.ceil(value * _NANO), _NANO)
    if value >= _LIMIT:
        raise InvalidQuantityError(f"{quantity} must be below 1E")
    return value


def cpu_millis(quantity: int | str) -> int:
    """Return a cpu quantity in thousandths of a core, rounded up as Kubernetes does.

    Raises:
        InvalidQuantityError: it is malformed, negative, or not below 1E.
    """
    return math.ceil(parse_quantity(quantity) * 1000)


def memory_bytes(quantity: int | str) -> int:
    """Return a memory or storage quantity in bytes, rounded up as Kubernetes does.

    Raises:
        InvalidQuantityError: it is malformed, negative, or not below 1E.
    """
    return math.ceil(parse_quantity(quantity))


def format_bytes(count: int) -> str:
    """Return the shortest exact quantity with a binary suffix: ``8589934592`` is ``8Gi``.

    Raises:
        InvalidQuantityError: the count is negative.
    """
    if count < 0:
        raise InvalidQuantityError(f"{count} must not be negative")
    for suffix, factor in reversed(_BINARY.items()):
        if count and count % factor == 0:
            return f"{count // factor}{suffix}"
    return str(count)
