"""Cross-fitting: every pair translated by a fit that has not seen it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore_translators.base import TranslatorFamily
from vecstore_translators.folds import held_out_folds
from vecstore_translators.validation import Metric, as_pairs, check_at_least

POOL = 4000
"""Pairs translated this way at most; more would sharpen no figure that is read from them."""


def cross_fit(
    family: TranslatorFamily,
    X: ArrayLike,
    Y: ArrayLike,
    *,
    metric: Metric = "cosine",
    folds: int = 5,
    seed: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Translate pairs by fits to the others.

    Parameters
    ----------
    family : TranslatorFamily
    X : array_like of shape (n, d_s)
    Y : array_like of shape (n, d_t)
    metric : {"cosine", "ip", "l2"}
    folds : int
        At least 2.
    seed : int

    Returns
    -------
    rows : ndarray of shape (m,), int64
        The pairs that were held out: all of them up to 4,000, then a random 4,000.
    translated : ndarray of shape (m, d_t), float32
        F(x) of those pairs.

    References
    ----------
    Stone, "Cross-validatory choice and assessment of statistical predictions", 1974.
    """
    check_at_least(folds, 2, name="folds")
    source, target = as_pairs(X, Y, min_pairs=2)
    held_out = held_out_folds(len(source), folds=folds, pool=POOL, seed=seed)
    parts = []
    for rows in held_out:
        seen = np.ones(len(source), dtype=bool)
        seen[rows] = False
        fitted = family.fit(source[seen], target[seen], metric=metric, seed=seed)
        parts.append(fitted.translate(source[rows]))
    return np.concatenate(held_out), np.concatenate(parts)
