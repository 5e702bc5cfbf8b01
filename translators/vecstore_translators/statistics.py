"""Sufficient statistics of pairs: everything an affine fit needs, in one streaming pass.

n, the two means and the three centred second moments determine Procrustes, ridge and every
other least-squares map in both directions, and the exact squared error of any affine map.
They add, subtract and merge, so folds, machines and increments cost nothing extra. Memory
is O((d_s + d_t)²) and independent of n.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self, TypeAlias, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore_translators.affine import AffineTranslator
from vecstore_translators.errors import (
    DimensionMismatchError,
    InvalidArgumentError,
    TooFewPairsError,
)
from vecstore_translators.validation import Vectors, as_pairs, check_at_least, require_finite

Float64Array: TypeAlias = NDArray[np.float64]

_BUFFER_BYTES = 32 * 2**20
"""Size of the one float64 buffer rows are widened in: large enough for full BLAS speed."""


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairStatistics:
    """Sufficient statistics of n row-aligned pairs (x, y), in float64.

    Parameters
    ----------
    n : int
        Number of pairs.
    mean_x, mean_y : ndarray of shape (d_s,) and (d_t,)
        Means; zero where n is 0.
    xx, xy, yy : ndarray of shape (d_s, d_s), (d_s, d_t) and (d_t, d_t)
        Centred second moments: sums over pairs, not averages, of (x - mean_x)ᵀ(x - mean_x)
        and so on.

    Laws
    ----
    ``a + b`` equals the statistics of the concatenated pairs, in any order and grouping;
    ``(a + b) - b`` equals ``a``; ``a.reversed()`` equals the statistics of (Y, X). All to
    float64 rounding, however far the means are from zero.

    References
    ----------
    Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances", 1979, eq. 1.5 (merge).
    """

    n: int
    mean_x: Float64Array
    mean_y: Float64Array
    xx: Float64Array
    xy: Float64Array
    yy: Float64Array

    def __post_init__(self) -> None:
        d_s, d_t = len(self.mean_x), len(self.mean_y)
        shapes = (self.xx.shape, self.xy.shape, self.yy.shape)
        if shapes != ((d_s, d_s), (d_s, d_t), (d_t, d_t)):
            raise DimensionMismatchError(
                f"expected moments of shapes {((d_s, d_s), (d_s, d_t), (d_t, d_t))} for means "
                f"of {d_s} and {d_t} dimensions, got {shapes}"
            )
        check_at_least(self.n, 0, name="n")
        for array in (self.mean_x, self.mean_y, self.xx, self.xy, self.yy):
            array.setflags(write=False)

    @property
    def source_dim(self) -> int:
        """Dimension of x."""
        return len(self.mean_x)

    @property
    def target_dim(self) -> int:
        """Dimension of y."""
        return len(self.mean_y)

    @classmethod
    def from_arrays(cls, X: ArrayLike, Y: ArrayLike, *, rows: ArrayLike | None = None) -> Self:
        """Return the statistics of pairs in memory, or of the given `rows` of them.

        Raises
        ------
        UnpairedRowsError, InvalidVectorsError, NonFiniteError
        """
        X, Y = as_pairs(X, Y, finite=False)
        accumulator = PairAccumulator(X.shape[1], Y.shape[1])
        if rows is None:
            accumulator.update(X, Y)
        else:
            # Gathered block by block, so that a fold of mapped arrays is never held in memory.
            index = np.asarray(rows, dtype=np.int64)
            for start in range(0, len(index), accumulator.block_rows):
                part = index[start : start + accumulator.block_rows]
                accumulator.update(X[part], Y[part])
        return accumulator.statistics()

    @classmethod
    def from_blocks(cls, blocks: Iterable[tuple[ArrayLike, ArrayLike]]) -> Self:
        """Return the statistics of a stream of (X, Y) blocks, in one pass.

        Raises
        ------
        TooFewPairsError
            The stream is empty.
        UnpairedRowsError, InvalidVectorsError, NonFiniteError
        """
        (statistics,) = cls.folds_from_blocks(blocks, folds=1)
        return statistics

    @classmethod
    def folds_from_blocks(
        cls, blocks: Iterable[tuple[ArrayLike, ArrayLike]], *, folds: int = 5
    ) -> tuple[Self, ...]:
        """Return the statistics of a stream, split over `folds` disjoint parts of its rows.

        Each block gives a contiguous share of its rows to every fold. The statistics of all
        pairs are the sum of the folds, so tuning costs no second pass.
        """
        check_at_least(folds, 1, name="folds")
        accumulators: list[PairAccumulator] = []
        for X, Y in blocks:
            source, target = as_pairs(X, Y, min_pairs=0, finite=False)
            if not accumulators:
                shape = source.shape[1], target.shape[1]
                first = PairAccumulator(*shape)
                accumulators = [first, *(first._sibling() for _ in range(folds - 1))]
            edges = np.linspace(0, len(source), folds + 1).astype(int)
            for accumulator, start, stop in zip(accumulators, edges, edges[1:], strict=False):
                accumulator.update(source[start:stop], target[start:stop])
        if not accumulators:
            raise TooFewPairsError("expected at least one block of pairs, got an empty stream")
        # Each is let go once its statistics exist; kept, they would double the peak.
        accumulators.reverse()
        return tuple(accumulators.pop().statistics() for _ in range(folds))

    def __add__(self, other: PairStatistics) -> PairStatistics:
        """Return the statistics of both sets of pairs (Chan's formula)."""
        return self._combined(other, sign=1)

    def __sub__(self, other: PairStatistics) -> PairStatistics:
        """Return the statistics of these pairs without `other`, which must be among them."""
        return self._combined(other, sign=-1)

    def reversed(self) -> PairStatistics:
        """Return the statistics of the pairs (y, x), for the other direction."""
        return PairStatistics(
            n=self.n,
            mean_x=self.mean_y,
            mean_y=self.mean_x,
            xx=self.yy,
            xy=self.xy.T,
            yy=self.xx,
        )

    def uncentered(self) -> PairStatistics:
        """Return the same pairs with moments about zero: means 0, XᵀX, XᵀY and YᵀY."""
        x, y = self.mean_x, self.mean_y
        return PairStatistics(
            n=self.n,
            mean_x=np.zeros_like(x),
            mean_y=np.zeros_like(y),
            xx=self.xx + self.n * np.outer(x, x),
            xy=self.xy + self.n * np.outer(x, y),
            yy=self.yy + self.n * np.outer(y, y),
        )

    def squared_error(self, weight: Float64Array, bias: Float64Array) -> float:
        """Return the exact total of ‖x W + b - y‖² over the pairs.

        Needs O(d³) time whatever n is. Cancellation limits it to about 1e-12 of tr(YᵀY).
        """
        offset = self.mean_x @ weight + bias - self.mean_y
        centred = (
            np.vdot(weight, self.xx @ weight) - 2 * np.vdot(weight, self.xy) + np.trace(self.yy)
        )
        return max(float(centred + self.n * (offset @ offset)), 0.0)

    def mean_squared_error(self, translator: AffineTranslator) -> float:
        """Return the exact mean of ‖F(x) - y‖² over the pairs, from the statistics alone.

        Parameters
        ----------
        translator : AffineTranslator
            From `source_dim` to `target_dim`.

        Raises
        ------
        TooFewPairsError
            There are no pairs.
        DimensionMismatchError
            The translator joins other dimensions.
        """
        if self.n == 0:
            raise TooFewPairsError("expected at least one pair to average over, got none")
        if (translator.source_dim, translator.target_dim) != self.xy.shape:
            raise DimensionMismatchError(
                f"expected a translator {self.source_dim} -> {self.target_dim}, got {translator!r}"
            )
        weight = translator.weight.astype(np.float64)
        return self.squared_error(weight, translator.bias.astype(np.float64)) / self.n

    def _combined(self, other: PairStatistics, sign: int) -> PairStatistics:
        """Return self + sign * other."""
        if other.xy.shape != self.xy.shape:
            raise DimensionMismatchError(
                f"expected statistics of {self.source_dim} -> {self.target_dim} pairs, got "
                f"{other.source_dim} -> {other.target_dim}"
            )
        n = self.n + sign * other.n
        if n < 0:
            raise InvalidArgumentError(
                f"expected at most {self.n} pairs to subtract, got {other.n}; "
                "only pairs that were added can be taken away"
            )
        if n == 0:
            return _no_pairs(self.source_dim, self.target_dim)
        # Both signs of Chan's update: with n = n_a ± n_b pairs left, the means differ by
        # delta and the cross term is ± n_a n_b / n. Subtracting it undoes adding it exactly.
        dx, dy = other.mean_x - self.mean_x, other.mean_y - self.mean_y
        share, cross = sign * other.n / n, sign * self.n * (other.n / n)
        return PairStatistics(
            n=n,
            mean_x=self.mean_x + share * dx,
            mean_y=self.mean_y + share * dy,
            xx=self.xx + sign * other.xx + cross * np.outer(dx, dx),
            xy=self.xy + sign * other.xy + cross * np.outer(dx, dy),
            yy=self.yy + sign * other.yy + cross * np.outer(dy, dy),
        )


@final
class PairAccumulator:
    """Collects :class:`PairStatistics` from blocks of pairs as they arrive.

    The rows of both sides are widened side by side into one reused float64 buffer, shifted by
    the mean of the first block so that far-off means cost no precision. One symmetric rank-k
    product of that buffer then gives all three moments.
    """

    __slots__ = ("_buffer", "_moments", "_n", "_product", "_shift", "_source_dim", "_sum")

    def __init__(self, source_dim: int, target_dim: int) -> None:
        check_at_least(source_dim, 1, name="source_dim")
        check_at_least(target_dim, 1, name="target_dim")
        width = source_dim + target_dim
        rows = max(_BUFFER_BYTES // (8 * width), 64)
        self._source_dim = source_dim
        self._n = 0
        self._shift: Float64Array | None = None
        self._sum = np.zeros(width)
        self._moments = np.zeros((width, width))
        self._product = np.empty((width, width))
        self._buffer = np.empty((rows, width))

    def _sibling(self) -> PairAccumulator:
        """Return an empty accumulator that shares this one's scratch memory."""
        sibling = PairAccumulator(self._source_dim, len(self._sum) - self._source_dim)
        sibling._buffer, sibling._product = self._buffer, self._product
        return sibling

    @property
    def block_rows(self) -> int:
        """Rows taken in at once; larger blocks are cut, smaller ones cost some speed."""
        return len(self._buffer)

    def update(self, X: ArrayLike, Y: ArrayLike) -> None:
        """Add pairs.

        Parameters
        ----------
        X : array_like of shape (n, d_s), float16, float32 or float64
        Y : array_like of shape (n, d_t), float16, float32 or float64

        Raises
        ------
        UnpairedRowsError, DimensionMismatchError, InvalidVectorsError
        NonFiniteError
            NaN or infinity; the pairs of this call are then partly counted, so discard the
            accumulator.
        """
        source, target = as_pairs(X, Y, min_pairs=0, finite=False)
        shape = (self._source_dim, len(self._sum) - self._source_dim)
        if (source.shape[1], target.shape[1]) != shape:
            raise DimensionMismatchError(
                f"expected pairs of {shape[0]} and {shape[1]} dimensions, got "
                f"{source.shape[1]} and {target.shape[1]}"
            )
        for start in range(0, len(source), self.block_rows):
            stop = start + self.block_rows
            self._add(source[start:stop], target[start:stop])

    def statistics(self) -> PairStatistics:
        """Return the statistics of the pairs added so far, as an independent value."""
        d = self._source_dim
        if self._shift is None:
            return _no_pairs(d, len(self._sum) - d)
        mean_x, mean_y = np.split(self._sum / self._n, [d])
        shift_x, shift_y = np.split(self._shift, [d])
        return PairStatistics(
            n=self._n,
            mean_x=mean_x + shift_x,
            mean_y=mean_y + shift_y,
            xx=self._moments[:d, :d] - np.outer(self._n * mean_x, mean_x),
            xy=self._moments[:d, d:] - np.outer(self._n * mean_x, mean_y),
            yy=self._moments[d:, d:] - np.outer(self._n * mean_y, mean_y),
        )

    def _add(self, source: Vectors, target: Vectors) -> None:
        """Add one block that fits the buffer."""
        rows = self._buffer[: len(source)]
        rows[:, : self._source_dim] = source
        rows[:, self._source_dim :] = target
        sums = np.ones(len(rows)) @ rows
        if not np.isfinite(sums).all():
            require_finite(source, name="X")
            require_finite(target, name="Y")
        if self._shift is None:
            self._shift = sums / len(rows)
        rows -= self._shift
        self._n += len(rows)
        self._sum += sums - len(rows) * self._shift
        np.matmul(rows.T, rows, out=self._product)
        self._moments += self._product


def _no_pairs(source_dim: int, target_dim: int) -> PairStatistics:
    """Return the neutral element of addition."""
    zeros: Any = np.zeros
    return PairStatistics(
        n=0,
        mean_x=zeros(source_dim),
        mean_y=zeros(target_dim),
        xx=zeros((source_dim, source_dim)),
        xy=zeros((source_dim, target_dim)),
        yy=zeros((target_dim, target_dim)),
    )
