"""How far to trust a translated score, a hit, and a whole answer.

Pairs held out of the fit show how wrong translations are: in which directions (their residual
covariance) and for which items (those far from the pairs, and those that the map sends near
the origin, are translated worst). Both together give the standard error of a score, and from
the scores of a shortlist the probability that a hit does not belong among the first k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore_translators.base import TranslatorFamily
from vecstore_translators.crossfit import cross_fit
from vecstore_translators.errors import (
    InvalidArgumentError,
    TooFewPairsError,
    UnpairedRowsError,
    UnsupportedOperationError,
)
from vecstore_translators.reference import PairReference
from vecstore_translators.validation import (
    Metric,
    as_pairs,
    as_vectors,
    check_at_least,
    check_metric,
    unit_rows,
)

_FEWEST = 20
"""Held-out pairs below which there is no spread to speak of."""

_BISECTIONS = 40


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HitDoubts:
    """What is doubtful about answers of k hits each.

    Parameters
    ----------
    wrong : ndarray of shape (q, k), float64
        Probability that the hit is not among the target model's own first k.
    standard_error : ndarray of shape (q, k), float64
        Of the hit's score as an estimate of its native score.
    """

    wrong: NDArray[np.float64]
    standard_error: NDArray[np.float64]

    @property
    def expected_overlap(self) -> NDArray[np.float64]:
        """Expected overlap@k of every query with the target model's own answer, shape (q,)."""
        overlap: NDArray[np.float64] = 1 - self.wrong.mean(axis=1)
        return overlap


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TranslationUncertainty:
    """The error of a translation, learnt from pairs that the fit has not seen.

    The model is y = u(x) + e with E[e eᵀ | x] = h(x) Σ, where u is the translation that is
    scored: F(x), scaled to unit length under cosine.

    Parameters
    ----------
    covariance : ndarray of shape (d_t, d_t), float64
        Σ: second moment of held-out residuals y - u(x), bias included.
    coefficients : ndarray of shape (3,), float64
        β of log h(x) = β₀ + β₁ log(δ + distance(x)) + β₂ log(δ + ‖F(x)‖), see `spread`.
    scales : ndarray of shape (2,), float64
        δ of the two terms: a hundredth of their mean, so that duplicates have a logarithm.
    reference : PairReference
    metric : {"cosine", "ip"}
    n : int
        Held-out pairs behind it.

    References
    ----------
    The standard error of a linear functional of a multivariate prediction: Mardia, Kent and
    Bibby, "Multivariate Analysis", 1979, eq. 6.2.7 and section 6.3. The variance model is
    Harvey, "Estimating regression models with multiplicative heteroscedasticity", 1976, eq. 2.
    """

    covariance: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    scales: NDArray[np.float64]
    reference: PairReference
    metric: Metric
    n: int

    @classmethod
    def fit(
        cls,
        family: TranslatorFamily,
        X: ArrayLike,
        Y: ArrayLike,
        *,
        metric: Metric = "cosine",
        folds: int = 5,
        seed: int = 0,
    ) -> Self:
        """Learn the error of a family's translations by cross-fitting.

        Parameters
        ----------
        family : TranslatorFamily
            The family that fitted the translator in use, such as ``selection.family``.
        X, Y : array_like of shape (n, d_s) and (n, d_t)
            The pairs it was fitted on.
        metric : {"cosine", "ip"}
        folds : int
        seed : int

        Raises
        ------
        TooFewPairsError, UnpairedRowsError, InvalidVectorsError, NonFiniteError
        UnsupportedOperationError
            As :meth:`from_held_out`.
        """
        rows, translated = cross_fit(family, X, Y, metric=metric, folds=folds, seed=seed)
        source, target = np.asarray(X), np.asarray(Y)
        reference = PairReference.fit(source, metric=metric, seed=seed)
        return cls.from_held_out(
            translated, target[rows], source[rows], reference=reference, metric=metric
        )

    @classmethod
    def from_held_out(
        cls,
        translated: ArrayLike,
        Y: ArrayLike,
        X: ArrayLike,
        *,
        reference: PairReference,
        metric: Metric = "cosine",
    ) -> Self:
        """Learn from translations F(x) of pairs that the fit of F has not seen.

        Parameters
        ----------
        translated : array_like of shape (n, d_t)
            F(x) as :meth:`Translator.translate` returns it, at least 20 rows.
        Y : array_like of shape (n, d_t)
            The native target vectors.
        X : array_like of shape (n, d_s)
            The source vectors.
        reference : PairReference
            Of the pairs. Vectors that are also in it are measured without themselves.
        metric : {"cosine", "ip"}

        Raises
        ------
        TooFewPairsError
            Fewer than 20 pairs.
        UnsupportedOperationError
            Under l2, where the error of a distance depends on both vectors.
        """
        _check_supported(metric)
        mapped, target = as_pairs(translated, Y, min_pairs=1)
        if len(mapped) < _FEWEST:
            raise TooFewPairsError(
                f"expected at least {_FEWEST} held-out pairs to learn an error from, got "
                f"{len(mapped)}"
            )
        distances = _distances_without_self(reference, as_vectors(X, name="X"))
        if len(distances) != len(mapped):
            raise UnpairedRowsError(
                f"X: expected the {len(mapped)} source vectors, got {len(distances)}"
            )
        norms = np.linalg.norm(mapped.astype(np.float64), axis=1)
        if metric == "cosine":
            mapped, target = unit_rows(mapped), unit_rows(target)
        residuals = target.astype(np.float64) - mapped
        sizes = np.einsum("ij,ij->i", residuals, residuals)
        covariance = residuals.T @ residuals / len(residuals)
        scales = np.array([distances.mean(), norms.mean()]) / 100 + np.finfo(float).tiny
        terms = _terms(distances, norms, scales)
        # The smallest residuals would rule a logarithm; what is below a thousandth is small.
        logs = np.log(np.maximum(sizes, 1e-3 * sizes.mean() + np.finfo(float).tiny))
        coefficients = np.linalg.lstsq(terms, logs, rcond=1e-8)[0]
        # Scaled so that h averages one over the held-out pairs, as Σ does.
        coefficients[0] -= np.log(np.exp(terms @ coefficients).mean())
        for array in (covariance, coefficients, scales):
            array.setflags(write=False)
        return cls(
            covariance=covariance,
            coefficients=coefficients,
            scales=scales,
            reference=reference,
            metric=metric,
            n=len(mapped),
        )

    def spread(self, X: ArrayLike, translated: ArrayLike) -> NDArray[np.float64]:
        """Return h(x): how much larger the squared error of an item is than the average.

        It needs no query, so it can be kept beside the vectors, and it orders backfill: the
        items with the largest spread gain most from a native vector.

        Parameters
        ----------
        X : array_like of shape (n, d_s)
            Source vectors.
        translated : array_like of shape (n, d_t)
            F(x), before any scaling to unit length.

        Returns
        -------
        ndarray of shape (n,), float64
            1 on average over the pairs. One product with the sampled pairs, in blocks.
        """
        source, mapped = as_pairs(X, translated, min_pairs=0, finite=False)
        norms = np.sqrt(np.einsum("ij,ij->i", mapped, mapped, dtype=np.float64))
        terms = _terms(self.reference.distances(source), norms, self.scales)
        h: NDArray[np.float64] = np.exp(terms @ self.coefficients)
        return h

    def standard_error(self, queries: ArrayLike, spread: ArrayLike) -> NDArray[np.float64]:
        """Return the standard error of translated scores.

        Parameters
        ----------
        queries : array_like of shape (q, d_t)
            Native in the target space.
        spread : array_like of shape (q, m)
            h(x) of the documents scored for each query.

        Returns
        -------
        ndarray of shape (q, m), float64
            In units of the score.

        Notes
        -----
        The score s = q·u(x) estimates q·y = s + q·e, so Var = h(x) qᵀ Σ q. It holds for any
        document; the best of many are also chosen for being overrated, which
        :meth:`doubts` allows for.
        """
        asked = as_vectors(queries, dim=len(self.covariance), name="queries")
        if self.metric == "cosine":
            asked = unit_rows(asked)
        wide = asked.astype(np.float64)
        h = np.asarray(spread, dtype=np.float64)
        if h.ndim != 2 or len(h) != len(wide):
            raise UnpairedRowsError(
                f"spread: expected one row for each of {len(wide)} queries, got shape {h.shape}"
            )
        variance = np.einsum("ij,ij->i", wide @ self.covariance, wide)[:, np.newaxis] * h
        error: NDArray[np.float64] = np.sqrt(np.maximum(variance, 0))
        return error

    def doubts(
        self, queries: ArrayLike, scores: ArrayLike, spread: ArrayLike, k: int = 10
    ) -> HitDoubts:
        """Return how likely each of the first k hits is wrong.

        Parameters
        ----------
        queries : array_like of shape (q, d_t)
            Native in the target space.
        scores : array_like of shape (q, m)
            Translated scores of the shortlist, best first, m > k; ten times k is right.
        spread : array_like of shape (q, m)
            h(x) of the same documents, from :meth:`spread`.
        k : int

        Raises
        ------
        InvalidArgumentError
            The shortlist is no deeper than k.

        Notes
        -----
        With native scores q·y_i ~ N(s_i, σ_i²) the native k-th score lies about where
        Σ_i Φ((s_i - τ) / σ_i) = k over the shortlist, found by bisection, and hit i is wrong
        with probability Φ((τ - s_i) / σ_i). On three pairs of real models the mean of these
        probabilities was at most 0.08 below the share of wrong hits (benchmarks/uncertainty.py).
        """
        check_at_least(k, 1, name="k")
        s = np.asarray(scores, dtype=np.float64)
        error = self.standard_error(queries, spread)
        if s.shape != error.shape:
            raise UnpairedRowsError(
                f"scores: expected the shape of spread {error.shape}, got {s.shape}"
            )
        if s.shape[1] <= k:
            raise InvalidArgumentError(
                f"scores: expected a shortlist deeper than k = {k}, got {s.shape[1]}; "
                f"search {10 * k} deep"
            )
        sigma = np.maximum(error, np.finfo(np.float32).tiny)
        low = (s - 10 * sigma).min(axis=1, keepdims=True)
        high = (s + 10 * sigma).max(axis=1, keepdims=True)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            above = _normal_cdf((s - middle) / sigma).sum(axis=1, keepdims=True) > k
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        wrong = _normal_cdf(((low + high) / 2 - s[:, :k]) / sigma[:, :k])
        return HitDoubts(wrong=wrong, standard_error=error[:, :k])


def _check_supported(metric: str) -> None:
    """Raise unless scores are linear in the document."""
    if check_metric(metric) == "l2":
        raise UnsupportedOperationError(
            "uncertainty is known for scores that are linear in the document (cosine, ip), not "
            "for l2; vectors of unit length rank alike under both, so use cosine for them"
        )


def _terms(
    distances: NDArray[np.float32], norms: NDArray[np.float64], scales: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the terms of log h, of shape (n, 3)."""
    return np.column_stack(
        [np.ones(len(norms)), np.log(distances + scales[0]), np.log(norms + scales[1])]
    )


def _distances_without_self(
    reference: PairReference, X: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Return the distances of pairs that may be in the reference themselves."""
    distances = reference.distances(X)
    # A vector that is in the sample has one neighbour at distance zero too many.
    known = {row.tobytes(): place for place, row in enumerate(reference.vectors)}
    rows = X.astype(np.float32)
    if reference.metric == "cosine":
        rows = unit_rows(rows)
    for i, row in enumerate(rows):
        place = known.get(row.tobytes())
        if place is not None:
            distances[i] = reference.own_distances[place]
    return distances


def _normal_cdf(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Φ(z) within 1e-7: Abramowitz and Stegun, 1964, eq. 26.2.17."""
    t = 1 / (1 + 0.2316419 * np.abs(z))
    series = t * (
        0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429)))
    )
    upper: NDArray[np.float64] = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi) * series
    return np.where(z > 0, 1 - upper, upper)
