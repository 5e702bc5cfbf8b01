"""Score calibration: bring scores of one kind to the scale of another.

Scores of two spaces, or of a query-side map, live on scales of their own: an anisotropic
model scores everything near one. Where such scores meet native ones in one ranking they
are mapped by an increasing affine function, which keeps their own order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from vecstore_translators.errors import InvalidArgumentError

__all__ = ["ScoreCalibration"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreCalibration:
    """The map ``slope * score + intercept`` with a positive slope.

    Examples
    --------
    >>> ScoreCalibration(slope=2.0, intercept=-1.0)(np.array([0.5, 1.0], dtype=np.float32))
    array([0., 1.], dtype=float32)
    """

    slope: float = 1.0
    intercept: float = 0.0

    def __post_init__(self) -> None:
        if not (np.isfinite([self.slope, self.intercept]).all() and self.slope > 0):
            raise InvalidArgumentError(
                f"expected a finite intercept and a positive slope, got {self.intercept} "
                f"and {self.slope}"
            )

    def __call__(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map scores of any shape; the order among them does not change."""
        return (scores * np.float32(self.slope) + np.float32(self.intercept)).astype(np.float32)

    @classmethod
    def fit(
        cls, approximate: NDArray[np.float32], native: NDArray[np.float32], *, top: int = 50
    ) -> ScoreCalibration:
        """Fit by matching location and scale where rankings are decided: at the top.

        Each row's ``top`` best approximate scores are matched with the native scores of the
        same documents: equal means, and the slope of least squares.

        Parameters
        ----------
        approximate, native : ndarray of shape (queries, documents), float32
            Two scores of the same query and document; larger is better.
        top : int
            Documents per query that take part.
        """
        top = min(top, approximate.shape[1])
        best = np.argpartition(-approximate, top - 1, axis=1)[:, :top]
        x = np.take_along_axis(approximate, best, axis=1).astype(np.float64)
        y = np.take_along_axis(native, best, axis=1).astype(np.float64)
        spread = x.var()
        slope = float(((x - x.mean()) * (y - y.mean())).mean() / spread) if spread > 0 else 1.0
        if slope <= 0:
            # The scores do not agree at all; match the spreads and keep the order.
            slope = float(y.std() / x.std()) if spread > 0 and y.std() > 0 else 1.0
        return cls(slope=slope, intercept=float(y.mean() - slope * x.mean()))
