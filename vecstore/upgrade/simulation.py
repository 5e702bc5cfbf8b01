"""Every option on one sample: score tables, rankings, and the metric of each query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from vecstore.upgrade.questions import Questions
from vecstore_translators.evaluation import ndcg_at_k, overlap_at_k

__all__ = ["Judge", "Tables", "cascaded", "tuned_words", "with_words"]

WEIGHTS = (2.0, 4.0, 6.0, 8.0, 10.0, 12.0)
"""Weights of words that are compared."""

Scores = NDArray[np.float32]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tables:
    """Scores of all queries against all documents of the sample, each (queries, documents).

    Attributes
    ----------
    native : ndarray
        By the new model alone: a full re-embed.
    forward, query : ndarray
        By the documents translated forward; by the queries translated back.
    stay : ndarray or None
        By the old model alone; None without the queries' old vectors.
    naive : ndarray or None
        New queries against old documents as if nothing had changed; None if dimensions differ.
    words : ndarray or None
        BM25 between 0 and 1 of each query's best match; None without texts.
    """

    native: Scores
    forward: Scores
    query: Scores | None = None
    stay: Scores | None = None
    naive: Scores | None = None
    words: Scores | None = None


@final
class Judge:
    """Gives each query's metric: nDCG of judged queries, else overlap with the new model."""

    def __init__(
        self, questions: Questions, rows: NDArray[np.int64], native: Scores, *, k: int
    ) -> None:
        self._k = k
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
        return np.argsort(-scores, axis=1, kind="stable")[:, : self._k]

    def __call__(self, scores: Scores) -> NDArray[np.float64]:
        """Return one value per query; larger is better."""
        found = self.ranking(scores)
        if self._gains is None:
            return overlap_at_k(found, self._relevant, self._k)
        return ndcg_at_k(found, self._relevant, self._k, gains=self._gains)


def with_words(scores: Scores, words: Scores, weight: float) -> Scores:
    """Add words as a search does: in standard deviations of the query's scores."""
    spread = scores.std(axis=1, keepdims=True)
    both: Scores = scores + np.float32(weight) * spread * words
    return both


def tuned_words(scores: Scores, words: Scores, judge: Judge) -> tuple[NDArray[np.float64], float]:
    """Choose the weight of words on one half of the queries and judge it on the other.

    Returns
    -------
    values : ndarray of shape (queries,), float64
        The metric, each half by the weight that the other half chose.
    weight : float
        The best over all queries.
    """
    values = np.stack([judge(with_words(scores, words, weight)) for weight in WEIGHTS])
    even = np.arange(values.shape[1]) % 2 == 0
    judged = np.empty(values.shape[1])
    for half in (even, ~even):
        judged[half] = values[int(values[:, ~half].mean(axis=1).argmax())][half]
    return judged, WEIGHTS[int(values.mean(axis=1).argmax())]


def cascaded(shortlisted_by: Scores, native: Scores, depth: int) -> Scores:
    """Return native scores for each query's shortlist, and nothing for the rest."""
    depth = min(depth, native.shape[1])
    short = np.argpartition(-shortlisted_by, depth - 1, axis=1)[:, :depth]
    scores = np.full_like(native, -np.inf)
    np.put_along_axis(scores, short, np.take_along_axis(native, short, axis=1), axis=1)
    return scores
