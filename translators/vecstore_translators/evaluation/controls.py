"""Controls: what one gets without a translator, or with one that has nothing to learn from.

Every figure of a translation means little beside a full re-embed alone. It must beat the old
model kept as it is (else why migrate), the naive swap (else the spaces agreed already) and a
fit to shuffled pairs (else it is chance). Each control returns a ranking, for any metric.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore_translators.errors import DimensionMismatchError
from vecstore_translators.evaluation.ranking import top_k
from vecstore_translators.validation import Metric, as_pairs, as_vectors

if TYPE_CHECKING:
    from vecstore_translators.base import TranslatorFamily


def old_model_kept(
    source_queries: ArrayLike,
    source_documents: ArrayLike,
    k: int = 10,
    *,
    metric: Metric = "cosine",
) -> NDArray[np.int64]:
    """Rank old documents for the same queries by the old model: the status quo.

    Parameters
    ----------
    source_queries : array_like of shape (q, d_s)
    source_documents : array_like of shape (n, d_s)
    k : int
    metric : {"cosine", "ip", "l2"}

    Returns
    -------
    ndarray of shape (q, min(k, n)), int64
    """
    return top_k(source_queries, source_documents, k, metric=metric)[0]


def naive_swap(
    target_queries: ArrayLike,
    source_documents: ArrayLike,
    k: int = 10,
    *,
    metric: Metric = "cosine",
) -> NDArray[np.int64]:
    """Rank old documents for new queries as if the spaces were one: what nobody should do.

    Parameters
    ----------
    target_queries : array_like of shape (q, d)
    source_documents : array_like of shape (n, d)
    k : int
    metric : {"cosine", "ip", "l2"}

    Returns
    -------
    ndarray of shape (q, min(k, n)), int64

    Raises
    ------
    DimensionMismatchError
        The spaces differ in dimension, so that the swap fails loudly by itself.
    """
    queries = as_vectors(target_queries, name="target_queries")
    documents = as_vectors(source_documents, name="source_documents")
    if queries.shape[1] != documents.shape[1]:
        raise DimensionMismatchError(
            f"a naive swap expects spaces of one dimension, got {queries.shape[1]} and "
            f"{documents.shape[1]}; leave this control out"
        )
    return top_k(queries, documents, k, metric=metric)[0]


def shuffled_pairs(
    family: TranslatorFamily,
    X: ArrayLike,
    Y: ArrayLike,
    target_queries: ArrayLike,
    source_documents: ArrayLike,
    k: int = 10,
    *,
    metric: Metric = "cosine",
    seed: int = 0,
) -> NDArray[np.int64]:
    """Rank wrong documents translated by a map fitted on wrongly paired rows: chance.

    Both are shuffled: the pairs, so that nothing can be learnt, and the documents, so that
    the control holds for a family that ignores its pairs.

    Parameters
    ----------
    family : TranslatorFamily
        The family whose result is to be held against chance.
    X : array_like of shape (p, d_s)
    Y : array_like of shape (p, d_t)
    target_queries : array_like of shape (q, d_t)
    source_documents : array_like of shape (n, d_s)
    k : int
    metric : {"cosine", "ip", "l2"}
    seed : int

    Returns
    -------
    ndarray of shape (q, min(k, n)), int64
    """
    source, target = as_pairs(X, Y)
    documents = as_vectors(source_documents, name="source_documents")
    rng = np.random.default_rng(seed)
    translator = family.fit(source, rng.permutation(target), metric=metric, seed=seed)
    translated = translator.translate(rng.permutation(documents))
    return top_k(target_queries, translated, k, metric=metric)[0]
