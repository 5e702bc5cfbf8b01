"""Recall against a full re-embed, with the ground truth written beside the number.

The same translator has two very different recall ratios. Against the new model's own
neighbours a full re-embed is perfect, so the ratio is the overlap; against judged documents a
re-embed is far from perfect, and the ratio is much higher. A ratio without its ground truth
says nothing, so the type does not allow one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, final, get_args

import numpy as np
from numpy.typing import ArrayLike

from vecstore_translators.errors import InvalidArgumentError, UnpairedRowsError
from vecstore_translators.evaluation.intervals import Interval
from vecstore_translators.evaluation.metrics import recall_at_k
from vecstore_translators.validation import check_at_least

GroundTruth: TypeAlias = Literal["judgements", "native neighbours"]
"""Who says what is relevant: people (or clicks, or known items), or the new model itself."""

_BLOCK_DRAWS = 2**21


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RecallRatio:
    """Mean recall@k of a translation over that of a full re-embed (ARR).

    Parameters
    ----------
    ratio : Interval
        1 is as good as re-embedding; above 1 is possible under judgements.
    recall, native_recall : float
        Mean recall@k of the translation, and of the full re-embed.
    ground_truth : {"judgements", "native neighbours"}
    k : int
    """

    ratio: Interval
    recall: float
    native_recall: float
    ground_truth: GroundTruth
    k: int

    def __str__(self) -> str:
        return f"ARR@{self.k} {self.ratio} by {self.ground_truth}"


def recall_ratio(
    ranking: ArrayLike,
    native: ArrayLike,
    relevant: ArrayLike | None = None,
    k: int = 10,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> RecallRatio:
    """Return the Adaptation Recall Ratio: recall@k over the recall@k of a full re-embed.

    Parameters
    ----------
    ranking : array_like of shape (q, m), integer
        What the translation ranks, as in :mod:`vecstore_translators.evaluation.metrics`.
    native : array_like of shape (q, m), integer
        What the new model ranks once everything is re-embedded, by exact search.
    relevant : array_like of shape (q,) or (q, r), integer, optional
        Judged documents. Without them the first k of `native` are the ground truth.
    k : int
    confidence : float
    resamples : int
    seed : int

    Raises
    ------
    UnpairedRowsError
        The three do not answer the same queries.
    InvalidArgumentError
        No queries, or the full re-embed finds nothing relevant, so that there is no ratio.

    References
    ----------
    Vejendla, "Drift-Adapter: A practical approach to near zero-downtime embedding model
    upgrades in vector databases", EMNLP 2025, section 4 (ARR). The interval is a percentile
    bootstrap of the ratio of means, queries resampled whole.

    Examples
    --------
    >>> arr = recall_ratio([[1, 9], [3, 4]], [[1, 2], [3, 4]], k=2)
    >>> arr.ratio.mean, arr.ground_truth
    (0.75, 'native neighbours')
    """
    check_at_least(k, 1, name="k")
    check_at_least(resamples, 1, name="resamples")
    if not 0 < confidence < 1:
        raise InvalidArgumentError(f"confidence: expected within (0, 1), got {confidence}")
    own = np.asarray(native)
    if own.ndim != 2:
        raise InvalidArgumentError(f"native: expected shape (q, m), got {own.shape}")
    truth = own[:, :k] if relevant is None else relevant
    reached, possible = recall_at_k(ranking, truth, k), recall_at_k(own, truth, k)
    if len(reached) != len(possible):
        raise UnpairedRowsError(
            f"expected both rankings for the same queries, got {len(reached)} and {len(possible)}"
        )
    if not possible.sum() > 0:
        raise InvalidArgumentError(
            f"expected a full re-embed that finds something relevant in its first {k}, got none "
            f"for {len(possible)} queries; there is nothing to take a share of"
        )
    rng = np.random.default_rng(seed)
    ratios = np.empty(resamples)
    step = max(1, _BLOCK_DRAWS // len(possible))
    for start in range(0, resamples, step):
        part = ratios[start : start + step]
        drawn = rng.integers(len(possible), size=(len(part), len(possible)), dtype=np.int32)
        below = possible[drawn].sum(axis=1)
        # A resample in which the re-embed finds nothing has no ratio; it is as good as equal.
        part[:] = np.divide(
            reached[drawn].sum(axis=1), below, out=np.ones_like(below), where=below > 0
        )
    low, high = np.quantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2])
    interval = Interval(
        mean=float(reached.sum() / possible.sum()),
        low=float(low),
        high=float(high),
        confidence=confidence,
    )
    names = get_args(GroundTruth)
    return RecallRatio(
        ratio=interval,
        recall=float(reached.mean()),
        native_recall=float(possible.mean()),
        ground_truth=names[1] if relevant is None else names[0],
        k=k,
    )
