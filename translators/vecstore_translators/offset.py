"""The offset of a route: what puts translated scores on the scale of native ones.

A translation is a regression: it predicts the mean of what it cannot know, so the scores of
the items that a query really wants come out too low, and wherever native and translated
items are ranked together the native ones win unfairly. One constant per route makes up for it.

Real queries say best how large it is. Without them documents ask that no fit has seen: a fit
that knows the native vector of whoever asks pulls translations towards it, and the gap then comes
out too small, even negative.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore_translators.base import TranslatorFamily
from vecstore_translators.crossfit import cross_fit
from vecstore_translators.errors import TooFewPairsError
from vecstore_translators.validation import Metric, as_pairs, as_vectors, unit_rows

__all__ = ["MIN_QUERIES", "learned_offset", "score_offset"]

MIN_QUERIES = 20
"""Fewer real queries say nothing about the scale of scores."""

_ASKING_SHARE = 4
_MOST_ASKING = 500
_TOP_SHARE = 0.001


def score_offset(
    family: TranslatorFamily,
    X: ArrayLike,
    Y: ArrayLike,
    queries: ArrayLike | None = None,
    *,
    metric: Metric = "cosine",
    seed: int = 0,
) -> float:
    """Return what to add to translated scores before they meet native ones.

    It is the mean over the queries of the best native scores among the pairs minus the best
    scores of the same pairs translated by fits that have not seen them: the gap where rankings
    are decided, at the top. The best are one in a thousand pairs, so that they lie where the
    first hits of a larger corpus do, however many pairs there are; the single best of many
    pairs would say more than is true of those hits.

    Parameters
    ----------
    family : TranslatorFamily
        With the hyper-parameters of the translator whose scores are meant.
    X : array_like of shape (n, d_s)
    Y : array_like of shape (n, d_t)
    queries : array_like of shape (q, d_t), optional
        Real queries of the target space. Without them a quarter of the pairs, 500 at most, ask
        the others. That finds about a third of what real queries find, so it helps less.

    Returns
    -------
    float
        In units of the target space's score; not negative where documents ask.

    Raises
    ------
    TooFewPairsError
        Fewer than 20 queries; without queries, fewer than 80 pairs.

    Examples
    --------
    >>> from vecstore_translators import Ridge
    >>> rng = np.random.default_rng(0)
    >>> Y = rng.normal(size=(400, 16)); X = Y + rng.normal(size=(400, 16))
    >>> score_offset(Ridge(), X, Y, rng.normal(size=(50, 16))) > 0
    True
    """
    source, target = as_pairs(X, Y, min_pairs=2)
    if queries is None:
        asking = min(_MOST_ASKING, len(source) // _ASKING_SHARE)
        if asking < MIN_QUERIES:
            raise TooFewPairsError(
                f"expected at least {MIN_QUERIES * _ASKING_SHARE} pairs, a quarter of which can "
                f"ask in the place of queries; got {len(source)}"
            )
        order = np.random.default_rng(seed).permutation(len(source))
        ask, answer = order[:asking], np.sort(order[asking:])
        found = score_offset(
            family, source[answer], target[answer], target[ask], metric=metric, seed=seed
        )
        # No regression predicts too much on average; less than nothing is noise.
        return max(found, 0.0)
    asked = as_vectors(queries, name="queries", dim=target.shape[1])
    if len(asked) < MIN_QUERIES:
        raise TooFewPairsError(f"expected at least {MIN_QUERIES} real queries, got {len(asked)}")
    rows, translated = cross_fit(family, source, target, metric=metric, seed=seed)
    native = target[rows]
    if metric == "cosine":
        asked, native, translated = unit_rows(asked), unit_rows(native), unit_rows(translated)
    gap = _best(asked, native, metric) - _best(asked, translated, metric)
    return float(gap.mean())


def learned_offset(
    family: TranslatorFamily,
    X: ArrayLike,
    Y: ArrayLike,
    queries: NDArray[np.float32] | None,
    *,
    metric: Metric = "cosine",
    seed: int = 0,
) -> float | None:
    """Return :func:`score_offset` by the best means at hand; None where there are none.

    Real queries if there are enough, else documents if there are enough of them.
    """
    if queries is not None and len(queries) < MIN_QUERIES:
        queries = None
    if queries is None and len(np.asarray(X)) < MIN_QUERIES * _ASKING_SHARE:
        return None
    return score_offset(family, X, Y, queries, metric=metric, seed=seed)


def _best(
    queries: NDArray[np.float32], vectors: NDArray[np.float32], metric: Metric
) -> NDArray[np.float32]:
    """Return the mean of each query's best scores."""
    products = queries @ vectors.T
    if metric == "l2":
        products *= 2
        products -= np.einsum("ij,ij->i", vectors, vectors)
        products -= np.einsum("ij,ij->i", queries, queries)[:, None]
    top = max(1, round(_TOP_SHARE * len(vectors)))
    best: NDArray[np.float32] = np.partition(products, -top, axis=1)[:, -top:].mean(axis=1)
    return best
