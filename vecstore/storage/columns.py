"""Arrow columns as numpy arrays and the other way, without a copy and without pandas.

``pyarrow.array``, ``pyarrow.scalar`` and ``Array.to_numpy`` import pandas wherever it is installed:
0.25 s of a process's first write, or of its first search.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from operator import is_not
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["arrow_column", "arrow_view", "numpy_view", "string_bytes"]

_NUMPY: dict[pa.DataType, np.dtype[Any]] = {
    pa.bool_(): np.dtype(np.bool_),
    pa.int64(): np.dtype(np.int64),
    pa.float64(): np.dtype(np.float64),
    pa.float32(): np.dtype(np.float32),
    pa.float16(): np.dtype(np.float16),
}
_ARROW = {dtype: kind for kind, dtype in _NUMPY.items()}
_PLAIN: dict[type, type[np.generic]] = {bool: np.bool_, int: np.int64, float: np.float64}


def numpy_view(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """Return the values of an Arrow column, read-only, ndarray of shape (len(column),).

    Booleans, which Arrow packs, are copied, and so is what lies in several chunks.

    Raises
    ------
    ValueError
        The column has nulls, or is of another type than int64, bool or a float.

    Examples
    --------
    >>> numpy_view(arrow_view(np.array([3, 1, 4, 1]))[1:3]).tolist()
    [1, 4]
    """
    if isinstance(column, pa.ChunkedArray):
        parts = [numpy_view(part) for part in column.chunks or [pa.nulls(0, column.type)]]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
    dtype = _NUMPY.get(column.type)
    if dtype is None or column.null_count:
        raise ValueError(
            f"expected int64, bool or floats without nulls, got {column.type} with "
            f"{column.null_count} nulls"
        )
    if not len(column):
        return np.empty(0, dtype=dtype)
    end = column.offset + len(column)
    if dtype == np.bool_:
        bits = np.frombuffer(column.buffers()[1], dtype=np.uint8)
        return np.unpackbits(bits, count=end, bitorder="little")[column.offset :].view(np.bool_)
    return np.frombuffer(column.buffers()[1], dtype=dtype)[column.offset : end]


def arrow_view(values: NDArray[Any]) -> pa.Array:
    """Return an Arrow array of numbers or booleans, ndarray of shape (n,).

    It shares the memory of what is contiguous; booleans are packed. What numpy alone knows, such
    as unsigned integers, takes ``pyarrow.array``.
    """
    kind = _ARROW.get(values.dtype)
    if kind is None or values.ndim != 1:
        return pa.array(values)
    if values.dtype == np.bool_:
        return _array(kind, len(values), np.packbits(values, bitorder="little"))
    return _array(kind, len(values), np.ascontiguousarray(values))


def arrow_column(values: Any, kind: pa.DataType | None = None) -> pa.Array:
    """Return what ``pyarrow.array(values, kind)`` does, and raise what it raises.

    Sequences of strings, integers, floats or booleans, with or without None, come without pandas.

    Examples
    --------
    >>> arrow_column(["a", None, "bc"]).to_pylist()
    ['a', None, 'bc']
    >>> arrow_column((1, 2)).type
    DataType(int64)
    """
    column = None
    if isinstance(values, (list, tuple)):
        column = _plain(values)
    elif type(values) is np.ndarray and values.ndim == 1:  # a masked array is another type
        if len(values) and values.dtype.kind in "OU":
            column = _plain(values.tolist())
        elif kind is None:
            column = arrow_view(values)
    return pa.array(values, kind) if column is None or kind not in (None, column.type) else column


def string_bytes(strings: pa.Array) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Return where strings begin and end, ndarray of shape (n + 1,), and the bytes of all."""
    if not len(strings):
        return np.zeros(1, np.int32), np.empty(0, np.uint8)
    _, offsets, content = strings.buffers()
    ends = np.frombuffer(offsets, np.int32)[strings.offset : strings.offset + len(strings) + 1]
    return ends, np.frombuffer(b"" if content is None else content, np.uint8)


def _plain(values: Sequence[Any]) -> pa.Array | None:
    """Return a column of values that are all of one plain type; None for others."""
    kinds = set(map(type, values))
    present = None
    if type(None) in kinds:
        present = np.fromiter(map(is_not, values, repeat(None)), np.bool_, len(values))
    kinds.discard(type(None))
    if len(kinds) != 1:
        return None
    [kind] = kinds
    if present is not None:
        values = [kind() if value is None else value for value in values]
    try:
        if kind is str:
            return _strings(values, present)
        if kind not in _PLAIN:
            return None
        numbers = np.fromiter(values, _PLAIN[kind], len(values))
    except (OverflowError, UnicodeEncodeError):
        return None  # pyarrow knows a wider type, or says which value it is
    return _masked(arrow_view(numbers), present)


def _strings(values: Sequence[str], present: NDArray[np.bool_] | None) -> pa.Array | None:
    encoded = list(map(str.encode, values))
    ends = np.zeros(len(values) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, encoded), np.int64, len(values)), out=ends[1:])
    if ends[-1] > np.iinfo(np.int32).max:
        return None
    contents = ends.astype(np.int32), b"".join(encoded)
    return _masked(_array(pa.string(), len(values), *contents), present)


def _masked(column: pa.Array, present: NDArray[np.bool_] | None) -> pa.Array:
    if present is None:
        return column
    bits = pa.py_buffer(np.packbits(present, bitorder="little"))
    return pa.Array.from_buffers(column.type, len(column), [bits, *column.buffers()[1:]])


def _array(kind: pa.DataType, rows: int, *contents: NDArray[Any] | bytes) -> pa.Array:
    return pa.Array.from_buffers(kind, rows, [None, *map(pa.py_buffer, contents)])
