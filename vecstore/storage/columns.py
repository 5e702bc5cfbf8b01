"""Columns of mapped Arrow files as numpy arrays, without a copy and without pandas.

``pyarrow.Array.to_numpy`` imports pandas wherever it is installed: 0.25 s of the first search.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["numpy_view"]

_TYPES = {pa.int64(): np.int64, pa.float32(): np.float32, pa.float16(): np.float16}


def numpy_view(column: pa.Array) -> NDArray[Any]:
    """Return the values of an Arrow array, read-only, ndarray of shape (len(column),).

    Raises
    ------
    ValueError
        The column has nulls, or is of another type than int64, float32 or float16.

    Examples
    --------
    >>> numpy_view(pa.array([3, 1, 4, 1])[1:3]).tolist()
    [1, 4]
    """
    kind = _TYPES.get(column.type)
    if kind is None or column.null_count:
        raise ValueError(
            f"expected int64, float32 or float16 without nulls, got {column.type} with "
            f"{column.null_count} nulls"
        )
    if not len(column):
        return np.empty(0, dtype=kind)
    values = np.frombuffer(column.buffers()[1], dtype=kind)
    return values[column.offset : column.offset + len(column)]
