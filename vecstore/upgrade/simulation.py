"""Every option on one sample: score tables, rankings, and the metric of each query.

A cascade of depth 20 embeds the 20 best of the whole collection, not of the sample, and words
weigh by how scores spread over the whole collection. So documents outside the sample are scored
too, as far as that embeds nothing: by translation and by the old model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from vecstore.upgrade.questions import Questions
from vecstore_translators.evaluation import ndcg_at_k, overlap_at_k
from vecstore_translators.evaluation.ranking import best_columns

__all__ = ["WEIGHTS", "Judge", "Scores", "Table", "Tables", "Values", "Words", "cascaded", "tuned"]

WEIGHTS = (2.0, 4.0, 6.0, 8.0, 10.0, 12.0)
"""Weights of words that are compared."""

Scores = NDArray[np.float32]
Values = NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """Scores of all queries against the sample and against what stands for the rest.

    Attributes
    ----------
    inside : ndarray of shape (queries, documents), float32
    outside : ndarray of shape (queries, m), float32
        Of random documents outside the sample; m may be 0.
    spread : ndarray of shape (queries, 1), float32
        Standard deviation of each query's scores over the whole collection.
    """

    inside: Scores
    outside: Scores
    spread: Scores

    @classmethod
    def of(cls, inside: Scores, outside: Scores, *, stands_for: float) -> Table:
        """Build it; each outside document stands for so many."""
        count = inside.shape[1] + stands_for * outside.shape[1]
        mean, square = (
            (
                (inside**power).sum(axis=1, dtype=np.float64)
                + stands_for * (outside**power).sum(axis=1, dtype=np.float64)
            )
            / count
            for power in (1, 2)
        )
        spread = np.sqrt(np.maximum(square - mean**2, 0)).astype(np.float32)
        return cls(inside=inside, outside=outside, spread=spread[:, None])

    def lifted(self, words: Words, weight: float) -> Scores:
        """Return the sample's scores with what words add, as a search adds it."""
        return self.inside + self.unit(weight) * words.inside

    def unit(self, weight: float) -> Scores:
        """Return what the best match in words adds, ndarray of shape (queries, 1)."""
        unit: Scores = np.float32(weight) * self.spread
        return unit


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Words:
    """BM25 as a share of each query's best match, in and outside the sample."""

    inside: Scores
    outside: Scores


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tables:
    """Scores of all queries against all documents, in every way.

    Attributes
    ----------
    stands_for : float
        Documents that each one outside the sample stands for.
    native : Table
        By the new model alone: a full re-embed. Nothing is known of it outside.
    forward, query : Table
        By the documents translated forward; by the queries translated back. Documents that a
        search finds natively have their native scores.
    translated : ndarray of shape (queries, documents), float32
        By the documents of the sample translated forward, all of them.
    stay : Table or None
        By the old model alone; None without the queries' old vectors.
    naive : Table or None
        New queries against old documents as if nothing had changed; None if dimensions differ.
    words : Words or None
        None without texts.
    """

    stands_for: float
    native: Table
    forward: Table
    query: Table
    translated: Scores
    stay: Table | None = None
    naive: Table | None = None
    words: Words | None = None


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
        """Return the k best documents of each query, as places in the sample; -1 for none."""
        if self._hidden is not None:
            scores = np.where(self._hidden, np.float32(-np.inf), scores)
        columns, found = best_columns(scores, self._k)
        return np.where(np.isfinite(found), columns, -1)

    def __call__(self, scores: Scores) -> Values:
        """Return one value per query; larger is better."""
        found = self.ranking(scores)
        if self._gains is None:
            return overlap_at_k(found, self._relevant, self._k)
        return ndcg_at_k(found, self._relevant, self._k, gains=self._gains)


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
    ones, and documents outside the sample take their places in the shortlist.
    """
    native, short, others = tables.native.inside, tables.forward.inside, tables.forward.outside
    if weight is not None and tables.words is not None:
        unit = tables.forward.unit(weight)
        native, short = native + unit * tables.words.inside, short + unit * tables.words.inside
        others = others + unit * tables.words.outside
    chosen, values = best_columns(short, min(depth, native.shape[1]))
    place = np.arange(chosen.shape[1]) + tables.stands_for * _ahead(values, others)
    scores = np.full_like(native, -np.inf)
    listed = np.where(place < depth, np.take_along_axis(native, chosen, axis=1), -np.inf)
    np.put_along_axis(scores, chosen, listed.astype(np.float32), axis=1)
    return scores


def _ahead(values: Scores, outside: Scores) -> Values:
    """Return how many outside scores are above each value of the same query."""
    counts = np.zeros(values.shape)
    for number, others in enumerate(np.sort(outside, axis=1)):
        counts[number] = len(others) - np.searchsorted(others, values[number], side="right")
    return counts
