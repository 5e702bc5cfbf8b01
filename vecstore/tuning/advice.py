"""Saying where an index would pay: exact search is the default until a measured break-even."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vecstore.catalog import IndexRecord
from vecstore.status import SpaceStatus

__all__ = ["BREAK_EVEN", "exact_reason", "expected_speedup", "index_advice", "would_speed_up"]

BREAK_EVEN = 2_000_000
"""Rows times dimensions from which a graph of recall 0.95 answers before a scan does: at 384
dimensions single queries between 2,000 and 4,000 rows, batches between 4,000 and 8,000
(benchmarks/indexes.py --crossover)."""

# Steps of a fifth at most from the values in use: what lies between two steps is lost speed.
WORTH_SAYING = 2.0


def expected_speedup(rows: int, dim: int) -> float:
    """Return how many times as fast an index would answer a single query as a scan, about.

    A scan's time grows with rows times dimensions, a graph's hardly does.

    Examples
    --------
    >>> expected_speedup(1_000, 384) < 1 < expected_speedup(1_000_000, 384)
    True
    """
    return rows * dim / BREAK_EVEN


def would_speed_up(rows: int, dim: int) -> float | None:
    """Return how many times as fast an index would be, about; None where it is not worth one."""
    gain = expected_speedup(rows, dim)
    return gain if gain >= WORTH_SAYING else None


def exact_reason(status: SpaceStatus) -> str:
    """Return in a sentence why "auto" builds no index over a space."""
    rows = f"{status.native:,} vectors of {status.space.dim:,} dimensions"
    return f"space {status.space.name} is searched exactly: for {rows} an index is no faster"


def index_advice(spaces: Mapping[str, SpaceStatus], indexes: Iterable[IndexRecord]) -> list[str]:
    """Return a sentence for each space whose own vectors are scanned and need not be."""
    indexed = {index.space for index in indexes if index.execution is None}
    advice = []
    for name, status in spaces.items():
        gain = would_speed_up(status.native, status.space.dim)
        if name not in indexed and gain is not None:
            advice.append(
                f"space {name} is searched exactly; an index would answer a query about "
                f"{gain:.0f} times as fast: vecstore index build --space {name}"
            )
    return advice
