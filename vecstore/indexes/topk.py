"""Merging of ranked candidates: the best k of many partial answers, with settled ties."""

from __future__ import annotations

from operator import gt
from typing import final

import numpy as np
from numpy.typing import NDArray

__all__ = ["MISSING", "TopK", "merge_top_k"]

MISSING = -1
"""The row id of a place that no row fills; its score is minus infinity."""

# Up to as many candidates of a single query are looked at one by one.
_FEW = 32
# Up to as many candidates, sorting them all is faster than parting the best from the rest: of one
# query, and of several in all.
_SMALL_ALONE = 128
_SMALL = 2048

Scores = NDArray[np.float32]
RowIds = NDArray[np.int64]


def merge_top_k(scores: Scores, row_ids: RowIds, k: int) -> tuple[Scores, RowIds]:
    """Return the k best candidates of each query.

    Parameters
    ----------
    scores : ndarray of shape (nq, m), float32
        Larger is better; minus infinity where ``row_ids`` is -1.
    row_ids : ndarray of shape (nq, m), int64
        -1 marks an empty place.
    k : int

    Returns
    -------
    scores : ndarray of shape (nq, k), float32, descending
    row_ids : ndarray of shape (nq, k), int64
        Equal scores are ordered by ascending row id, also where the k-th place cuts through
        them. Missing places are -1 with score minus infinity.

    Examples
    --------
    >>> scores, ids = merge_top_k(np.float32([[1, 3, 3]]), np.array([[7, 9, 8]]), 2)
    >>> scores.tolist(), ids.tolist()
    ([[3.0, 3.0]], [[8, 9]])
    """
    width = scores.shape[1]
    if width == k and width <= _FEW and len(scores) == 1:
        ranked = scores[0].tolist()
        if all(map(gt, ranked, ranked[1:])):  # a fifth of what numpy takes for as few
            return scores, row_ids
    if width > max(k, _SMALL_ALONE) and len(scores) == 1:
        parted = np.partition(scores[0], width - k)
        best = scores[0] >= parted[width - k]  # and all that tie with the k-th
        scores, row_ids = _ordered(scores[:, best], row_ids[:, best], k)
    elif width > k and scores.size <= _SMALL:
        scores, row_ids = _ordered(scores, row_ids, k)
    elif width > k:
        chosen = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        best = np.take_along_axis(scores, chosen, axis=1)
        worst = best.min(axis=1, keepdims=True)
        # Where a tie crosses the k-th place the partition took any of it: rank those in full.
        cut = np.flatnonzero((scores == worst).sum(axis=1) > (best == worst).sum(axis=1))
        if len(cut):
            chosen[cut] = np.lexsort((row_ids[cut], -scores[cut]), axis=1)[:, :k]
        scores = np.take_along_axis(scores, chosen, axis=1)
        row_ids = np.take_along_axis(row_ids, chosen, axis=1)
    if (scores[:, 1:] >= scores[:, :-1]).any():  # else they are in order, and without ties
        scores, row_ids = _ordered(scores, row_ids, k)
    if width < k:
        spare = ((0, 0), (0, k - width))
        scores = np.pad(scores, spare, constant_values=-np.inf)
        row_ids = np.pad(row_ids, spare, constant_values=MISSING)
    return scores, row_ids


def _ordered(scores: Scores, row_ids: RowIds, k: int) -> tuple[Scores, RowIds]:
    """Sort all candidates and return the k best."""
    order = np.lexsort((row_ids, -scores), axis=1)[:, :k]
    if len(order) == 1:  # a fifth of what the general case takes
        return scores[:, order[0]], row_ids[:, order[0]]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(row_ids, order, axis=1)


@final
class TopK:
    """The running best k of a scan; holds a bounded number of candidates."""

    def __init__(self, *, n_queries: int, k: int) -> None:
        self._n_queries = n_queries
        self._k = k
        self._limit = max(8 * k, 2048)
        self._width = 0
        self._scores: list[Scores] = []
        self._row_ids: list[RowIds] = []

    def add(self, scores: Scores, row_ids: RowIds) -> None:
        """Take in candidates, two arrays of shape (nq, m)."""
        self._scores.append(scores)
        self._row_ids.append(row_ids)
        self._width += scores.shape[1]
        if self._width > self._limit:
            best, ids = self.result()
            self._scores, self._row_ids, self._width = [best], [ids], self._k

    def result(self) -> tuple[Scores, RowIds]:
        """Return what :func:`merge_top_k` makes of everything taken in."""
        if len(self._scores) == 1:
            return merge_top_k(self._scores[0], self._row_ids[0], self._k)
        empty = (self._n_queries, 0)
        scores = np.concatenate([np.empty(empty, np.float32), *self._scores], axis=1)
        row_ids = np.concatenate([np.empty(empty, np.int64), *self._row_ids], axis=1)
        return merge_top_k(scores, row_ids, self._k)
