"""Sign codes: one bit per dimension, to find a shortlist at a thirty-second of the memory."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore_translators.errors import DimensionMismatchError, InvalidVectorsError
from vecstore_translators.evaluation.ranking import best_columns
from vecstore_translators.validation import as_vectors, check_at_least, unit_rows

Codes: TypeAlias = NDArray[np.uint64]

_BLOCK_WORDS = 2**22


def sign_codes(vectors: ArrayLike, *, centre: ArrayLike | None = None) -> Codes:
    """Return one bit per dimension, set where the vector exceeds the centre.

    Parameters
    ----------
    vectors : array_like of shape (n, d)
    centre : array_like of shape (d,), optional
        Usually the mean of the documents; 0 by default. Anisotropic spaces need it: their
        coordinates hardly change sign. Documents and queries must share it.

    Returns
    -------
    ndarray of shape (n, ceil(d / 64)), uint64
        Padded with zero bits.

    References
    ----------
    Charikar, "Similarity estimation techniques from rounding algorithms", 2002, section 3.
    """
    vectors = as_vectors(vectors)
    middle = np.zeros(vectors.shape[1]) if centre is None else np.asarray(centre)
    if middle.shape != (vectors.shape[1],):
        raise DimensionMismatchError(
            f"centre: expected {vectors.shape[1]} values, got shape {middle.shape}"
        )
    packed = np.packbits(vectors > middle, axis=1, bitorder="little")
    padded = np.zeros((len(packed), -(-vectors.shape[1] // 64) * 8), dtype=np.uint8)
    padded[:, : packed.shape[1]] = packed
    return padded.view(np.uint64)


def hamming_top_k(
    queries: Codes, documents: Codes, k: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rank documents by the number of bits in which they differ from each query.

    Parameters
    ----------
    queries : ndarray of shape (q, w), uint64
    documents : ndarray of shape (n, w), uint64
    k : int
        Documents to return per query; at most n of them are.

    Returns
    -------
    rows : ndarray of shape (q, min(k, n)), int64
        Best first; equal distances in ascending order of row.
    distances : ndarray of shape (q, min(k, n)), int64
        Smaller is better.
    """
    check_at_least(k, 1, name="k")
    for name, codes in (("queries", queries), ("documents", documents)):
        if codes.ndim != 2 or codes.dtype != np.uint64:
            raise InvalidVectorsError(
                f"{name}: expected codes of shape (n, words), uint64, got {codes.dtype} of shape "
                f"{codes.shape}; make them with sign_codes"
            )
    if queries.shape[1] != documents.shape[1]:
        raise DimensionMismatchError(
            f"expected codes of one width, got {queries.shape[1]} and {documents.shape[1]} words"
        )
    k = min(k, len(documents))
    rows = np.empty((len(queries), k), dtype=np.int64)
    distances = np.empty((len(queries), k), dtype=np.int64)
    step = max(1, _BLOCK_WORDS // max(1, documents.size))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        differing = np.bitwise_count(queries[part, np.newaxis] ^ documents)
        # Distances are small integers, exact in float32.
        rows[part], scores = best_columns(-differing.sum(axis=2, dtype=np.float32), k)
        distances[part] = -scores
    return rows, distances


def shortlist_top_k(
    queries: ArrayLike,
    documents: ArrayLike,
    codes: Codes,
    k: int,
    *,
    depth: int = 200,
    centre: ArrayLike | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rank by cosine among the documents whose sign codes are nearest to the query's.

    Parameters
    ----------
    queries : array_like of shape (q, d)
    documents : array_like of shape (n, d)
    codes : ndarray of shape (n, w), uint64
        ``sign_codes(documents, centre=centre)``.
    k : int
    depth : int
        Length of the shortlist, at least k; with n it is exact search.
    centre : array_like of shape (d,), optional
        As for `codes`.

    Returns
    -------
    rows : ndarray of shape (q, min(k, n)), int64
        Best first; equal scores in ascending order of row.
    scores : ndarray of shape (q, min(k, n)), float32
        Cosine; larger is better.
    """
    check_at_least(k, 1, name="k")
    check_at_least(depth, k, name="depth")
    documents = as_vectors(documents, name="documents")
    queries = as_vectors(queries, dim=documents.shape[1], name="queries")
    if len(codes) != len(documents):
        raise InvalidVectorsError(
            f"codes: expected one per document, got {len(codes)} for {len(documents)}"
        )
    shortlist, _ = hamming_top_k(sign_codes(queries, centre=centre), codes, depth)
    shortlist.sort(axis=1)
    k = min(k, len(documents))
    queries = unit_rows(queries)
    rows = np.empty((len(queries), k), dtype=np.int64)
    scores = np.empty((len(queries), k), dtype=np.float32)
    step = max(1, _BLOCK_WORDS // max(1, shortlist.shape[1] * documents.shape[1]))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        near = documents[shortlist[part]].astype(np.float32)
        lengths = np.sqrt(np.einsum("qnd,qnd->qn", near, near))
        products = np.matmul(near, queries[part, :, np.newaxis])[:, :, 0]
        columns, scores[part] = best_columns(products / np.maximum(lengths, 1e-30), k)
        rows[part] = np.take_along_axis(shortlist[part], columns, axis=1)
    return rows, scores
