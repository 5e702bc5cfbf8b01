"""Predicted quality: what a translation of the whole corpus will reach, before it is made.

The overlap measured on held-out pairs is not the overlap that users get. A few hundred pairs
make a small pool, and among few documents the right ten are easy to find: on real pairs of
models the overlap of a pool of 250 is two to three times that of the corpus of 7,000. What a
larger corpus adds is known without any new embedding, though: its old vectors can be
translated, and the residuals of held-out pairs say how often the order of such scores is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore_translators.base import Translator, TranslatorFamily
from vecstore_translators.crossfit import cross_fit
from vecstore_translators.errors import InvalidArgumentError, TooFewPairsError
from vecstore_translators.evaluation import Interval, overlap_at_k, top_k
from vecstore_translators.reference import PairReference
from vecstore_translators.uncertainty import TranslationUncertainty
from vecstore_translators.validation import (
    Metric,
    Vectors,
    as_pairs,
    as_vectors,
    check_at_least,
    unit_rows,
)

DEPTH = 10
"""Shortlist that the doubts of k hits are read from, in multiples of k."""

_QUERIES = 500
_BLOCK_ROWS = 16_384
_RESAMPLES = 1000

_ERROR = 0.03
_ERROR_PER_LOG = 0.1
"""Standard error of the model in logits: at the size of the held-out pool, and for each factor
of e that the corpus is larger. Set on the debian pairs; see benchmarks/predicted_quality.py for
what the interval then covers there and on pairs it was not set on."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class QualityPrediction:
    """Overlap@k with a full re-embed that a translated corpus is expected to reach.

    Parameters
    ----------
    overlap : Interval
        The prediction for the corpus.
    held_out : float
        What was measured: overlap@k within the pool of held-out pairs.
    modelled_held_out, modelled : float
        What the error model alone expects, for that pool and for the corpus. The first beside
        `held_out` shows how well the model fits.
    k : int
    n_pool, n_documents, n_queries : int
        Held-out pairs; documents of the corpus; queries.
    """

    overlap: Interval
    held_out: float
    modelled_held_out: float
    modelled: float
    k: int
    n_pool: int
    n_documents: int
    n_queries: int

    def __str__(self) -> str:
        return (
            f"overlap@{self.k} {self.overlap} expected over {self.n_documents:,} documents "
            f"({self.held_out:.3f} measured among {self.n_pool:,} held-out pairs)"
        )


def predict_quality(
    family: TranslatorFamily,
    X: ArrayLike,
    Y: ArrayLike,
    documents: ArrayLike,
    *,
    queries: ArrayLike | None = None,
    metric: Metric = "cosine",
    k: int = 10,
    folds: int = 10,
    confidence: float = 0.95,
    seed: int = 0,
) -> QualityPrediction:
    """Predict the overlap with a full re-embed from pairs alone.

    Parameters
    ----------
    family : TranslatorFamily
        What will be fitted on the pairs, such as ``selection.family``.
    X : array_like of shape (n, d_s)
        Native source vectors of the pairs, at least 2 k + 2 and 20 of them.
    Y : array_like of shape (n, d_t)
        Native target vectors of the same items.
    documents : array_like of shape (N, d_s)
        Source vectors of the corpus to translate, without the pairs; memory-mapped is fine.
    queries : array_like of shape (q, d_t), optional
        Some hundreds of real queries by the new model. Without them held-out documents ask,
        which are easier or harder than queries in a way that the interval does not know.
    metric : {"cosine", "ip"}
    k : int
    folds : int
        Parts the pairs are cross-fitted on.
    confidence : float
    seed : int

    Raises
    ------
    TooFewPairsError, UnpairedRowsError, InvalidVectorsError, NonFiniteError
    InvalidArgumentError
        No queries, or no more than k documents.
    UnsupportedOperationError
        Under l2; see :class:`TranslationUncertainty`.

    Notes
    -----
    With o the overlap measured on held-out pairs, and m(pool), m(corpus) the mean of
    1 - P(hit is wrong) that the error model gives for both, the prediction is

        logit p = logit m(corpus) + logit o - logit m(pool):

    the model carries the step from pool to corpus, the measurement sets the level. The interval
    adds, in logits, the bootstrap over queries and a model error that grows with log(N / n).
    """
    check_at_least(k, 1, name="k")
    if not 0 < confidence < 1:
        raise InvalidArgumentError(f"confidence: expected within (0, 1), got {confidence}")
    source, target = as_pairs(X, Y)
    corpus = as_vectors(documents, dim=source.shape[1], name="documents", finite=False)
    if len(corpus) <= k:
        raise InvalidArgumentError(
            f"documents: expected more than k = {k} to rank, got {len(corpus)}"
        )
    if len(source) < 2 * k + 2:
        raise TooFewPairsError(
            f"expected at least {2 * k + 2} pairs to measure overlap@{k} on, got {len(source)}"
        )
    if metric == "cosine":
        target = unit_rows(target)
    rows, held = cross_fit(family, source, target, metric=metric, folds=folds, seed=seed)
    reference = PairReference.fit(source, metric=metric, seed=seed)
    model = TranslationUncertainty.from_held_out(
        held, target[rows], source[rows], reference=reference, metric=metric
    )
    asked, selves = _questions(queries, target[rows])
    # In the pool: what is expected, and what is true.
    depth = min(DEPTH * k, len(rows) // 2)
    found, scores = _without_self(*top_k(asked, held, depth + 1, metric=metric), selves)
    spread = model.spread(source[rows], held)
    expected_pool = model.doubts(asked, scores, spread[found], k).expected_overlap
    native, _ = top_k(asked, target[rows], k + 1, metric=metric)
    native = native if selves is None else _without_self(native, native, selves)[0]
    measured = overlap_at_k(found[:, :k], native[:, :k], k)
    # In the corpus: what is expected.
    translator = family.fit(source, target, metric=metric, seed=seed)
    scores, spreads = _shortlist(model, translator, corpus, asked, DEPTH * k, metric)
    expected = model.doubts(asked, scores, spreads, k).expected_overlap

    values = np.column_stack([expected, measured, expected_pool])
    signs = np.array([1.0, 1.0, -1.0])
    rng = np.random.default_rng(seed)
    drawn = [
        _logit(values[rng.integers(len(values), size=len(values))].mean(axis=0), len(values) * k)
        for _ in range(_RESAMPLES)
    ]
    centre = float(_logit(values.mean(axis=0), len(values) * k) @ signs)
    steps = max(float(np.log(len(corpus) / len(rows))), 0.0)
    error = np.hypot(float(np.std(np.array(drawn) @ signs)), _ERROR + _ERROR_PER_LOG * steps)
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * float(error)
    predicted, low, high = (
        float(1 / (1 + np.exp(-z))) for z in (centre, centre - reach, centre + reach)
    )
    return QualityPrediction(
        overlap=Interval(mean=predicted, low=low, high=high, confidence=confidence),
        held_out=float(measured.mean()),
        modelled_held_out=float(expected_pool.mean()),
        modelled=float(expected.mean()),
        k=k,
        n_pool=len(rows),
        n_documents=len(corpus),
        n_queries=len(asked),
    )


def _questions(
    queries: ArrayLike | None, held_out: Vectors
) -> tuple[Vectors, NDArray[np.int64] | None]:
    """Return who asks, and the places in the pool of those who are documents themselves."""
    if queries is None:
        # Folds are random parts, so the first of them are a random sample.
        selves = np.arange(min(_QUERIES, len(held_out)))
        return held_out[selves], selves
    asked = as_vectors(queries, dim=held_out.shape[1], name="queries")
    if not len(asked):
        raise InvalidArgumentError("queries: expected at least one, got none")
    return asked, None


def _without_self(
    rows: NDArray[np.int64],
    scores: NDArray[np.float32] | NDArray[np.int64],
    selves: NDArray[np.int64] | None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return rankings without the asking document, or else without their last place."""
    keep = np.ones(rows.shape, dtype=bool)
    if selves is not None:
        keep = rows != selves[:, np.newaxis]
    keep[keep.all(axis=1), -1] = False
    shape = (len(rows), rows.shape[1] - 1)
    return rows[keep].reshape(shape), scores[keep].reshape(shape)  # type: ignore[return-value]


def _shortlist(
    model: TranslationUncertainty,
    translator: Translator,
    corpus: Vectors,
    asked: Vectors,
    depth: int,
    metric: Metric,
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return scores and spreads of the best documents, translating one block at a time."""
    best = np.empty((len(asked), 0), dtype=np.float32)
    spreads = np.empty((len(asked), 0))
    for start in range(0, len(corpus), _BLOCK_ROWS):
        block = np.asarray(corpus[start : start + _BLOCK_ROWS])
        translated = translator.translate(block)
        found, scores = top_k(asked, translated, depth, metric=metric)
        here, place = np.unique(found, return_inverse=True)
        spread = model.spread(block[here], translated[here])[place.reshape(found.shape)]
        best, spreads = np.hstack([best, scores]), np.hstack([spreads, spread])
        order = np.argsort(-best, axis=1, kind="stable")[:, :depth]
        best = np.take_along_axis(best, order, axis=1)
        spreads = np.take_along_axis(spreads, order, axis=1)
    return best, spreads


def _logit(share: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return log odds, with none and all of n as half a case away from the end."""
    inside = np.clip(share, 0.5 / n, 1 - 0.5 / n)
    odds: NDArray[np.float64] = np.log(inside / (1 - inside))
    return odds
