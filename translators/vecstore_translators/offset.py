"""The offset of a route: what puts translated scores on the scale of native ones.

A translation is a regression: it predicts the mean of what it cannot know, so the scores of
the items that a query really wants come out too low, and wherever native and translated
items are ranked together the native ones win unfairly. One constant per route makes up for it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore_translators.base import TranslatorFamily
from vecstore_translators.crossfit import cross_fit
from vecstore_translators.errors import TooFewPairsError
from vecstore_translators.validation import Metric, as_pairs, as_vectors, unit_rows

__all__ = ["MIN_QUERIES", "score_offset"]

MIN_QUERIES = 20
"""Fewer real queries say nothing about the scale of scores."""


def score_offset(
    family: TranslatorFamily,
    X: ArrayLike,
    Y: ArrayLike,
    queries: ArrayLike,
    *,
    metric: Metric = "cosine",
    seed: int = 0,
) -> float:
    """Return what to add to translated scores before they meet native ones.

    It is the mean over the queries of the best native score among the pairs minus the best
    score of the same pairs translated by fits that have not seen them: the gap where rankings
    are decided, at the top.

    Parameters
    ----------
    family : TranslatorFamily
        With the hyper-parameters of the translator whose scores are meant.
    X : array_like of shape (n, d_s)
    Y : array_like of shape (n, d_t)
    queries : array_like of shape (q, d_t)
        Real queries of the target space. Documents in their place mislead: they are closer to
        other documents than queries are, and the gap changes its sign.

    Returns
    -------
    float
        In units of the target space's score.

    Raises
    ------
    TooFewPairsError
        Fewer than 20 queries.

    Examples
    --------
    >>> from vecstore_translators import Ridge
    >>> rng = np.random.default_rng(0)
    >>> Y = rng.normal(size=(400, 16)); X = Y + rng.normal(size=(400, 16))
    >>> score_offset(Ridge(), X, Y, rng.normal(size=(50, 16))) > 0
    True
    """
    source, target = as_pairs(X, Y, min_pairs=2)
    asked = as_vectors(queries, name="queries", dim=target.shape[1])
    if len(asked) < MIN_QUERIES:
        raise TooFewPairsError(f"expected at least {MIN_QUERIES} real queries, got {len(asked)}")
    rows, translated = cross_fit(family, source, target, metric=metric, seed=seed)
    native = target[rows]
    if metric == "cosine":
        asked, native, translated = unit_rows(asked), unit_rows(native), unit_rows(translated)
    gap = _best(asked, native, metric) - _best(asked, translated, metric)
    return float(gap.mean())


def _best(
    queries: NDArray[np.float32], vectors: NDArray[np.float32], metric: Metric
) -> NDArray[np.float32]:
    """Return each query's best score."""
    products = queries @ vectors.T
    if metric == "l2":
        products *= 2
        products -= np.einsum("ij,ij->i", vectors, vectors)
        products -= np.einsum("ij,ij->i", queries, queries)[:, None]
    best: NDArray[np.float32] = products.max(axis=1)
    return best
