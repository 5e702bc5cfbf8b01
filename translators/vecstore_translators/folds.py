"""Which pairs are held out: small random folds, the same for tuning and for selection."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SINGLE_SPLIT_RATIO = 10
"""With this many times more pairs than the pool, one split tells as much as many folds."""


def held_out_folds(n: int, *, folds: int, pool: int, seed: int) -> tuple[NDArray[np.int64], ...]:
    """Return disjoint sets of rows to hold out in turn.

    Up to `pool` pairs, the folds partition all rows, as in ordinary cross-validation. Beyond
    that only `pool` random rows are ever held out, and with far more pairs all of them at
    once: what is left is nearly everything, so further fits would learn the same map.

    Parameters
    ----------
    n : int
        Number of pairs, at least 2.
    folds : int
        At most n are made.
    pool : int
        Number of rows held out in all, at most.
    seed : int

    Returns
    -------
    tuple of ndarray of int64
        Rows of each fold, sorted, so that gathering from mapped files is sequential.
    """
    rows = np.random.default_rng(seed).permutation(n)[:pool]
    parts = 1 if n >= _SINGLE_SPLIT_RATIO * pool else min(folds, n)
    return tuple(np.sort(part) for part in np.array_split(rows, parts))
