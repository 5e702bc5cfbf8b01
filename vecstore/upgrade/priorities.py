"""What to embed next: the orders that a backfill can follow."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import InvalidArgumentError
from vecstore.snapshot import Snapshot
from vecstore.translation import Translators
from vecstore.upgrade.demand import Demand

__all__ = ["Priority", "backfill_order", "checked_priority"]

Priority = Literal["demand", "uncertainty", "demand*uncertainty", "random", "oldest"]


def checked_priority(priority: str) -> Priority:
    """Return a priority, or raise InvalidArgumentError naming those there are."""
    if priority not in get_args(Priority):
        raise InvalidArgumentError(
            f"expected priority to be one of {', '.join(get_args(Priority))}, got {priority!r}"
        )
    return priority  # type: ignore[return-value]


def backfill_order(
    snapshot: Snapshot,
    target: str,
    *,
    priority: Priority,
    demand: Demand,
    translators: Translators,
    seed: int,
) -> NDArray[np.int64]:
    """Return the live rows without a native vector, the most wanted first.

    Ties are in a random order that depends on the seed and the row alone, so that what is
    embedded of equally wanted rows is a fair sample of them for the next fit. Under "demand"
    that is everything nobody asked for; under "demand*uncertainty" uncertainty orders it.

    Returns
    -------
    ndarray of shape (n,), int64
    """
    missing = (snapshot.live - snapshot.native(target)).to_array()
    if priority == "oldest":
        return missing
    keys: list[NDArray[np.float64]] = []
    if priority != "random":
        asked = demand.of(missing)
    if "uncertainty" in priority:
        from vecstore.upgrade.doubt import translation_spread  # with all of fitting

        spread = translation_spread(snapshot, target, missing, translators=translators, seed=seed)
    if priority == "demand":
        keys = [asked]
    elif priority == "uncertainty":
        keys = [spread]
    elif priority == "demand*uncertainty":
        both = np.zeros(len(missing))
        np.multiply(asked, spread, out=both, where=asked > 0)
        keys = [spread, both]
    return missing[np.lexsort((_shuffle(missing, seed), *(-key for key in keys)))]


def _shuffle(row_ids: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    """Return a random number for each row and seed (splitmix64; Steele et al., 2014)."""
    z = row_ids.astype(np.uint64) + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
