"""Orthogonal Procrustes: the rotation that best carries source onto target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self, final

import numpy as np

from vecstore_translators.affine import AffineTranslator
from vecstore_translators.base import AffineFamily
from vecstore_translators.errors import TooFewPairsError
from vecstore_translators.statistics import Float64Array, PairStatistics

_RANK_TOLERANCE = 1e-9
"""Singular values below this share of the largest come from directions no pair spans."""


@final
@dataclass(frozen=True, slots=True)
class Procrustes(AffineFamily):
    """F(x) = (x - μ_s) s R + μ_t with R orthogonal (semi-orthogonal between dimensions).

    Parameters
    ----------
    center : bool
        Move the means onto each other; without it, F(x) = x s R.
    scale : bool
        Fit the scale s by least squares; without it, s = 1.

    Notes
    -----
    Between different dimensions R is the thin-SVD solution: an isometry into the larger
    space, or a projection followed by one into the smaller. Square fits have exact inverses.

    References
    ----------
    Schönemann, "A generalized solution of the orthogonal Procrustes problem", 1966, eq. 1.7
    (rotation); Gower, "Generalized Procrustes analysis", 1975 (translation and scale).
    """

    name: ClassVar[str] = "procrustes"
    cost: ClassVar[float] = 1.0
    min_pairs: ClassVar[int] = 2
    recovers: ClassVar[frozenset[str]] = frozenset({"identity", "rotation"})

    center: bool = True
    scale: bool = False

    @classmethod
    def candidates(cls) -> tuple[Self, ...]:
        """Return the centred and the uncentred fit: neither wins on every pair of models."""
        return (cls(), cls(center=False))

    def fit_statistics(
        self, statistics: PairStatistics, folds: Sequence[PairStatistics] | None = None
    ) -> AffineTranslator:
        """Fit from statistics, in O(d³); see :class:`AffineFamily`."""
        if statistics.n < self.min_pairs:
            raise TooFewPairsError(
                f"procrustes: expected at least {self.min_pairs} pairs, got {statistics.n}"
            )
        moments = statistics if self.center else statistics.uncentered()
        rotation, s = scaled_rotation(moments)
        weight = s * rotation if self.scale else rotation
        return AffineTranslator(
            weight,  # type: ignore[arg-type]
            moments.mean_y - moments.mean_x @ weight,  # type: ignore[arg-type]
            self.name,
            {"center": self.center, "scale": self.scale, "pairs": statistics.n},
        )


def scaled_rotation(
    moments: PairStatistics, *, seen_only: bool = False
) -> tuple[Float64Array, float]:
    """Return R = U Vᵀ of the moment XᵀY = U S Vᵀ, and the least-squares scale tr(S) / tr(XᵀX).

    Parameters
    ----------
    moments : PairStatistics
    seen_only : bool
        Leave out the directions that the pairs do not span (fewer pairs than dimensions).
        A rotation must send them somewhere, and that choice is arbitrary.

    Returns
    -------
    rotation : ndarray of shape (d_s, d_t), float64
    scale : float
        1 where the source has no spread.
    """
    left, singular, right = np.linalg.svd(moments.xy, full_matrices=False)
    spread = float(np.trace(moments.xx))
    if seen_only:
        seen = singular > _RANK_TOLERANCE * singular.max(initial=0.0)
        left, right = left[:, seen], right[seen]
    return left @ right, float(singular.sum()) / spread if spread > 0 else 1.0
