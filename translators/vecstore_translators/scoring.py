"""Corrections of scores at query time: cross-domain similarity local scaling."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore_translators.evaluation import top_k
from vecstore_translators.evaluation.ranking import best_columns
from vecstore_translators.validation import as_vectors, check_at_least, unit_rows

_BLOCK_SCORES = 2**23


def hubness(
    documents: ArrayLike, queries: ArrayLike, *, neighbours: int = 10
) -> NDArray[np.float32]:
    """Return how near each document is to queries in general.

    Documents that are near to everything (hubs) turn up in too many rankings. A translation
    makes hubs of its own, since regression draws what it cannot tell apart to one place.

    Parameters
    ----------
    documents : array_like of shape (n, d)
        Translated documents.
    queries : array_like of shape (q, d)
        A sample of native queries, or of native documents in their place.
    neighbours : int
        How many nearest queries are averaged; at most q are.

    Returns
    -------
    ndarray of shape (n,), float32
        r(y): the mean cosine to the nearest queries. Larger is more of a hub.
    """
    _, scores = top_k(documents, queries, neighbours, metric="cosine")
    mean: NDArray[np.float32] = scores.mean(axis=1)
    return mean


def csls_top_k(
    queries: ArrayLike,
    documents: ArrayLike,
    k: int,
    *,
    document_hubness: ArrayLike,
    weight: float = 1.0,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rank documents by cosine less their hubness, exactly.

    Parameters
    ----------
    queries : array_like of shape (q, d)
    documents : array_like of shape (n, d)
    k : int
        Documents to return per query; at most n of them are.
    document_hubness : array_like of shape (n,)
        From :func:`hubness`.
    weight : float
        1 is the published correction; 0 is plain cosine.

    Returns
    -------
    rows : ndarray of shape (q, min(k, n)), int64
        Rows of `documents`, best first; equal scores in ascending order of row.
    scores : ndarray of shape (q, min(k, n)), float32
        2 cos(q, y) - weight * r(y); larger is better.

    Raises
    ------
    InvalidVectorsError, DimensionMismatchError, NonFiniteError
        Also where there is not one hubness per document.

    Notes
    -----
    The query's own term of CSLS is the same for all its documents and left out: it changes no
    ranking. How much it helps depends on the pair of models, so nothing applies it by itself:
    measure it (``benchmarks/translators.py`` prints it next to plain cosine).

    References
    ----------
    Conneau, Lample, Ranzato, Denoyer and Jégou, "Word translation without parallel data",
    2018, eq. 3.
    """
    check_at_least(k, 1, name="k")
    documents = unit_rows(as_vectors(documents, name="documents"))
    queries = unit_rows(as_vectors(queries, dim=documents.shape[1], name="queries"))
    hubs = as_vectors(
        np.atleast_2d(np.asarray(document_hubness)), dim=len(documents), name="document_hubness"
    )
    offset = (weight * hubs[0]).astype(np.float32)
    k = min(k, len(documents))
    rows = np.empty((len(queries), k), dtype=np.int64)
    scores = np.empty((len(queries), k), dtype=np.float32)
    step = max(1, _BLOCK_SCORES // max(1, len(documents)))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        block = queries[part] @ documents.T
        block *= 2
        block -= offset
        rows[part], scores[part] = best_columns(block, k)
    return rows, scores
