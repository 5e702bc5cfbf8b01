"""Penalised least squares along a path of penalties, from one eigendecomposition."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from vecstore_translators.errors import InvalidArgumentError, TooFewPairsError
from vecstore_translators.statistics import Float64Array, PairStatistics
from vecstore_translators.validation import check_at_least

Alphas: TypeAlias = tuple[float, ...]
AffineMap: TypeAlias = tuple[Float64Array, Float64Array]
"""Weight of shape (d_s, d_t) and bias of shape (d_t,)."""

DEFAULT_ALPHAS: Alphas = (1e-5, 1e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Penalties relative to tr(XᵀX) / d that cover 50 to a million pairs of real models."""


def check_alphas(alphas: Alphas, folds: int) -> None:
    """Raise InvalidArgumentError unless there are penalties >= 0 and at least two folds."""
    if not alphas or not all(np.isfinite(a) and a >= 0 for a in alphas):
        raise InvalidArgumentError(
            f"alphas: expected one or more finite numbers >= 0, got {alphas!r}"
        )
    check_at_least(folds, 2, name="folds")


def shrinkage_path(
    statistics: PairStatistics, alphas: Alphas, *, towards: Float64Array | None = None
) -> Iterator[AffineMap]:
    """Yield the minimiser of ‖XW - Y‖² + α‖W - T‖² on centred pairs for each α in turn.

    W = V (Λ + αI)⁻¹ Vᵀ(XᵀY + αT) with XᵀX = V Λ Vᵀ, so each further α costs one GEMM.

    Parameters
    ----------
    statistics : PairStatistics
    alphas : tuple of float
        Relative to tr(XᵀX) / d.
    towards : ndarray of shape (d_s, d_t), optional
        T; zero by default.

    Raises
    ------
    TooFewPairsError
        α = 0 and XᵀX is singular because there are no more pairs than dimensions.
    """
    d = statistics.source_dim
    if statistics.n < 2:
        raise TooFewPairsError(f"expected at least 2 pairs to fit a map, got {statistics.n}")
    if min(alphas) == 0 and statistics.n <= d:
        raise TooFewPairsError(
            f"expected more than {d} pairs for an unregularised fit in {d} dimensions, got "
            f"{statistics.n}; use alphas > 0 or add pairs"
        )
    eigenvalues, vectors = np.linalg.eigh(statistics.xx)
    np.maximum(eigenvalues, 0, out=eigenvalues)
    spread = float(eigenvalues.sum()) / d
    projected = vectors.T @ statistics.xy
    prior = None if towards is None else vectors.T @ towards
    for relative in alphas:
        alpha = relative * spread
        numerator = projected if prior is None else projected + alpha * prior
        denominator = eigenvalues + alpha
        # A direction without any spread and without penalty carries no information.
        inverse = np.divide(1.0, denominator, out=np.zeros(d), where=denominator > 0)
        weight = vectors @ (numerator * inverse[:, np.newaxis])
        yield weight, statistics.mean_y - statistics.mean_x @ weight
