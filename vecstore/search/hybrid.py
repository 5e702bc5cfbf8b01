"""Hybrid search: vector scores and BM25 in one ranking.

The score of an item is its vector score plus ``weight * spread * lexical / best``: how well
its words match, between 0 and 1 of the best match in the collection, in units of the standard
deviation of the query's vector scores. Every source of a plan gets the same addition, so
native and translated items compare as they do without words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from vecstore.lexical import LexicalIndex
from vecstore.rows import RowSet
from vecstore.search.execute import PreparedPlan, Queries
from vecstore.search.pointwise import score_spread, scored
from vecstore.search.scoring import Answer

__all__ = ["DEFAULT_WEIGHT", "Candidates", "Lexical", "Shortlist", "candidates", "shortlist"]

DEFAULT_WEIGHT = 6.0
"""On the debian data 4 to 10 are within 0.005 nDCG@10 of the best for native vectors and within
0.02 for translated ones; see benchmarks/upgrade.py."""

_MIN_DEPTH = 100
_DEPTH_FACTOR = 3


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lexical:
    """The words of the queries and where they are looked up."""

    index: LexicalIndex
    texts: Sequence[str]
    weight: float


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shortlist:
    """The best rows and how much of their scores comes from words.

    Attributes
    ----------
    answer : Answer
    bonus : ndarray of shape (nq, k), float32, or None
        What words added to each score; None if nobody asked for words.
    """

    answer: Answer
    bonus: NDArray[np.float32] | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidates:
    """Rows found by vectors or by words, with both scores of each.

    Attributes
    ----------
    answer : Answer
        Vector scores, in no order; row id -1 and minus infinity for no row.
    words : ndarray of shape (nq, m), float32
        What words add at a weight of 1.
    """

    answer: Answer
    words: NDArray[np.float32]

    def ranked(self, k: int, *, weight: float) -> Shortlist:
        """Return the k best by both scores; ties by ascending row id."""
        bonus = np.float32(weight) * self.words
        scores = self.answer.scores + bonus
        order = np.lexsort((self.answer.row_ids, -scores), axis=1)[:, :k]
        return Shortlist(
            answer=Answer(
                scores=np.take_along_axis(scores, order, axis=1),
                row_ids=np.take_along_axis(self.answer.row_ids, order, axis=1),
                origins=np.take_along_axis(self.answer.origins, order, axis=1),
            ),
            bonus=np.take_along_axis(bonus, order, axis=1),
        )


def shortlist(
    prepared: PreparedPlan,
    queries: Queries,
    k: int,
    allowed: RowSet | None,
    lexical: Lexical | None,
) -> Shortlist:
    """Return the k best rows of all sources, by vectors and, if given, by words."""
    if lexical is None:
        return Shortlist(answer=prepared.search(queries, k, allowed))
    found = candidates(prepared, queries, k, allowed, lexical.index, lexical.texts)
    return found.ranked(k, weight=lexical.weight)


def candidates(
    prepared: PreparedPlan,
    queries: Queries,
    k: int,
    allowed: RowSet | None,
    index: LexicalIndex,
    texts: Sequence[str],
) -> Candidates:
    """Gather the best max(100, 3 k) rows by vectors and as many by words, and score all twice."""
    depth = max(_MIN_DEPTH, _DEPTH_FACTOR * k)
    near = prepared.search(queries, depth, allowed)
    served = prepared.served if allowed is None else prepared.served & allowed
    hits = index.search(texts, depth, allowed=served)
    # Keys make "the same row of the same query" one comparison for the whole batch.
    near_keys, hit_keys = _keys(near.row_ids), _keys(hits.row_ids)
    in_both = np.isin(near_keys, hit_keys) & (near.row_ids >= 0)
    of_near = np.where(
        in_both,
        _look_up(near_keys, hit_keys, hits.scores),
        index.score(texts, np.where(in_both, -1, near.row_ids)),
    )
    only_words = np.where(np.isin(hit_keys, near_keys), -1, hits.row_ids)
    found = scored(prepared, queries, only_words)
    scores = np.concatenate([near.scores, found.scores], axis=1)
    words = np.concatenate([of_near, hits.scores], axis=1)
    scale = score_spread(prepared, queries) / np.where(hits.best > 0, hits.best, 1)
    return Candidates(
        answer=Answer(
            scores=scores,
            row_ids=np.concatenate([near.row_ids, only_words], axis=1),
            origins=np.concatenate([near.origins, found.origins], axis=1),
        ),
        words=(np.where(np.isfinite(scores), words, 0) * scale[:, None]).astype(np.float32),
    )


def _keys(row_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return numbers that are equal where query and row are; row ids stay below 2^40."""
    return row_ids + (np.arange(len(row_ids), dtype=np.int64)[:, None] << 40)


def _look_up(
    wanted: NDArray[np.int64], known: NDArray[np.int64], values: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the values of keys; anything for those that are not known."""
    order = np.argsort(known, axis=None)
    sorted_keys = known.ravel()[order]
    at = np.minimum(np.searchsorted(sorted_keys, wanted), len(sorted_keys) - 1)
    return values.ravel()[order][at]
