"""IdTable: the ids of a version side by side, from which those of a query are picked in one step.

The hits of a query lie anywhere in as many files. Looked up one by one each waits for memory
several times, for its file's buffers and twice for its bytes; from one array of fixed width
numpy fetches all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self, final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vecstore.storage.columns import string_bytes

__all__ = ["MAX_BYTES", "IdTable"]

MAX_BYTES = 2**24
"""Of a table: 100,000 ids of 160 bytes, a million of 16."""

# No ids are read to find that they make too large a table, unless they are as short as this.
_LIKELY_WIDTH = 8


@final
class IdTable:
    """The ids of rows, by row. Immutable; made by :meth:`of`."""

    __slots__ = ("_first", "_texts")

    def __init__(self, first: int, texts: NDArray[np.bytes_]) -> None:
        self._first = first
        self._texts = texts

    @classmethod
    def of(cls, files: Iterable[tuple[NDArray[np.int64], pa.Array]], extent: range) -> Self | None:
        """Put ids side by side; None where that takes too much memory, or cannot be.

        Parameters
        ----------
        files : iterable of (ndarray of shape (n,), int64, string array of length n)
            Rows and their ids; read one after the other.
        extent : range
            Rows from the first to the last.
        """
        most = MAX_BYTES // max(len(extent), 1)
        if most < _LIKELY_WIDTH:
            return None
        parts, width = [], 1
        for rows, ids in files:
            ends, content = string_bytes(ids)
            lengths = np.diff(ends)
            width = max(width, int(lengths.max(initial=0)))
            # An array of fixed width has no way to say that a text ends with a zero.
            if width > most or (content[ends[1:] - 1] == 0).any():
                return None
            parts.append((rows - extent.start, lengths, content[ends[0] : ends[-1]]))
        table = np.zeros((len(extent), width), np.uint8)
        for places, lengths, content in parts:
            filled = np.zeros((len(places), width), np.uint8)
            filled[np.arange(width) < lengths[:, None]] = content
            table[places] = filled
        return cls(extent.start, table.view(f"S{width}").ravel())

    def strings(self, row_ids: NDArray[np.int64]) -> list[str]:
        """Return ids in the order of ``row_ids``, each of a row that is inside."""
        places = row_ids - self._first if self._first else row_ids
        return list(map(bytes.decode, self._texts[places].tolist()))
