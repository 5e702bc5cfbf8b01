"""Exact nearest neighbours in numpy: the ground truth every other figure is held against."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore_translators.validation import (
    Metric,
    as_vectors,
    check_at_least,
    check_metric,
    unit_rows,
)

_BLOCK_SCORES = 2**23
"""Scores held at once (32 MiB of float32)."""


def top_k(
    queries: ArrayLike, documents: ArrayLike, k: int, *, metric: Metric = "cosine"
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rank documents for every query, exactly.

    Parameters
    ----------
    queries : array_like of shape (q, d)
    documents : array_like of shape (n, d)
    k : int
        Documents to return per query; at most n of them are.
    metric : {"cosine", "ip", "l2"}

    Returns
    -------
    rows : ndarray of shape (q, min(k, n)), int64
        Rows of `documents`, best first; equal scores in ascending order of row.
    scores : ndarray of shape (q, min(k, n)), float32
        Larger is better: cosine, inner product, or minus the squared Euclidean distance.

    Raises
    ------
    InvalidVectorsError, DimensionMismatchError
    NonFiniteError
        Also for a zero vector under cosine.
    """
    check_metric(metric)
    check_at_least(k, 1, name="k")
    documents = as_vectors(documents, name="documents")
    queries = as_vectors(queries, dim=documents.shape[1], name="queries")
    if metric == "cosine":
        queries, documents = unit_rows(queries), unit_rows(documents)
    else:
        queries = queries.astype(np.float32, copy=False)
        documents = documents.astype(np.float32, copy=False)
    k = min(k, len(documents))
    rows = np.empty((len(queries), k), dtype=np.int64)
    scores = np.empty((len(queries), k), dtype=np.float32)
    offsets = np.einsum("ij,ij->i", documents, documents) if metric == "l2" else None
    step = max(1, _BLOCK_SCORES // max(1, len(documents)))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        block = queries[part] @ documents.T
        if offsets is not None:  # -‖q - d‖² = 2 q·d - ‖d‖² - ‖q‖²
            block *= 2
            block -= offsets
            block -= np.einsum("ij,ij->i", queries[part], queries[part])[:, np.newaxis]
        rows[part], scores[part] = best_columns(block, k)
    return rows, scores


def best_columns(
    scores: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the `k` best columns of each row, best first, ties by ascending column.

    Parameters
    ----------
    scores : ndarray of shape (q, n), float32
    k : int
        At most n.
    """
    n = scores.shape[1]
    if k < n:
        columns = np.argpartition(scores, n - k, axis=1)[:, n - k :]
        values = np.take_along_axis(scores, columns, axis=1)
        # A partition keeps arbitrary ones of several documents tied at the threshold. Those
        # rows are rare (duplicates), so only they pay for a stable sort.
        tied = np.count_nonzero(scores >= values.min(axis=1, keepdims=True), axis=1) > k
        if tied.any():
            columns[tied] = np.argsort(-scores[tied], axis=1, kind="stable")[:, :k]
        columns.sort(axis=1)
    else:
        columns = np.broadcast_to(np.arange(n), scores.shape)
    values = np.take_along_axis(scores, columns, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    best: NDArray[Any] = np.take_along_axis(columns, order, axis=1)
    return best, np.take_along_axis(values, order, axis=1)
