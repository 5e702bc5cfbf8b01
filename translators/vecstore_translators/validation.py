"""The one place where arrays are checked before any mathematics sees them.

Every public function of this package takes its arrays through here, so that the same
mistake always raises the same named error with the same advice.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore_translators.errors import (
    DimensionMismatchError,
    InvalidArgumentError,
    InvalidVectorsError,
    NonFiniteError,
    TooFewPairsError,
    UnpairedRowsError,
)

Vectors: TypeAlias = NDArray[np.floating[Any]]
"""Floating-point vectors, one per row: ndarray of shape (n, d)."""

Metric: TypeAlias = Literal["cosine", "ip", "l2"]
"""How vectors of one space compare."""

_DTYPES = (np.float16, np.float32, np.float64)


def as_vectors(
    vectors: ArrayLike, *, dim: int | None = None, name: str = "vectors", finite: bool = True
) -> Vectors:
    """Return `vectors` as a checked two-dimensional floating array, without a copy if it is one.

    Parameters
    ----------
    vectors : array_like of shape (n, d)
        float16, float32 or float64.
    dim : int, optional
        The dimension `d` must have.
    name : str
        What the error messages call the array.
    finite : bool
        Check the values too. Callers that stream over blocks check each block instead.

    Raises
    ------
    InvalidVectorsError
        Not two-dimensional, no dimensions, or not a floating type.
    DimensionMismatchError
        `d` differs from `dim`.
    NonFiniteError
        NaN or infinity among the values.
    """
    try:
        array = np.asarray(vectors)
    except ValueError as error:
        raise InvalidVectorsError(
            f"{name}: expected an array of shape (n, d), got rows of different lengths; "
            "check where the vectors come from"
        ) from error
    if array.dtype not in _DTYPES:
        raise InvalidVectorsError(
            f"{name}: expected float16, float32 or float64, got {array.dtype}; "
            "convert it with .astype(np.float32)"
        )
    if array.ndim != 2 or array.shape[1] == 0:
        raise InvalidVectorsError(
            f"{name}: expected shape (n, d) with d >= 1, got {array.shape}; "
            "a single vector x is passed as x[np.newaxis]"
        )
    if dim is not None and array.shape[1] != dim:
        raise DimensionMismatchError(
            f"{name}: expected {dim} dimensions, got {array.shape[1]}; "
            "check that the vectors come from the right model and direction"
        )
    if finite:
        require_finite(array, name=name)
    return array


def as_pairs(
    X: ArrayLike, Y: ArrayLike, *, min_pairs: int = 1, finite: bool = True
) -> tuple[Vectors, Vectors]:
    """Return source and target vectors of the same items, row-aligned and checked.

    Raises
    ------
    UnpairedRowsError
        The two arrays differ in their number of rows.
    TooFewPairsError
        Fewer than `min_pairs` rows.
    InvalidVectorsError
        As :func:`as_vectors`, for either array.
    """
    source = as_vectors(X, name="X", finite=finite)
    target = as_vectors(Y, name="Y", finite=finite)
    if len(source) != len(target):
        raise UnpairedRowsError(
            f"X and Y: expected the same items in the same order, got {len(source)} and "
            f"{len(target)} rows; pair them by id first"
        )
    if len(source) < min_pairs:
        raise TooFewPairsError(
            f"expected at least {min_pairs} pairs, got {len(source)}; "
            "embed more items with the target model"
        )
    return source, target


def require_finite(block: Vectors, *, name: str = "vectors", first_row: int = 0) -> None:
    """Raise :class:`NonFiniteError` naming the first row that holds NaN or infinity."""
    # One dot product reads the block at memory speed and allocates nothing. It is finite only
    # if every value is; an overflow of large but finite values falls through to the exact test.
    flat = block.ravel() if block.flags.c_contiguous else None
    with np.errstate(over="ignore", invalid="ignore"):
        if flat is not None and block.dtype != np.float16 and np.isfinite(np.dot(flat, flat)):
            return
    finite = np.isfinite(block).all(axis=1)
    if not finite.all():
        row = first_row + int(np.argmin(finite))
        raise NonFiniteError(
            f"{name}: expected finite values, got NaN or infinity in row {row} "
            f"({int((~finite).sum())} such rows in this block); drop or re-embed those rows"
        )


def check_metric(metric: str) -> Metric:
    """Return `metric` if it is one of cosine, ip and l2, else raise InvalidArgumentError."""
    for known in get_args(Metric):
        if metric == known:
            return known  # type: ignore[no-any-return]
    raise InvalidArgumentError(
        f"metric: expected one of {', '.join(get_args(Metric))}, got {metric!r}"
    )


def check_at_least(value: int, least: int, *, name: str) -> int:
    """Return `value` if it is an integer of at least `least`, else raise InvalidArgumentError."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise InvalidArgumentError(f"{name}: expected an integer >= {least}, got {value!r}")
    return int(value)


def unit_rows(vectors: Vectors) -> NDArray[np.float32]:
    """Return the rows scaled to unit length.

    Parameters
    ----------
    vectors : ndarray of shape (n, d)

    Returns
    -------
    ndarray of shape (n, d), float32
        A new array.

    Raises
    ------
    NonFiniteError
        A row is zero and has no direction.
    """
    rows = np.array(vectors, dtype=np.float32, order="C")
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    if not (norms > 0).all():
        raise NonFiniteError(
            f"expected vectors with a direction, got a zero vector in row "
            f"{int(np.argmin(norms > 0))}; cosine is not defined for it, drop that row"
        )
    rows /= norms[:, np.newaxis]
    return rows
