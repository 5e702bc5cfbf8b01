"""Choosing one of several maps on held-out pairs: by retrieval, or by exact squared error.

Both take a path: a function from statistics to the maps of every choice in turn. Held-out
statistics come from subtraction, so the pairs are read once however many folds there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecstore_translators.errors import InvalidArgumentError
from vecstore_translators.evaluation import overlap_at_k, top_k
from vecstore_translators.folds import held_out_folds
from vecstore_translators.shrinkage import AffineMap
from vecstore_translators.statistics import PairStatistics
from vecstore_translators.validation import Metric, Vectors, check_metric

MapPath: TypeAlias = Callable[[PairStatistics], Iterator[AffineMap]]

POOL = 2000
"""Held-out pairs ranked against each other; more would sharpen the choice very little."""

QUERIES = 1000
"""How many of them also serve as queries."""

NEIGHBOURS = 10


def choose_by_retrieval(
    path: MapPath,
    X: Vectors,
    Y: Vectors,
    *,
    choices: int,
    folds: int,
    metric: Metric,
    seed: int,
) -> int:
    """Return which map of `path` retrieves best.

    Every held-out document is mapped by a fit that has not seen it; native target vectors of
    held-out documents then query that one pool of mapped documents, and the share of their
    native neighbours found decides. One pool over all folds is as large as the data allow:
    ranking within single folds saturates at a few hundred pairs.

    Parameters
    ----------
    path : callable
        Maps of every choice from given statistics.
    X, Y : ndarray of shape (n, d_s) and (n, d_t)
    choices : int
        Number of maps the path yields.
    folds : int
    metric : {"cosine", "ip", "l2"}
    seed : int
    """
    check_metric(metric)
    if choices == 1:
        return 0
    statistics = PairStatistics.from_arrays(X, Y)
    held_out = held_out_folds(len(X), folds=folds, pool=POOL, seed=seed)
    mapped: list[list[NDArray[np.float32]]] = [[] for _ in range(choices)]
    for rows in held_out:
        training = statistics - PairStatistics.from_arrays(X, Y, rows=rows)
        source = X[rows].astype(np.float32)
        for choice, (weight, bias) in enumerate(path(training)):
            mapped[choice].append(source @ weight.astype(np.float32) + bias.astype(np.float32))
    native = Y[np.concatenate(held_out)]
    return best_by_retrieval(native, [np.concatenate(parts) for parts in mapped], metric=metric)


def best_by_retrieval(native: Vectors, mapped: Sequence[Vectors], *, metric: Metric) -> int:
    """Return which mapping of held-out documents their native queries retrieve best from.

    Parameters
    ----------
    native : ndarray of shape (n, d_t)
        The held-out documents by the target model, in random order.
    mapped : sequence of ndarray of shape (n, d_t)
        The same documents, mapped by each choice.
    metric : {"cosine", "ip", "l2"}
    """
    return int(np.argmax([scores.mean() for scores in overlaps(native, mapped, metric=metric)]))


def overlaps(
    native: Vectors, mapped: Sequence[Vectors], *, metric: Metric
) -> list[NDArray[np.float64]]:
    """Return, for each mapping, the overlap of every query with its native neighbours."""
    native = native.astype(np.float32)
    # The rows are in random order, so a stride over them is a random sample of queries.
    queries = native[:: max(1, -(-len(native) // QUERIES))]
    truth, _ = top_k(queries, native, NEIGHBOURS, metric=metric)
    return [
        overlap_at_k(top_k(queries, documents, NEIGHBOURS, metric=metric)[0], truth, NEIGHBOURS)
        for documents in mapped
    ]


def choose_by_error(
    path: MapPath,
    statistics: PairStatistics,
    folds: Sequence[PairStatistics] | None,
    *,
    choices: int,
) -> int:
    """Return which map of `path` has the least exact squared error on held-out folds.

    Raises
    ------
    InvalidArgumentError
        There is a choice to make and no folds to make it on, or the folds are not a
        partition of the statistics.
    """
    if choices == 1:
        return 0
    if folds is None or len(folds) < 2:
        raise InvalidArgumentError(
            "expected at least two folds to choose a hyper-parameter on, got "
            f"{'none' if folds is None else len(folds)}; pass the statistics of disjoint folds "
            "(PairStatistics.folds_from_blocks) or a single value for the hyper-parameter"
        )
    if sum(fold.n for fold in folds) != statistics.n:
        raise InvalidArgumentError(
            f"expected folds that sum to the {statistics.n} pairs, got "
            f"{sum(fold.n for fold in folds)}"
        )
    errors = np.zeros(choices)
    for fold in folds:
        for choice, (weight, bias) in enumerate(path(statistics - fold)):
            errors[choice] += fold.squared_error(weight, bias)
    return int(np.argmin(errors))
