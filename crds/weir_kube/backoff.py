"""How long to wait before another try."""

import random

_MAX_DOUBLINGS = 30  # beyond it, the power alone would be a huge number


def exponential(failures: int, base_seconds: float, max_seconds: float) -> float:
    """Return the wait after so many failures in a row (1 or more), with jitter.

    It doubles from ``base_seconds`` to ``max_seconds``; half of it is random, so that clients that
    failed together do not come back together.
    """
    doublings = min(max(failures - 1, 0), _MAX_DOUBLINGS)
    seconds = min(base_seconds * 2.0**doublings, max_seconds)
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311
