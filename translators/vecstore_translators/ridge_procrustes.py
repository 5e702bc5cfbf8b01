"""Ridge shrunk towards the Procrustes rotation instead of towards zero, for few pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self, final

from numpy.typing import ArrayLike

from vecstore_translators.affine import AffineTranslator
from vecstore_translators.base import AffineFamily
from vecstore_translators.procrustes import scaled_rotation
from vecstore_translators.shrinkage import (
    DEFAULT_ALPHAS,
    AffineMap,
    Alphas,
    check_alphas,
    shrinkage_path,
)
from vecstore_translators.statistics import PairStatistics
from vecstore_translators.tuning import choose_by_error, choose_by_retrieval
from vecstore_translators.validation import Metric


@final
@dataclass(frozen=True, slots=True)
class RidgeProcrustes(AffineFamily):
    """F(x) = x W + b with W = (XᵀX + αI)⁻¹ (XᵀY + α s R) on centred pairs.

    The minimiser of ‖XW - Y‖² + α‖W - sR‖²: where the pairs say little, the map falls back
    to the scaled rotation s R rather than to nothing. It interpolates between ridge (α → 0)
    and scaled Procrustes (α → ∞), and pays when the two models are close relatives. With
    fewer pairs than dimensions R covers only the directions the pairs span: a rotation of the
    others would be arbitrary, and measurably worse than nothing.

    Parameters
    ----------
    alphas : tuple of float
        Candidate penalties, relative to tr(XᵀX) / d; chosen as in :class:`Ridge`.
    folds : int
        Held-out folds used for the choice by `fit`.

    References
    ----------
    Hoerl and Kennard, 1970, eq. 2.1, as the posterior mode under a Gaussian prior centred at
    s R; Schönemann, 1966, eq. 1.7, for R.
    """

    name: ClassVar[str] = "ridge_procrustes"
    cost: ClassVar[float] = 1.6
    min_pairs: ClassVar[int] = 10
    recovers: ClassVar[frozenset[str]] = frozenset({"identity", "rotation", "affine"})

    alphas: Alphas = DEFAULT_ALPHAS
    folds: int = 3

    def __post_init__(self) -> None:
        check_alphas(self.alphas, self.folds)

    def fit(
        self, X: ArrayLike, Y: ArrayLike, *, metric: Metric = "cosine", seed: int = 0
    ) -> AffineTranslator:
        """Fit to pairs, α by held-out retrieval; see :meth:`TranslatorFamily.fit`."""
        source, target = self.check_pairs(X, Y)
        family = self.tuned(source, target, metric=metric, seed=seed)
        return family.fit_statistics(PairStatistics.from_arrays(source, target))

    def tuned(
        self, X: ArrayLike, Y: ArrayLike, *, metric: Metric = "cosine", seed: int = 0
    ) -> Self:
        """Choose α by held-out retrieval; see :meth:`TranslatorFamily.tuned`."""
        source, target = self.check_pairs(X, Y)
        best = choose_by_retrieval(
            self._path,
            source,
            target,
            choices=len(self.alphas),
            folds=self.folds,
            metric=metric,
            seed=seed,
        )
        return replace(self, alphas=(self.alphas[best],))

    def fit_statistics(
        self, statistics: PairStatistics, folds: Sequence[PairStatistics] | None = None
    ) -> AffineTranslator:
        """Fit from statistics, α by exact held-out squared error; see :class:`AffineFamily`."""
        best = choose_by_error(self._path, statistics, folds, choices=len(self.alphas))
        return self._translator(statistics, best)

    def _path(self, statistics: PairStatistics) -> Iterator[AffineMap]:
        """Yield the map of every α in turn, from one eigendecomposition and one SVD."""
        rotation, scale = scaled_rotation(statistics, seen_only=True)
        return shrinkage_path(statistics, self.alphas, towards=scale * rotation)

    def _translator(self, statistics: PairStatistics, choice: int) -> AffineTranslator:
        """Return the map fitted on `statistics` with the chosen α."""
        alpha = self.alphas[choice]
        rotation, scale = scaled_rotation(statistics, seen_only=True)
        ((weight, bias),) = shrinkage_path(statistics, (alpha,), towards=scale * rotation)
        chosen = {"alpha": alpha, "scale": scale, "pairs": statistics.n}
        return AffineTranslator(weight, bias, self.name, chosen)  # type: ignore[arg-type]
