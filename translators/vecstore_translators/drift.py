"""Domain drift: a warning before a translator is applied to what it has not learnt.

A translator fitted on one kind of text maps any other just as readily, and silently badly.
What can be seen without target vectors is that the vectors lie far from the pairs: a batch is
held against the distances that are normal among the pairs themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from vecstore_translators.errors import InvalidArgumentError
from vecstore_translators.reference import PairReference
from vecstore_translators.validation import as_vectors, check_at_least

TAIL = 0.05
"""Share of the pairs themselves that count as far."""

_WORTH_A_WARNING = 2 * TAIL
_LEVEL = 1e-3
_SAMPLE = 4096


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DomainDrift:
    """How far a batch of source vectors lies from the pairs.

    Parameters
    ----------
    share_far : float
        Share of the batch beyond `limit`: 0.05 within the domain, 1 far outside.
    limit : float
        The distance that 5 % of the pairs exceed.
    separation : float
        Probability that a vector of the batch is farther from the pairs than a pair is: 0.5
        within the domain, 1 far outside (AUROC, Mann-Whitney).
    p_value : float
        Chance of at least this share far for a batch of the pairs' own domain.
    n : int
        Vectors looked at.
    """

    share_far: float
    limit: float
    separation: float
    p_value: float
    n: int

    @property
    def drifted(self) -> bool:
        """Whether to warn: p < 0.001, and more than twice the normal share lies far.

        The first keeps false alarms rare, the second keeps a large batch from warning of a
        difference too small to matter.
        """
        return self.p_value < _LEVEL and self.share_far > _WORTH_A_WARNING

    def __str__(self) -> str:
        said = f"{self.share_far:.0%} of {self.n} vectors lie farther from the pairs than 95 % of "
        said += "the pairs do from each other"
        if not self.drifted:
            return f"{said}; no sign of another domain"
        return (
            f"{said}: they are likely of another domain, where the translator is worth less than "
            "its held-out figures say; embed some hundreds of them with both models and fit again"
        )


def measure_drift(
    reference: PairReference, X: ArrayLike, *, sample: int = _SAMPLE, seed: int = 0
) -> DomainDrift:
    """Hold a batch of source vectors against the pairs.

    Parameters
    ----------
    reference : PairReference
    X : array_like of shape (n, d_s)
        Vectors to translate, at least one; memory-mapped is fine.
    sample : int
        Of a larger batch a random sample is looked at, so that the cost does not grow with it.
    seed : int

    Raises
    ------
    InvalidArgumentError
        No vectors.
    DimensionMismatchError, InvalidVectorsError, NonFiniteError

    Notes
    -----
    With m pairs and the limit at their (1 - 0.05) quantile, the number beyond it among n
    vectors of the same distribution is beta-binomial with a = 0.05 (m + 1) and
    b = 0.95 (m + 1), whatever that distribution is: the p-value allows for the limit being an
    estimate. It is exact for independent vectors up to leaving each pair out of its own
    neighbours.

    References
    ----------
    Wilks, "Determination of sample sizes for setting tolerance limits", 1941 (the coverage of
    an order statistic is a beta variable); Bates, Candès, Lei, Romano and Sesia, "Testing for
    outliers with conformal p-values", Annals of Statistics 2023, section 2.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> pairs = rng.normal(size=(500, 8)) + 3 * np.eye(8)[0]
    >>> reference = PairReference.fit(pairs)
    >>> measure_drift(reference, rng.normal(size=(200, 8)) + 3 * np.eye(8)[0]).drifted
    False
    >>> measure_drift(reference, rng.normal(size=(200, 8)) + 3 * np.eye(8)[1]).drifted
    True
    """
    check_at_least(sample, 1, name="sample")
    source = as_vectors(X, dim=reference.vectors.shape[1], name="X", finite=False)
    if not len(source):
        raise InvalidArgumentError("X: expected at least one vector to measure, got none")
    if len(source) > sample:
        rows = np.random.default_rng(seed).choice(len(source), sample, replace=False)
        source = source[np.sort(rows)]
    distances = reference.distances(source)
    normal = np.sort(reference.own_distances)
    # The order statistic whose coverage has mean 1 - TAIL over draws of the pairs.
    rank = min(int(np.ceil((1 - TAIL) * (len(normal) + 1))), len(normal))
    limit = normal[rank - 1]
    far = int(np.count_nonzero(distances > limit))
    below = np.searchsorted(normal, distances, side="left")
    through = np.searchsorted(normal, distances, side="right")
    return DomainDrift(
        share_far=far / len(distances),
        limit=float(limit),
        separation=float((below + through).mean() / (2 * len(normal))),
        p_value=_beta_binomial_tail(far, len(distances), len(normal) + 1 - rank, rank),
        n=len(distances),
    )


def _beta_binomial_tail(count: int, n: int, a: float, b: float) -> float:
    """Return P(K >= count) for K beta-binomial of n trials."""
    # Ratios of neighbouring probabilities need no gamma function; the largest term is put at
    # one, so that nothing overflows.
    k = np.arange(n)
    steps = np.log(n - k) + np.log(a + k) - np.log(k + 1) - np.log(b + n - k - 1)
    logs = np.concatenate([[0.0], np.cumsum(steps)])
    weights = np.exp(logs - logs.max())
    return float(min(weights[count:].sum() / weights.sum(), 1.0))
