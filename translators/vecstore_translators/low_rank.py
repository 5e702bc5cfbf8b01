"""Reduced-rank ridge: an affine map through fewer dimensions than either space has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self, final

import numpy as np
from numpy.typing import ArrayLike

from vecstore_translators.affine import AffineTranslator
from vecstore_translators.base import AffineFamily
from vecstore_translators.errors import InvalidArgumentError
from vecstore_translators.shrinkage import (
    DEFAULT_ALPHAS,
    AffineMap,
    Alphas,
    check_alphas,
    shrinkage_path,
)
from vecstore_translators.statistics import Float64Array, PairStatistics
from vecstore_translators.tuning import choose_by_error, choose_by_retrieval
from vecstore_translators.validation import Metric

_LEAST_SHARE = 0.5


@final
@dataclass(frozen=True, slots=True)
class LowRank(AffineFamily):
    """F(x) = x W P + b with W the ridge solution and P the projection onto r target directions.

    P keeps the r leading directions of what ridge predicts, so directions the source says
    little about answer with their mean. Of r below half of the smaller dimension retrieval
    suffers on every real pair, so such ranks are refused.

    Parameters
    ----------
    ranks : tuple of float
        Candidates for r as shares of min(d_s, d_t), from 0.5 to 1.
    alphas : tuple of float
        Candidate penalties, relative to tr(XᵀX) / d; both are chosen as in :class:`Ridge`.
    folds : int
        Held-out folds used for the choice by `fit`.

    References
    ----------
    Mukherjee and Zhu, "Reduced rank ridge regression and its kernel extensions", 2011, eq. 5
    and 6: with XᵀX + αI = S, the fitted part (XW)ᵀ(XW) + α WᵀW = WᵀSW gives the directions.
    """

    name: ClassVar[str] = "low_rank"
    cost: ClassVar[float] = 1.7
    min_pairs: ClassVar[int] = 10
    by_default: ClassVar[bool] = False

    ranks: tuple[float, ...] = (0.5, 0.65, 0.8)
    alphas: Alphas = DEFAULT_ALPHAS
    folds: int = 3

    def __post_init__(self) -> None:
        check_alphas(self.alphas, self.folds)
        if not self.ranks or not all(_LEAST_SHARE <= rank <= 1 for rank in self.ranks):
            raise InvalidArgumentError(
                f"ranks: expected shares of the smaller dimension from {_LEAST_SHARE} to 1, got "
                f"{self.ranks!r}; less loses more in retrieval than it saves"
            )

    def fit(
        self, X: ArrayLike, Y: ArrayLike, *, metric: Metric = "cosine", seed: int = 0
    ) -> AffineTranslator:
        """Fit to pairs; see :meth:`TranslatorFamily.fit`."""
        source, target = self.check_pairs(X, Y)
        family = self.tuned(source, target, metric=metric, seed=seed)
        return family.fit_statistics(PairStatistics.from_arrays(source, target))

    def tuned(
        self, X: ArrayLike, Y: ArrayLike, *, metric: Metric = "cosine", seed: int = 0
    ) -> Self:
        """Choose rank and α by held-out retrieval; see :meth:`TranslatorFamily.tuned`."""
        source, target = self.check_pairs(X, Y)
        best = choose_by_retrieval(
            self._path,
            source,
            target,
            choices=len(self._choices),
            folds=self.folds,
            metric=metric,
            seed=seed,
        )
        return self._chosen(best)

    def fit_statistics(
        self, statistics: PairStatistics, folds: Sequence[PairStatistics] | None = None
    ) -> AffineTranslator:
        """Fit from statistics, by exact held-out squared error; see :class:`AffineFamily`."""
        best = choose_by_error(self._path, statistics, folds, choices=len(self._choices))
        family = self._chosen(best)
        ((weight, bias),) = family._path(statistics)
        chosen = {"rank": family.ranks[0], "alpha": family.alphas[0], "pairs": statistics.n}
        return AffineTranslator(weight, bias, self.name, chosen)  # type: ignore[arg-type]

    @property
    def _choices(self) -> list[tuple[float, float]]:
        """Pairs of penalty and rank, in the order of the path."""
        return [(alpha, rank) for alpha in self.alphas for rank in self.ranks]

    def _chosen(self, choice: int) -> Self:
        """Return the family with one penalty and one rank."""
        alpha, rank = self._choices[choice]
        return replace(self, alphas=(alpha,), ranks=(rank,))

    def _path(self, statistics: PairStatistics) -> Iterator[AffineMap]:
        """Yield the map of every penalty and rank in turn."""
        smaller = min(statistics.source_dim, statistics.target_dim)
        for weight, _ in shrinkage_path(statistics, self.alphas):
            directions = _leading_directions(statistics, weight)
            for share in self.ranks:
                kept = directions[:, : int(np.ceil(share * smaller))]
                low = (weight @ kept) @ kept.T
                yield low, statistics.mean_y - statistics.mean_x @ low


def _leading_directions(statistics: PairStatistics, weight: Float64Array) -> Float64Array:
    """Return the directions of the ridge fit W in target space, strongest first.

    (XᵀX + αI) W = XᵀY, so WᵀSW = WᵀXᵀY.
    """
    fitted = weight.T @ statistics.xy
    _, vectors = np.linalg.eigh((fitted + fitted.T) / 2)
    return vectors[:, ::-1]
