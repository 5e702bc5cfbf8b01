"""Bootstrap intervals over queries, paired where two methods answered the same ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from vecstore_translators.errors import InvalidArgumentError, UnpairedRowsError
from vecstore_translators.validation import check_at_least

_BLOCK_DRAWS = 2**21


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean over queries with its percentile bootstrap interval.

    Parameters
    ----------
    mean : float
        The plain mean.
    low, high : float
        Ends of the interval.
    confidence : float
        Its nominal coverage.
    """

    mean: float
    low: float
    high: float
    confidence: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap_interval(
    values: ArrayLike, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Return the mean of per-query values with a percentile bootstrap interval.

    Parameters
    ----------
    values : array_like of shape (q,)
        One value per query.
    confidence : float
        In (0, 1).
    resamples : int
        Number of resampled query sets.
    seed : int

    Raises
    ------
    InvalidArgumentError
        No values, NaN among them, or a confidence outside (0, 1).

    References
    ----------
    Efron, "Bootstrap methods: another look at the jackknife", 1979; percentile method.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or sample.size == 0 or not np.isfinite(sample).all():
        raise InvalidArgumentError(
            f"values: expected at least one finite value per query, got shape {sample.shape}"
        )
    if not 0 < confidence < 1:
        raise InvalidArgumentError(f"confidence: expected within (0, 1), got {confidence}")
    check_at_least(resamples, 1, name="resamples")
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    step = max(1, _BLOCK_DRAWS // len(sample))
    for start in range(0, resamples, step):
        part = means[start : start + step]
        drawn = rng.integers(len(sample), size=(len(part), len(sample)), dtype=np.int32)
        part[:] = sample[drawn].mean(axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(
        mean=float(sample.mean()), low=float(low), high=float(high), confidence=confidence
    )


def paired_bootstrap(
    values: ArrayLike,
    baseline: ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return the mean gain of `values` over `baseline` on the same queries, with an interval.

    Queries are resampled whole, so what both methods find hard cancels. The gain is
    significant where the interval leaves out 0.

    Parameters
    ----------
    values, baseline : array_like of shape (q,)
        Per-query values of two methods, queries in the same order.

    Raises
    ------
    UnpairedRowsError
        Different numbers of queries.

    References
    ----------
    Smucker, Allan and Carterette, "A comparison of statistical significance tests for
    information retrieval evaluation", 2007, section 3.4.
    """
    left, right = np.asarray(values, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    if left.shape != right.shape:
        raise UnpairedRowsError(
            f"expected values of the same queries, got shapes {left.shape} and {right.shape}"
        )
    return bootstrap_interval(left - right, confidence=confidence, resamples=resamples, seed=seed)
