"""SpaceSignature: what the vectors of one space look like, to tell them from another's.

Two models of one dimension pass every check of shapes. Their vectors still differ, in where
the mean lies and along which directions they spread, and a few dozen of them show it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore_translators.errors import TooFewPairsError, UnpairedRowsError
from vecstore_translators.validation import Vectors, as_vectors, unit_rows

__all__ = ["MIN_ROWS", "SpaceSignature", "median"]

MIN_ROWS = 32
"""Vectors that a signature needs at least."""

# More components tell models no better apart and cost their square; measured in
# docs/design/0011-guards.md.
_MAX_COMPONENTS = 256
_CALIBRATION = 256
_LEAST_HELD_OUT = 6
# In units of the variance of a unit vector's component: keeps every covariance invertible, and
# what rounding to half precision does far below notice.
_LEAST_VARIANCE = 1e-6
# Directions without any structure all fit alike; their spread must not count as precise.
_LEAST_SPREAD = 0.02
_BLOCK = 8192
# OpenBLAS takes one thread for matrices of as many rows, and for as many products of numbers.
_ONE_THREAD = 32
_PRODUCTS = 2**18


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpaceSignature:
    """A Gaussian over the directions of a space's vectors, calibrated on held-out ones.

    Attributes
    ----------
    dim : int
    components : ndarray of shape (c,), int64
        Components looked at: all, or 256 of them evenly spaced.
    mean : ndarray of shape (c,), float32
    whitening : ndarray of shape (c, c), float32
        Inverse of the Cholesky factor of the covariance.
    log_determinant : float
        Of the covariance.
    held_out : ndarray of shape (h, c), float32
        Directions of at most 256 vectors that it was not learned from, for calibration.
    held_out_density : ndarray of shape (h,), float32
        Their log density.
    structure : float
        How much better held-out vectors fit this signature than directions without any
        preference would be fitted, in nats per component; about 0 for random vectors.
    length, length_spread : float
        Median of log length, and the standard deviation of it.
    n : int
        Vectors it was fitted on, held-out ones included.

    References
    ----------
    Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices",
    Journal of Multivariate Analysis 88, 2004, equation 14 and lemma 3.3: the covariance.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> vectors = rng.normal(size=(300, 20)) * np.linspace(2, 0.2, 20)
    >>> signature = SpaceSignature.fit(vectors[:200])
    >>> own = signature.log_density(vectors[200:]).mean()
    >>> bool(own > signature.log_density(vectors[200:, ::-1]).mean() + 0.5)
    True
    """

    dim: int
    components: NDArray[np.int64]
    mean: NDArray[np.float32]
    whitening: NDArray[np.float32]
    log_determinant: float
    held_out: NDArray[np.float32]
    held_out_density: NDArray[np.float32]
    structure: float
    length: float
    length_spread: float
    n: int

    def __post_init__(self) -> None:
        for array in (self.components, self.mean, self.whitening):
            array.flags.writeable = False
        for array in (self.held_out, self.held_out_density):
            array.flags.writeable = False

    @classmethod
    def fit(cls, vectors: ArrayLike, *, items: ArrayLike | None = None) -> SpaceSignature:
        """Learn the signature of a space from a sample of its vectors.

        Parameters
        ----------
        vectors : array_like of shape (n, d)
            At least 32, none of them zero; a thousand tell all there is to tell. The cost is
            O(n c² + c³) with c = min(d, 256).
        items : array_like of shape (n,), int64, optional
            Which item each vector is of; by default its number. About a quarter of all items is
            held out, the same ones in every space: where two spaces hold vectors of the same
            items, neither is compared with what the other has learned from.

        Raises
        ------
        TooFewPairsError
            Fewer than 32 vectors.
        UnpairedRowsError
            Not one item for each vector.
        InvalidVectorsError, NonFiniteError
        """
        array = as_vectors(vectors)
        if len(array) < MIN_ROWS:
            raise TooFewPairsError(
                f"expected at least {MIN_ROWS} vectors to learn a space from, got {len(array)}; "
                "embed more items with its model"
            )
        numbers = np.arange(len(array)) if items is None else np.asarray(items)
        if numbers.shape != (len(array),):
            raise UnpairedRowsError(
                f"expected one item for each of {len(array)} vectors, got shape {numbers.shape}"
            )
        components = _components(array.shape[1])
        rows = unit_rows(array)[:, components]
        lengths = _log_lengths(array)
        held = _held_out(numbers)
        learned, held_out = rows[~held], np.ascontiguousarray(rows[held][:_CALIBRATION])
        mean, whitening, log_determinant = _gaussian(learned)
        density = _log_density(held_out, mean, whitening, log_determinant)
        return cls(
            dim=array.shape[1],
            components=components,
            mean=mean,
            whitening=whitening,
            log_determinant=log_determinant,
            held_out=held_out,
            held_out_density=density,
            structure=float(density.mean() - _isotropic_density(rows)),
            length=median(lengths),
            length_spread=float(lengths.std()),
            n=len(rows),
        )

    @property
    def usual(self) -> tuple[float, float]:
        """Mean and standard deviation of the log density of held-out vectors."""
        density = self.held_out_density
        return float(density.mean()), max(float(density.std()), _LEAST_SPREAD)

    def directions(self, vectors: ArrayLike) -> NDArray[np.float32]:
        """Return what the signature looks at, ndarray of shape (n, c), float32."""
        array = as_vectors(vectors, dim=self.dim)
        return unit_rows(array)[:, self.components]

    def log_density(self, vectors: ArrayLike) -> NDArray[np.float32]:
        """Return how well vectors fit: log density of their directions per component.

        Parameters
        ----------
        vectors : array_like of shape (n, d)

        Returns
        -------
        ndarray of shape (n,), float32
            Nats per component, up to a constant that all signatures of a dimension share.
            Larger fits better.

        Raises
        ------
        DimensionMismatchError, InvalidVectorsError, NonFiniteError
        """
        return self.density_of_directions(self.directions(vectors))

    def density_of_directions(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the log density of what :meth:`directions` returned."""
        return _log_density(rows, self.mean, self.whitening, self.log_determinant)

    def lack_of_fit(self, density: NDArray[np.float32]) -> float:
        """Return how far a batch fits worse than held-out vectors do.

        Returns
        -------
        float
            Mean over the batch, in standard deviations of single held-out vectors; each row
            counts for at most 10, so that a few broken rows are not a drift.
        """
        mean, spread = self.usual
        return float(np.clip((mean - density) / spread, -10, 10).mean())


def _components(dim: int) -> NDArray[np.int64]:
    return np.linspace(0, dim - 1, min(dim, _MAX_COMPONENTS)).astype(np.int64)


def _log_lengths(vectors: Vectors) -> NDArray[np.float64]:
    squares: NDArray[np.float64] = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    return np.log(squares) / 2


def median(values: NDArray[np.float64]) -> float:
    """Return what ``np.median`` does, which loads numpy's masked arrays for it (30 ms)."""
    middle = (len(values) - 1) // 2
    return float(np.sort(values)[middle : len(values) // 2 + 1].mean())


def _held_out(items: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the quarter of the items whose hash (Fibonacci hashing) is the lowest."""
    hashes = items.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    held = np.asarray(hashes >> np.uint64(62) == 0, dtype=bool)
    if _LEAST_HELD_OUT <= np.count_nonzero(held) <= len(items) // 2:
        return held
    # Items numbered in a way that defeats the hash.
    return np.asarray(np.arange(len(items)) % 4 == 0, dtype=bool)


def _shrinkage(centred: NDArray[np.float32], covariance: NDArray[np.float64]) -> float:
    """Ledoit and Wolf's weight of the identity: error of the covariance over its distance to it."""
    n, d = centred.shape
    squares = np.square(covariance).sum()
    distance = squares - np.trace(covariance) ** 2 / d
    fourth = np.square(np.einsum("ij,ij->i", centred, centred, dtype=np.float64)).sum()
    error = (fourth / n - squares) / n
    return float(np.clip(error / distance, 1e-3, 1.0)) if distance > 0 else 1.0


def _gaussian(
    rows: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Return mean, whitening and log determinant of a Gaussian with shrunk covariance."""
    d = rows.shape[1]
    mean = rows.mean(axis=0)
    centred = rows - mean
    covariance = (centred.T @ centred).astype(np.float64) / len(rows)
    shrinkage = _shrinkage(centred, covariance)
    spherical = shrinkage * np.trace(covariance) / d + _LEAST_VARIANCE / d
    covariance *= 1 - shrinkage
    covariance.flat[:: d + 1] += spherical
    whitening = _inverse_factor(covariance)
    return mean, whitening.astype(np.float32), float(-2 * np.log(np.diag(whitening)).sum())


def _inverse_factor(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the inverse of a positive definite matrix's Cholesky factor, by halves.

    By one thread: those of LAPACK wait for each other hundreds of times in a matrix as small as
    this, 20 to 200 ms instead of 5 where another process has one of two cores.
    """
    if len(matrix) <= _ONE_THREAD:
        return np.asarray(np.linalg.inv(np.linalg.cholesky(matrix)))
    half = len(matrix) // 2
    upper = _inverse_factor(matrix[:half, :half])
    below = _product(matrix[half:, :half], upper.T)
    lower = _inverse_factor(matrix[half:, half:] - _product(below, below.T))
    inverse = np.zeros_like(matrix)
    inverse[:half, :half], inverse[half:, half:] = upper, lower
    inverse[half:, :half] = -_product(_product(lower, below), upper)
    return inverse


def _product(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the product of two matrices, in parts too small for more than one thread."""
    product = np.empty((len(left), right.shape[1]))
    step = max(_PRODUCTS // right.size, 1)
    for start in range(0, len(left), step):
        np.matmul(left[start : start + step], right, out=product[start : start + step])
    return product


def _log_density(
    rows: NDArray[np.float32],
    mean: NDArray[np.float32],
    whitening: NDArray[np.float32],
    log_determinant: float,
) -> NDArray[np.float32]:
    density = np.empty(len(rows), dtype=np.float32)
    for start in range(0, len(rows), _BLOCK):
        block: NDArray[Any] = (rows[start : start + _BLOCK] - mean) @ whitening.T
        squares = np.einsum("ij,ij->i", block, block)
        density[start : start + _BLOCK] = -0.5 * (squares + log_determinant) / rows.shape[1]
    return density


def _isotropic_density(rows: NDArray[np.float32]) -> float:
    """Return the mean log density of rows under a centred Gaussian without preferred directions."""
    variance = float(np.square(rows, dtype=np.float64).mean())
    return -0.5 * (1 + float(np.log(variance)))
