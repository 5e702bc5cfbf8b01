"""Every option on one sample: score tables, rankings, and the metric of each query."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from vecstore.upgrade.questions import Questions
from vecstore_translators.evaluation import ndcg_at_k, overlap_at_k
from vecstore_translators.evaluation.ranking import best_columns

__all__ = ["WEIGHTS", "Judge", "Tables", "cascaded", "tuned", "with_words"]

WEIGHTS = (2.0, 4.0, 6.0, 8.0, 10.0, 12.0)
"""Weights of words that are compared."""

Scores = NDArray[np.float32]
Values = NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tables:
    """Scores of all queries against all documents of the sample, each (queries, documents).

    Attributes
    ----------
    native : ndarray
        By the new model alone: a full re-embed.
    forward, query : ndarray
        By the documents translated forward; by the queries translated back. Documents that a
        search finds natively have their native scores.
    translated : ndarray
        By the documents translated forward, all of them.
    stay : ndarray or None
        By the old model alone; None without the queries' old vectors.
    naive : ndarray or None
        New queries against old documents as if nothing had changed; None if dimensions differ.
    words : ndarray or None
        BM25 between 0 and 1 of each query's best match; None without texts.
    """

    native: Scores
    forward: Scores
    translated: Scores
    query: Scores
    stay: Scores | None = None
    naive: Scores | None = None
    words: Scores | None = None


@final
class Judge:
    """Gives each query's metric: nDCG of judged queries, else overlap with the new model."""

    def __init__(
        self, questions: Questions, rows: NDArray[np.int64], native: Scores, *, k: int
    ) -> None:
        self._k = min(k, len(rows) - (questions.own is not None))
        self._gains = questions.gains
        self._hidden: NDArray[np.bool_] | None = None
        if questions.own is not None:
            self._hidden = rows[None, :] == questions.own[:, None]
        if questions.relevant is not None:
            position = np.minimum(np.searchsorted(rows, questions.relevant), len(rows) - 1)
            known = rows[position] == questions.relevant
            self._relevant = np.where(known, position, -1)
        else:
            self._relevant = self.ranking(native)

    def ranking(self, scores: Scores) -> NDArray[np.int64]:
        """Return the k best documents of each query, as places in the sample."""
        if self._hidden is not None:
            scores = np.where(self._hidden, np.float32(-np.inf), scores)
        return best_columns(scores, self._k)[0]

    def __call__(self, scores: Scores) -> Values:
        """Return one value per query; larger is better."""
        found = self.ranking(scores)
        if self._gains is None:
            return overlap_at_k(found, self._relevant, self._k)
        return ndcg_at_k(found, self._relevant, self._k, gains=self._gains)


def with_words(scores: Scores, words: Scores, weight: float) -> Scores:
    """Add words as a search does: in standard deviations of the query's scores."""
    both: Scores = scores + bonus_of(scores, words, weight)
    return both


def bonus_of(scores: Scores, words: Scores, weight: float) -> Scores:
    """Return what words add to scores."""
    bonus: Scores = np.float32(weight) * scores.std(axis=1, keepdims=True) * words
    return bonus


def tuned(judged: Callable[[float], Values]) -> tuple[Values, float]:
    """Choose the weight of words on one half of the queries and judge it on the other.

    Parameters
    ----------
    judged : callable
        Gives each query's metric at a weight.

    Returns
    -------
    values : ndarray of shape (queries,), float64
        The metric, each half by the weight that the other half chose.
    weight : float
        The best over all queries.
    """
    values = np.stack([judged(weight) for weight in WEIGHTS])
    even = np.arange(values.shape[1]) % 2 == 0
    chosen = np.empty(values.shape[1])
    for half in (even, ~even):
        # A single query has no other half.
        others = ~half if (~half).any() else half
        chosen[half] = values[int(values[:, others].mean(axis=1).argmax())][half]
    return chosen, WEIGHTS[int(values.mean(axis=1).argmax())]


def cascaded(tables: Tables, depth: int, weight: float | None = None) -> Scores:
    """Return native scores of each query's shortlist, and minus infinity for the rest.

    As in a search, words add the same to the scores that make the shortlist and to the native
    ones.
    """
    short, native = tables.forward, tables.native
    if weight is not None and tables.words is not None:
        bonus = bonus_of(tables.forward, tables.words, weight)
        short, native = short + bonus, native + bonus
    chosen = best_columns(short, min(depth, native.shape[1]))[0]
    scores = np.full_like(native, -np.inf)
    np.put_along_axis(scores, chosen, np.take_along_axis(native, chosen, axis=1), axis=1)
    return scores
