"""Chance that can be had again."""

import os
import random
import sys

SEED = os.environ.get("WEIR_TEST_SEED", "weir")


def seeded(what: str, number: int = 0) -> random.Random:
    """Return chance for a test, and print what to set to have it again.

    Args:
        what: is tested.
        number: of the example.
    """
    sys.stderr.write(f"{what}, example {number} of WEIR_TEST_SEED={SEED}\n")
    return random.Random(f"{SEED}/{what}/{number}")
