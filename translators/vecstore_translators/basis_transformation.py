"""Basis transformation: one basis, and so one index, for two generations.

The new space is rotated until its first d_s axes agree with the old space; the remaining
d_t - d_s axes keep everything else the new model knows. Old vectors are padded to the same
width. A rotation changes no inner product, so the new model loses nothing at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore_translators.affine import AffineTranslator
from vecstore_translators.errors import DimensionMismatchError, TooFewPairsError
from vecstore_translators.procrustes import scaled_rotation
from vecstore_translators.statistics import Float64Array, PairStatistics
from vecstore_translators.validation import as_pairs

_MIN_PAIRS = 2


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BasisTransformation:
    """The two maps that carry an old and a new space into one common basis of d_t axes.

    Fit one with :meth:`fit`; both parts are ordinary translators, to be stored as such.

    Parameters
    ----------
    old : AffineTranslator
        d_s -> d_t: x to [x, 0] + c, the zero-padded old vector and a constant, which is zero
        in a fit with ``center=False``.
    new : AffineTranslator
        d_t -> d_t: y to y Q, with Q orthonormal.

    Laws
    ----
    orthonormal
        Q Qᵀ = I, so ``new`` is invertible.
    nothing lost
        Inner products, norms and distances among new vectors are those of the new space.
    old distances kept
        Distances among old vectors are those of the old space, and with ``center=False``
        their inner products and norms too.
    aligned
        No other orthonormal Q brings the pairs closer together in the common basis, in squared
        error over all d_t axes, since an index compares all of them. ``old`` followed by the
        inverse of ``new`` is the semi-orthogonal :class:`~vecstore_translators.Procrustes` map
        of the same pairs.

    References
    ----------
    Zhou et al., "BT²: Backward-compatible Training with Basis Transformation", ICCV 2023,
    section 4 (a representation with extra dimensions, rotated so that a part of it agrees
    with the old one), here solved in closed form for two models that are both given;
    Schönemann, "A generalized solution of the orthogonal Procrustes problem", 1966, eq. 1.7.

    Examples
    --------
    >>> import numpy as np
    >>> new = np.vstack([np.eye(3), -np.eye(3)])
    >>> old = new[:, [2, 0]]
    >>> basis = BasisTransformation.fit(old, new)
    >>> together = basis.new.translate(new)
    >>> bool(np.allclose(together[:, :2], old, atol=1e-5))
    True
    >>> bool(np.allclose(together @ together.T, new @ new.T, atol=1e-5))
    True
    """

    old: AffineTranslator
    new: AffineTranslator

    def __post_init__(self) -> None:
        shape = (self.old.target_dim, self.new.source_dim, self.new.target_dim)
        if len(set(shape)) != 1 or not self.new.invertible:
            raise DimensionMismatchError(
                "expected an orthonormal map of the new space and a map of the old space into "
                f"the same dimensions, got {self.old!r} and {self.new!r}"
            )

    @classmethod
    def fit(cls, X: ArrayLike, Y: ArrayLike, *, center: bool = True) -> Self:
        """Fit to pairs.

        Parameters
        ----------
        X : array_like of shape (n, d_s), float16, float32 or float64
            Old vectors.
        Y : array_like of shape (n, d_t), float16, float32 or float64
            New vectors of the same items, with d_t >= d_s.
        center : bool
            Shift the old vectors so that the means meet. The new vectors are never shifted.
            Scores between the generations gain from it; with False, inner products among old
            vectors stay what they were.

        Raises
        ------
        DimensionMismatchError
            The old space is wider than the new one: there is no room for it.
        UnpairedRowsError, TooFewPairsError, InvalidVectorsError, NonFiniteError
        """
        source, target = as_pairs(X, Y, min_pairs=_MIN_PAIRS, finite=False)
        return cls.fit_statistics(PairStatistics.from_arrays(source, target), center=center)

    @classmethod
    def fit_statistics(cls, statistics: PairStatistics, *, center: bool = True) -> Self:
        """Fit from the statistics of the pairs, in O(d_t³); see :meth:`fit`."""
        if statistics.source_dim > statistics.target_dim:
            raise DimensionMismatchError(
                "basis transformation: expected an old space no wider than the new one, got "
                f"{statistics.source_dim} -> {statistics.target_dim} dimensions; fit a forward "
                "translator such as ridge instead"
            )
        if statistics.n < _MIN_PAIRS:
            raise TooFewPairsError(
                f"basis transformation: expected at least {_MIN_PAIRS} pairs, got {statistics.n}"
            )
        moments = statistics if center else statistics.uncentered()
        aligned, _ = scaled_rotation(moments)
        rotation = np.hstack([aligned.T, _complement(aligned, statistics.yy)])
        padding = np.eye(statistics.source_dim, statistics.target_dim)
        shift = moments.mean_y @ rotation - moments.mean_x @ padding
        how = "basis_transformation", {"center": center, "pairs": statistics.n}
        return cls(
            old=AffineTranslator(_float32(padding), _float32(shift), *how),
            new=AffineTranslator(_float32(rotation), _float32(np.zeros(len(rotation))), *how),
        )


def _complement(rows: Float64Array, spread: Float64Array) -> Float64Array:
    """Return orthonormal columns that span what `rows` do not, widest spread first.

    The order makes the result unique and lets the last, nearly empty axes be cut off.
    """
    found, d = rows.shape
    basis: Float64Array = np.linalg.svd(rows)[2][found:].T
    _, axes = np.linalg.eigh(basis.T @ spread @ basis)
    basis = basis @ axes[:, ::-1]
    largest = np.abs(basis).argmax(axis=0)
    # An axis and its opposite are equally good; the sign is fixed so that fits repeat.
    signs: Float64Array = np.sign(basis[largest, np.arange(d - found)])
    return basis * signs


def _float32(array: Float64Array) -> NDArray[np.float32]:
    """Return the array in the type translators keep."""
    return array.astype(np.float32)
