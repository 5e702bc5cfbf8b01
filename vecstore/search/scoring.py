"""Answers as arrays: ranking a shortlist in a space, and merging sources by score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from vecstore.spaces import KernelMetric, Space

__all__ = ["Answer", "merge", "rank_shortlist", "score_rows", "score_table"]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """The best rows for each query and which source each came from.

    Attributes
    ----------
    scores : ndarray of shape (nq, k), float32, descending, -inf where nothing was found
    row_ids : ndarray of shape (nq, k), int64, -1 where nothing was found
    origins : ndarray of shape (nq, k), int16, the number of the source
    """

    scores: NDArray[np.float32]
    row_ids: NDArray[np.int64]
    origins: NDArray[np.int16]

    @classmethod
    def of_source(
        cls, number: int, scores: NDArray[np.float32], row_ids: NDArray[np.int64]
    ) -> Answer:
        """Build the answer of one source."""
        origins = np.full(scores.shape, number, dtype=np.int16)
        return cls(scores=scores, row_ids=row_ids, origins=origins)


def merge(answers: Sequence[Answer], k: int) -> Answer:
    """Return the k best of answers over disjoint rows; ties by ascending row id.

    A single answer is returned as it is, so one source gives exactly its own answer.
    """
    if len(answers) == 1 and answers[0].scores.shape[1] == k:
        return answers[0]
    scores = np.concatenate([a.scores for a in answers], axis=1)
    row_ids = np.concatenate([a.row_ids for a in answers], axis=1)
    origins = np.concatenate([a.origins for a in answers], axis=1)
    order = np.lexsort((row_ids, -scores), axis=1)[:, :k]
    return Answer(
        scores=np.take_along_axis(scores, order, axis=1),
        row_ids=np.take_along_axis(row_ids, order, axis=1),
        origins=np.take_along_axis(origins, order, axis=1),
    )


def score_rows(
    queries: NDArray[np.float32],
    wanted: NDArray[np.int64],
    rows: NDArray[np.int64],
    vectors: NDArray[np.float32],
    metric: KernelMetric,
) -> NDArray[np.float32]:
    """Score each query against its own rows.

    Parameters
    ----------
    queries : ndarray of shape (nq, dim), float32
    wanted : ndarray of shape (nq, m), int64
        Row ids, -1 for none.
    rows : ndarray of shape (r,), int64, ascending, r >= 1
        All distinct rows that are wanted.
    vectors : ndarray of shape (r, dim), float32
        Row-aligned with ``rows``.

    Returns
    -------
    ndarray of shape (nq, m), float32
        Minus infinity where no row is wanted.
    """
    slots = np.minimum(np.searchsorted(rows, wanted), len(rows) - 1)
    scores = np.empty(wanted.shape, dtype=np.float32)
    # One small product per query: all rows against all queries would be nq times the work.
    for number, query in enumerate(queries):
        candidates = vectors[slots[number]]
        if metric == "l2":
            difference = candidates - query
            scores[number] = -np.einsum("ij,ij->i", difference, difference)
        else:
            scores[number] = candidates @ query
    scores[wanted < 0] = -np.inf
    return scores


def rank_shortlist(
    queries: NDArray[np.float32],
    shortlist: NDArray[np.int64],
    rows: NDArray[np.int64],
    vectors: NDArray[np.float32],
    space: Space,
    *,
    bonus: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Order each query's shortlist by the space's score.

    Parameters
    ----------
    queries : ndarray of shape (nq, dim), float32
        As the space prepares them.
    shortlist : ndarray of shape (nq, depth), int64
        Row ids, -1 for none.
    rows : ndarray of shape (m,), int64, ascending, m >= 1
        The distinct rows of the shortlists.
    vectors : ndarray of shape (m, dim), float32
        Row-aligned with ``rows``.
    bonus : ndarray of shape (nq, depth), float32, optional
        Added to the scores before they are ordered.

    Returns
    -------
    scores, row_ids : ndarray of shape (nq, depth)
        Descending; ties by ascending row id.
    """
    scores = score_rows(queries, shortlist, rows, vectors, space.kernel_metric)
    if bonus is not None:
        scores += bonus
    order = np.lexsort((shortlist, -scores), axis=1)
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(shortlist, order, axis=1)


def score_table(
    queries: NDArray[np.float32], vectors: NDArray[np.float32], metric: KernelMetric
) -> NDArray[np.float32]:
    """Return all scores of a few vectors, ndarray of shape (queries, vectors), float32."""
    products: NDArray[np.float32] = queries @ vectors.T
    if metric != "l2":
        return products
    squares = np.einsum("ij,ij->i", queries, queries)[:, None]
    products *= 2
    products -= squares
    products -= np.einsum("ij,ij->i", vectors, vectors)[None, :]
    return products
