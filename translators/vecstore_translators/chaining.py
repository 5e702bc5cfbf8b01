"""Chains of fits: v1 -> v2 -> v3 where nothing has vectors in both ends.

Each hop is fitted on its own pairs and loses some of what the one before kept. How much each
loses is measured on items known in every space, and held against a direct fit, which is
preferred wherever pairs for one exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore_translators.base import Translator, TranslatorFamily
from vecstore_translators.composition import compose
from vecstore_translators.errors import InvalidArgumentError, UnpairedRowsError
from vecstore_translators.evaluation import (
    Interval,
    bootstrap_interval,
    overlap_at_k,
    paired_bootstrap,
    top_k,
)
from vecstore_translators.selection import Selection, select_translator
from vecstore_translators.validation import Metric, Vectors, as_pairs, as_vectors, check_at_least


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ChainLoss:
    """What a chain keeps of the last model's answers, and where it loses the rest.

    All figures are overlap@k with the last space's own neighbours, over the same queries.

    Parameters
    ----------
    overlap : Interval
        Of the whole chain.
    hops : tuple of Interval
        Loss of each hop in order, paired: what is gained by starting after it with native
        vectors instead of before it. Their means add up to 1 - overlap.
    k : int
    """

    overlap: Interval
    hops: tuple[Interval, ...]
    k: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ChainFit:
    """A chain of selected translators.

    Parameters
    ----------
    translator : Translator
        All hops composed; one matrix if all are affine.
    hops : tuple of Selection
        How each hop was selected, with its own held-out figures.
    """

    translator: Translator
    hops: tuple[Selection, ...]


def fit_chain(
    hops: Sequence[tuple[ArrayLike, ArrayLike]],
    *,
    families: Iterable[TranslatorFamily] | None = None,
    metric: Metric = "cosine",
    k: int = 10,
    seed: int = 0,
) -> ChainFit:
    """Fit one translator per hop, each selected on its own pairs, and compose them.

    Parameters
    ----------
    hops : sequence of (X, Y)
        Pairs of each hop, (n_i, d_i) and (n_i, d_{i+1}), in order; the items of one hop need
        not be those of another.
    families : iterable of TranslatorFamily, optional
        Candidates for every hop, as in :func:`select_translator`.
    metric : {"cosine", "ip", "l2"}
    k : int
    seed : int

    Raises
    ------
    InvalidArgumentError
        No hops.
    DimensionMismatchError
        A hop does not start in the space where the one before ends.
    TooFewPairsError, UnpairedRowsError, InvalidVectorsError, NonFiniteError

    See Also
    --------
    measure_chain : What each hop loses.
    """
    if not hops:
        raise InvalidArgumentError("hops: expected the pairs of at least one hop, got none")
    pairs = [as_pairs(X, Y, finite=False) for X, Y in hops]
    for (_, before), (after, _) in pairwise(pairs):
        as_vectors(after, dim=before.shape[1], name="X of the next hop", finite=False)
    candidates = None if families is None else tuple(families)
    selections = tuple(
        select_translator(X, Y, families=candidates, metric=metric, k=k, seed=seed)
        for X, Y in pairs
    )
    return ChainFit(
        translator=compose(*(selection.translator for selection in selections)), hops=selections
    )


def measure_chain(
    translators: Sequence[Translator],
    documents: Sequence[ArrayLike],
    queries: ArrayLike,
    *,
    metric: Metric = "cosine",
    k: int = 10,
    seed: int = 0,
) -> ChainLoss:
    """Measure what a chain and each of its hops lose, on items known in every space.

    Parameters
    ----------
    translators : sequence of Translator
        The hops in order.
    documents : sequence of array_like of shape (n, d_i)
        Native vectors of the same items, that no fit has seen, in every space in order: one
        more than there are hops.
    queries : array_like of shape (q, d_last)
        Native queries of the last space.
    metric : {"cosine", "ip", "l2"}
    k : int
    seed : int

    Raises
    ------
    UnpairedRowsError
        Not one array of documents per space, or not the same items in each.
    DimensionMismatchError

    Notes
    -----
    With o_i the overlap reached from native vectors of space i through the hops that remain,
    hop i + 1 loses o_{i+1} - o_i, and o_last = 1: the losses add up exactly.
    """
    check_at_least(k, 1, name="k")
    spaces = [as_vectors(each, name=f"documents[{i}]") for i, each in enumerate(documents)]
    if len(spaces) != len(translators) + 1 or len({len(each) for each in spaces}) != 1:
        raise UnpairedRowsError(
            f"documents: expected the same items in {len(translators) + 1} spaces for "
            f"{len(translators)} hops, got {[each.shape for each in spaces]}"
        )
    native, _ = top_k(queries, spaces[-1], k, metric=metric)
    reached = [
        _overlap(compose(*translators[i:]), spaces[i], queries, native, metric, k)
        for i in range(len(translators))
    ]
    reached.append(np.ones(len(native)))
    return ChainLoss(
        overlap=bootstrap_interval(reached[0], seed=seed),
        hops=tuple(
            paired_bootstrap(after, before, seed=seed) for before, after in pairwise(reached)
        ),
        k=k,
    )


def _overlap(
    translator: Translator,
    documents: Vectors,
    queries: ArrayLike,
    native: NDArray[np.int64],
    metric: Metric,
    k: int,
) -> NDArray[np.float64]:
    """Return the overlap of translated documents, query by query."""
    ranking, _ = top_k(queries, translator.translate(documents), k, metric=metric)
    return overlap_at_k(ranking, native, k)
