"""Measuring an index against exact search: recall with an interval, and the time that it saves."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from vecstore.indexes.base import Index
from vecstore.indexes.blocks import Block, BlockMetric
from vecstore.indexes.exact import exact_search
from vecstore.indexes.originals import Originals
from vecstore.indexes.parameters import ParameterValue
from vecstore.indexes.topk import merge_top_k
from vecstore.rows import RowSet
from vecstore.tuning.candidates import filter_ladder_of, ladder_of
from vecstore.tuning.questions import Questions
from vecstore_translators.evaluation import Interval, bootstrap_interval

__all__ = ["Bench"]

_SINGLES = 15
# Filters are tuned for these shares of rows, drawn at random.
_FILTERS = (0.1, 0.01)
# A batch may be scanned where a single query goes to the lists: it is the lists that are tuned.
_FILTERED = {"filtered": "lists"}
_BATCHES = 3


@final
class Bench:
    """Exact answers to some questions, and what indexes make of them.

    Half of the questions choose the parameters, the other half measure what was chosen: the
    best of many settings always looks better on the questions that chose it.

    Parameters
    ----------
    blocks : sequence of Block
        What is searched.
    questions : Questions
        At least two.
    k : int
    """

    def __init__(
        self, blocks: Sequence[Block], questions: Questions, *, metric: BlockMetric, k: int
    ) -> None:
        self._blocks = blocks
        self._questions = questions
        self._metric = metric
        self._k = k
        self._originals = Originals(blocks)
        scores, row_ids = exact_search(questions.vectors, blocks, k + 1, metric=metric)
        self._worst = best_of_others(scores, row_ids, questions.own, k)[:, -1]
        half = len(questions) // 2
        self._choosing, self._judging = slice(0, half), slice(half, None)

    def tuned(self, index: Index[Any], recall: float) -> Index[Any]:
        """Return the index with the cheapest search parameters that reach the recall.

        One parameter after another is lowered as far as the recall holds, the others at what
        was chosen for them, or at their most accurate. A standard error is kept in hand. What
        only filtered searches use is lowered likewise under filters that leave a tenth and a
        hundredth, and as accurate as both need it.
        """
        free = _Sample(index, self._questions, self._originals, self._worst, self._k)
        chosen = free.lowest(ladder_of(index.kind, index.parameters), self._choosing, recall)
        index = index.tuned(chosen)
        ladder = filter_ladder_of(index.parameters, len(index))
        if ladder and index.supports_filter:
            found = [
                self._filtered(index, share).lowest(ladder, slice(None), recall)
                for share in _FILTERS
            ]
            index = index.tuned({name: max(each[name] for each in found) for name in ladder})
        return index

    def recall(self, index: Index[Any]) -> Interval:
        """Return the recall at k on the questions that chose nothing."""
        return bootstrap_interval(self._recalls(index, self._judging))

    def speedup(self, index: Index[Any]) -> dict[str, float]:
        """Return how many times as fast as exact search the index is, alone and in a batch.

        Medians of ratios of two timings taken in turns.
        """
        queries = self._questions.vectors

        def exact(asked: NDArray[np.float32]) -> object:
            return exact_search(asked, self._blocks, self._k, metric=self._metric)

        def indexed(asked: NDArray[np.float32]) -> object:
            return index.search(asked, self._k, originals=self._originals)

        single = [queries[i : i + 1] for i in range(min(_SINGLES, len(queries)))]
        return {
            "single": _ratio(exact, indexed, single),
            "batch": _ratio(exact, indexed, [queries] * _BATCHES),
        }

    def _recalls(self, index: Index[Any], part: slice) -> NDArray[Any]:
        sample = _Sample(index, self._questions, self._originals, self._worst, self._k)
        return sample.recalls(part, {})

    def _filtered(self, index: Index[Any], share: float) -> _Sample:
        """Return the same questions, asked of a random part of the rows."""
        row_ids = index.row_ids
        mask = np.random.default_rng(0).random(len(row_ids)) < share
        allowed = RowSet.of(row_ids[mask])
        scores, found = self._originals.rank_all(
            self._questions.vectors, self._k + 1, allowed, self._metric
        )
        scores, found = merge_top_k(scores, found, self._k + 1)
        worst = best_of_others(scores, found, self._questions.own, self._k)[:, -1]
        return _Sample(index, self._questions, self._originals, worst, self._k, allowed)


@final
class _Sample:
    """Questions asked of one index under one filter, with what exact search says of them."""

    def __init__(
        self,
        index: Index[Any],
        questions: Questions,
        originals: Originals,
        worst: NDArray[np.float32],
        k: int,
        allowed: RowSet | None = None,
    ) -> None:
        self._index = index
        self._questions = questions
        self._originals = originals
        self._worst = worst
        self._k = k
        self._allowed = allowed
        self._way = {}
        if allowed is not None and "filtered" in index.parameters:
            self._way = _FILTERED

    def lowest(
        self, ladder: Mapping[str, Sequence[ParameterValue]], part: slice, recall: float
    ) -> dict[str, ParameterValue]:
        """Return each parameter's first step that holds the recall, standard errors in hand.

        All but the last aim half way to 1, or nothing would be left for the last to lose.
        """
        chosen: dict[str, ParameterValue] = {name: steps[-1] for name, steps in ladder.items()}
        last = next(reversed(list(ladder)), None)
        errors = 1 if self._allowed is None else 2
        for name, steps in ladder.items():
            goal = recall if name == last else (1 + recall) / 2
            for value in steps:
                found = self.recalls(part, {**chosen, name: value})
                slack = errors * float(found.std()) / math.sqrt(len(found))
                if found.mean() - slack >= goal or value == steps[-1]:
                    chosen[name] = value
                    break
        return chosen

    def recalls(self, part: slice, parameters: Mapping[str, ParameterValue]) -> NDArray[Any]:
        """Return each question's share of the places held by a row as good as the true k-th."""
        own = self._questions.own[part]
        extra = int((own >= 0).any())  # the asking document takes one place
        scores, row_ids = self._index.search(
            self._questions.vectors[part],
            self._k + extra,
            allowed=self._allowed,
            parameters={**self._way, **parameters},
            originals=self._originals,
        )
        scores = best_of_others(scores, row_ids, own, self._k)
        worst = self._worst[part, None]
        good = (scores >= worst - 1e-5 * np.maximum(1, np.abs(worst))) & np.isfinite(scores)
        shares = np.minimum(good.sum(axis=1) / self._k, 1.0)
        return np.where(np.isfinite(worst[:, 0]), shares, 1.0)


def best_of_others(
    scores: NDArray[np.float32], row_ids: NDArray[np.int64], own: NDArray[np.int64], k: int
) -> NDArray[np.float32]:
    """Return the k best scores, the asking document left out."""
    asking = (row_ids == own[:, None]) & (row_ids >= 0)
    order = np.argsort(asking, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(np.where(asking, np.float32(-np.inf), scores), order, axis=1)


def _ratio(
    exact: Callable[[NDArray[np.float32]], object],
    indexed: Callable[[NDArray[np.float32]], object],
    asked: Sequence[NDArray[np.float32]],
) -> float:
    """Return the median over queries of exact time / indexed time."""
    indexed(asked[0])  # opens what is opened once
    ratios = []
    for queries in asked:
        began = time.perf_counter()
        exact(queries)
        between = time.perf_counter()
        indexed(queries)
        ratios.append((between - began) / max(time.perf_counter() - between, 1e-9))
    return statistics.median(ratios)
