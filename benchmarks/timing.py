from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """Ours and what it is compared with, both per second and from the same run."""

    what: str
    ours: float
    other: float
    than: str


def rate(count: int, work: Callable[[], object], repeat: int = 3) -> float:
    """`count` per second of the best of `repeat` runs."""
    best = float("inf")
    for _ in range(repeat):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return count / best
