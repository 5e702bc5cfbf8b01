"""A .npy matrix with ids beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

import numpy as np

from vecstore.errors import IngestError
from vecstore_ingest.formats.dense import companion_ids, dense_chunks
from vecstore_ingest.formats.numpy_header import map_npy
from vecstore_ingest.formats.reader import START, Chunk, Position, Reader, Source

__all__ = ["NpyReader"]


@final
class NpyReader(Reader):
    """Read a memory-mapped matrix of shape (n, d) as the columns id and vector."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        matrix = map_npy(source)
        if matrix.ndim != 2 or matrix.dtype.kind not in "fiu" or not matrix.shape[1]:
            raise IngestError(
                f"{source.path}: expected a matrix of numbers, one vector per row, got "
                f"{matrix.dtype} of shape {matrix.shape}"
            )
        self._matrix = matrix
        self._ids = companion_ids(source, total=len(matrix))
        self.unique_ids = self._ids is None

    @property
    def total_rows(self) -> int | None:
        """Rows of the matrix."""
        return len(self._matrix)

    def chunks(
        self,
        start: Position = START,
        *,
        batch_rows: int,
        columns: Sequence[str] | None = None,
    ) -> Iterator[Chunk]:
        """Yield chunks from a row on."""
        return dense_chunks(
            self.source,
            total=len(self._matrix),
            rows=lambda lo, hi: np.asarray(self._matrix[lo:hi]),
            ids=self._ids,
            start=start,
            batch_rows=batch_rows,
            columns=columns,
        )
