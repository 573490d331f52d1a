"""Chance that can be had again."""

import os
import random
import sys

SEED = os.environ.get("WEIR_TEST_SEED", "")


def seeded(what: str, number: int = 0) -> random.Random:
    """Return chance for a test; the seed is printed, and can be given as ``WEIR_TEST_SEED``."""
    seed = SEED or f"{what}-{number}"
    sys.stderr.write(f"{what}: WEIR_TEST_SEED={seed!r}\n")
    return random.Random(seed)
