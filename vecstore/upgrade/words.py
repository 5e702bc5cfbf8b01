"""The weight of words, chosen on judged queries and kept with the ranking space.

How much BM25 is worth depends on how good the vectors are: translated ones deserve more words
beside them than native ones. So the weight is a measured property of a space and not a constant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from vecstore.catalog import Changes
from vecstore.errors import InvalidArgumentError
from vecstore.rows import RowSet
from vecstore.search.hybrid import DEFAULT_WEIGHT, candidates
from vecstore.snapshot import Snapshot
from vecstore.upgrade.questions import Questions
from vecstore.version import OpenVersion
from vecstore_translators import Interval
from vecstore_translators.evaluation import bootstrap_interval, ndcg_at_k

__all__ = ["MIN_JUDGED", "LexicalTuning", "keep_weight", "tuned_weight"]

WEIGHTS = (0.0, 1.0, 2.0, 3.0, 4.0, DEFAULT_WEIGHT, 8.0, 10.0, 12.0, 16.0)

MIN_JUDGED = 20
"""Fewer judged queries cannot tell weights apart."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LexicalTuning:
    """What words beside vectors are worth in a space, by their weight.

    Attributes
    ----------
    weight : float
        The chosen one: the default, unless another is better by more than a standard error.
    quality : Interval
        nDCG@k, each half of the queries judged by the weight that the other half chose.
    without : float
        Mean nDCG@k of vectors alone.
    measured : tuple of (float, float)
        Weights that were compared and the mean nDCG@k of each over all queries.
    queries : int
        Judged queries that have a live answer.
    """

    space: str
    weight: float
    quality: Interval
    without: float
    measured: tuple[tuple[float, float], ...]
    queries: int

    def __str__(self) -> str:
        lines = [
            f"words in {self.space}: weight {self.weight:g} by {self.queries:,} judged queries",
            f"  nDCG, held out       {self.quality}",
            f"  vectors alone        {self.without:.3f}",
        ]
        lines.extend(
            f"    weight {weight:<4g}        {value:.3f}" for weight, value in self.measured
        )
        return "\n".join(lines)


def tuned_weight(
    version: OpenVersion,
    space: str,
    questions: Questions,
    *,
    k: int,
    allowed: RowSet | None,
    seed: int,
) -> LexicalTuning:
    """Compare weights on judged queries; the candidates are gathered once for all of them.

    Raises
    ------
    InvalidArgumentError
        There are no texts, or fewer than 20 judged queries with a live answer.
    NoRouteError
        Nothing joins the items to the space.
    """
    words = version.words(questions.texts, DEFAULT_WEIGHT, space=space)
    if words is None or questions.relevant is None or len(questions) < MIN_JUDGED:
        raise InvalidArgumentError(
            f"expected at least {MIN_JUDGED} judged queries with their texts, got "
            f"{len(questions)} {'without' if words is None else 'with'} texts; pass the texts "
            "(under 'text' if the vectors are given) and qrels="
        )
    prepared = version.prepared(space, (space,), execution=None)
    found = candidates(prepared, {space: questions.target}, k, allowed, words.index, words.texts)
    values = np.stack(
        [
            ndcg_at_k(
                found.ranked(k, weight=weight).answer.row_ids,
                questions.relevant,
                k,
                gains=questions.gains,
            )
            for weight in WEIGHTS
        ]
    )
    even = np.random.default_rng(seed).permutation(len(questions)) % 2 == 0
    held_out = np.empty(len(questions))
    for half in (even, ~even):
        held_out[half] = values[_chosen(values[:, ~half]), half]
    return LexicalTuning(
        space=space,
        weight=WEIGHTS[_chosen(values)],
        quality=bootstrap_interval(held_out, seed=seed),
        without=float(values[0].mean()),
        measured=tuple(zip(WEIGHTS, values.mean(axis=1).tolist(), strict=True)),
        queries=len(questions),
    )


def _chosen(values: NDArray[np.float64]) -> int:
    """Return the best weight's place; the default's, unless that is worse beyond its error."""
    best, usual = int(values.mean(axis=1).argmax()), WEIGHTS.index(DEFAULT_WEIGHT)
    gain = values[best] - values[usual]
    error = gain.std(ddof=1) / np.sqrt(len(gain))
    return best if gain.mean() > error else usual


def keep_weight(space: str, weight: float) -> Callable[[Snapshot], Changes]:
    """Let searches that rank in a space give words this weight."""

    def build(snapshot: Snapshot) -> Changes:
        return Changes(
            operation=f"weigh words in {space} by {weight:g}",
            lexical_weight=(snapshot.space(space).id, weight),
        )

    return build
