"""Retrieval metrics, one value per query, larger is better.

A ranking is an integer array of shape (q, m): row numbers of documents, best first, padded
with -1 where fewer were found. Judgements are an integer array of shape (q,) or (q, r):
the relevant rows of each query, padded with -1. A query without relevant rows scores 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore_translators.errors import InvalidArgumentError, UnpairedRowsError
from vecstore_translators.validation import check_at_least


def recall_at_k(ranking: ArrayLike, relevant: ArrayLike, k: int = 10) -> NDArray[np.float64]:
    """Return the share of each query's relevant documents among its first k.

    Parameters
    ----------
    ranking : array_like of shape (q, m), integer
    relevant : array_like of shape (q,) or (q, r), integer
    k : int

    Returns
    -------
    ndarray of shape (q,), float64, in [0, 1]

    Examples
    --------
    >>> recall_at_k([[4, 2, 9]], [[2, 7]], k=2).tolist()
    [0.5]
    """
    ranking, relevant = _judged(ranking, relevant)
    found = _gains(ranking[:, : check_at_least(k, 1, name="k")], relevant, None) > 0
    total = np.count_nonzero(relevant >= 0, axis=1)
    share: NDArray[np.float64] = np.count_nonzero(found, axis=1) / np.maximum(total, 1)
    return share


def ndcg_at_k(
    ranking: ArrayLike, relevant: ArrayLike, k: int = 10, *, gains: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Return each query's normalised discounted cumulative gain over its first k.

    Parameters
    ----------
    ranking : array_like of shape (q, m), integer
    relevant : array_like of shape (q,) or (q, r), integer
    k : int
    gains : array_like of the shape of `relevant`, optional
        Positive gain of each relevant document, used linearly; 1 by default.

    Returns
    -------
    ndarray of shape (q,), float64, in [0, 1]

    References
    ----------
    Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", 2002, with
    the discount 1 / log2(rank + 1) of trec_eval.
    """
    ranking, relevant = _judged(ranking, relevant)
    ranking = ranking[:, : check_at_least(k, 1, name="k")]
    if gains is None:
        weight = (relevant >= 0).astype(np.float64)
    else:
        weight = np.asarray(gains, dtype=np.float64).reshape(len(relevant), -1)
        if weight.shape != relevant.shape:
            raise UnpairedRowsError(
                f"gains: expected the shape of relevant {relevant.shape}, got {weight.shape}"
            )
        weight = np.where(relevant >= 0, weight, 0.0)
    ideal = -np.sort(-weight, axis=1)[:, :k]
    best = ideal @ _discounts(ideal.shape[1])
    reached = _gains(ranking, relevant, weight) @ _discounts(ranking.shape[1])
    return np.divide(reached, best, out=np.zeros_like(best), where=best > 0)


def mrr(ranking: ArrayLike, relevant: ArrayLike, k: int | None = None) -> NDArray[np.float64]:
    """Return one over the rank of each query's first relevant document, 0 if none is found.

    Parameters
    ----------
    ranking : array_like of shape (q, m), integer
    relevant : array_like of shape (q,) or (q, r), integer
    k : int, optional
        Look at the first k only.

    Returns
    -------
    ndarray of shape (q,), float64, in [0, 1]
    """
    ranking, relevant = _judged(ranking, relevant)
    if k is not None:
        ranking = ranking[:, : check_at_least(k, 1, name="k")]
    found = _gains(ranking, relevant, None) > 0
    first = found.argmax(axis=1)
    return np.where(found.any(axis=1), 1.0 / (1 + first), 0.0)


def overlap_at_k(ranking: ArrayLike, native: ArrayLike, k: int = 10) -> NDArray[np.float64]:
    """Return the share of each query's native first k that its translated first k contain.

    Parameters
    ----------
    ranking, native : array_like of shape (q, m), integer
        The ranking to judge and the target model's own; both at least k wide, or as wide as
        there are documents.
    k : int

    Returns
    -------
    ndarray of shape (q,), float64, in [0, 1]
    """
    own = np.asarray(native)
    if own.ndim != 2:
        raise InvalidArgumentError(f"native: expected shape (q, m), got {own.shape}")
    return recall_at_k(ranking, own[:, : check_at_least(k, 1, name="k")], k)


def _judged(ranking: ArrayLike, relevant: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return both as aligned two-dimensional integer arrays."""
    ranked, judged = np.asarray(ranking), np.asarray(relevant)
    if judged.ndim == 1:
        judged = judged[:, np.newaxis]
    for name, array in (("ranking", ranked), ("relevant", judged)):
        if array.ndim != 2 or array.dtype.kind not in "iu":
            raise InvalidArgumentError(
                f"{name}: expected integer rows of shape (q, m), got {array.dtype} of shape "
                f"{array.shape}"
            )
    if len(ranked) != len(judged):
        raise UnpairedRowsError(
            f"expected one ranking per judged query, got {len(ranked)} and {len(judged)}"
        )
    return ranked.astype(np.int64), judged.astype(np.int64)


def _gains(
    ranking: NDArray[np.int64],
    relevant: NDArray[np.int64],
    weight: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Return the gain of every ranked document, shape of `ranking`; unjudged ones have 0."""
    # (query, document) becomes one integer key, so that a sorted search replaces a q x m x r
    # comparison. Padding gets keys that occur on one side only.
    stride = 2 + max(ranking.max(initial=0), relevant.max(initial=0))
    query = np.arange(len(ranking))[:, np.newaxis] * stride
    keys = np.where(relevant >= 0, query + relevant, query + stride - 1).ravel()
    wanted = np.where(ranking >= 0, query + ranking, -1).ravel()
    if keys.size == 0 or wanted.size == 0:
        return np.zeros(ranking.shape)
    values = np.ones(len(keys)) if weight is None else weight.ravel()
    order = np.argsort(keys, kind="stable")
    keys, values = keys[order], values[order]
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], 0.0).reshape(ranking.shape)


def _discounts(k: int) -> NDArray[np.float64]:
    """Return 1 / log2(rank + 1) for ranks 1 to k."""
    return 1.0 / np.log2(np.arange(2, k + 2))
