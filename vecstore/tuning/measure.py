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
from vecstore.tuning.candidates import ladder_of
from vecstore.tuning.questions import Questions
from vecstore_translators.evaluation import Interval, bootstrap_interval

__all__ = ["Bench"]

_SINGLES = 15
_BATCHES = 3
Parameters = Mapping[str, ParameterValue]


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
        self._worst = self._best(scores, row_ids, questions.own)[0][:, -1]
        half = len(questions) // 2
        self._choosing, self._judging = slice(0, half), slice(half, None)

    def tuned(self, index: Index[Any], recall: float) -> Index[Any]:
        """Return the index with the cheapest search parameters that reach the recall.

        One parameter after another is lowered as far as the recall holds, the others at what
        was chosen for them, or at their most accurate. A standard error is kept in hand.
        """
        ladder = ladder_of(index.kind, index.parameters)
        chosen: dict[str, ParameterValue] = {name: steps[-1] for name, steps in ladder.items()}
        for name, steps in ladder.items():
            for value in steps:
                found = self._recalls(index, self._choosing, {**chosen, name: value})
                slack = float(found.std()) / math.sqrt(len(found))
                if found.mean() - slack >= recall or value == steps[-1]:
                    chosen[name] = value
                    break
        return index.tuned(chosen)

    def recall(self, index: Index[Any]) -> Interval:
        """Return the recall at k on the questions that chose nothing."""
        return bootstrap_interval(self._recalls(index, self._judging, {}))

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

    def _recalls(self, index: Index[Any], part: slice, parameters: Parameters) -> NDArray[Any]:
        """Return each question's share of the places held by a row as good as the true k-th."""
        own = self._questions.own[part]
        extra = int((own >= 0).any())  # the asking document takes one place
        answer = index.search(
            self._questions.vectors[part],
            self._k + extra,
            parameters=parameters,
            originals=self._originals,
        )
        scores, _ = self._best(*answer, own)
        worst = self._worst[part, None]
        good = (scores >= worst - 1e-5 * np.maximum(1, np.abs(worst))) & np.isfinite(scores)
        wanted = np.isfinite(worst[:, 0])
        shares = good.sum(axis=1) / self._k
        return np.where(wanted, np.minimum(shares, 1.0), 1.0)

    def _best(
        self, scores: NDArray[np.float32], row_ids: NDArray[np.int64], own: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Leave out the asking document and keep the k best of the rest."""
        asking = (row_ids == own[:, None]) & (row_ids >= 0)
        order = np.argsort(asking, axis=1, kind="stable")[:, : self._k]
        found = np.where(asking, np.float32(-np.inf), scores)
        return np.take_along_axis(found, order, axis=1), np.take_along_axis(row_ids, order, axis=1)


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
