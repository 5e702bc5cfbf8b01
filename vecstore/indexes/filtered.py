"""Search under a filter: how much further it must look, and when all that is left is ranked."""

from __future__ import annotations

import math

__all__ = ["FEW_ROWS", "LISTS_FROM", "SCORE_ALL", "widened"]

SCORE_ALL = 2
"""To score a row exactly costs what it does to find it by its code and order it, about twice."""

FEW_ROWS = 2000
"""Under a filter that leaves no more rows, ranking them all takes about as long as any way to
candidates: half a millisecond for a single query."""

LISTS_FROM = 20_000
"""A graph of as many rows carries coded lists: fewer are scanned under a filter about as fast."""


def widened(effort: int, *, eligible: int, total: int) -> int:
    """Return how much further a search must look under a filter.

    The best k eligible rows lie further off, where more rows are about as near; the fourth root of
    the filter's share keeps the recall (measured at 1, 10 and 50 %).

    Examples
    --------
    >>> widened(10, eligible=1_000_000, total=1_000_000)
    10
    >>> widened(10, eligible=10_000, total=1_000_000)
    32
    """
    return math.ceil(effort * math.sqrt(math.sqrt(total / eligible)))
