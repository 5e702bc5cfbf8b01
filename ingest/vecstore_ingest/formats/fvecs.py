"""fvecs (the TEXMEX format): every row is its dimension, int32, and as many float32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import IngestError
from vecstore_ingest.formats.dense import companion_ids, dense_chunks
from vecstore_ingest.formats.reader import START, Chunk, Position, Reader, Source, reading

__all__ = ["FvecsReader"]

_MAX_DIM = 1 << 20


@final
class FvecsReader(Reader):
    """Read memory-mapped fvecs as the columns id and vector."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        size = source.size
        with reading(source), Path(source.path).open("rb") as file:
            head = file.read(4)
        dim = int.from_bytes(head, "little", signed=True)
        if not 1 <= dim <= _MAX_DIM:
            swapped = int.from_bytes(head, "big", signed=True)
            hint = "the file looks big-endian" if 1 <= swapped <= _MAX_DIM else "not an fvecs file"
            raise IngestError(
                f"{source.path}: expected rows of 1 to {_MAX_DIM} dimensions, row 0 declares {dim}"
                f": {hint}; write little-endian fvecs"
            )
        rows, rest = divmod(size, 4 * (dim + 1))
        if rest:
            raise IngestError(
                f"{source.path}: expected {4 * (dim + 1)} bytes per row of {dim} dimensions, but "
                f"{size} bytes end inside row {rows}: the file is truncated; write it again"
            )
        with reading(source):
            self._table = np.memmap(source.path, "<i4", mode="r", shape=(rows, dim + 1))
        self._ids = companion_ids(source, total=rows)
        self.unique_ids = self._ids is None

    @property
    def total_rows(self) -> int | None:
        """Rows of the file."""
        return len(self._table)

    def chunks(
        self,
        start: Position = START,
        *,
        batch_rows: int,
        columns: Sequence[str] | None = None,
    ) -> Iterator[Chunk]:
        """Yield chunks from a row on; rows before one of another dimension come first."""
        whole = start.row
        damaged: int | None = None
        total, dim = len(self._table), self._table.shape[1] - 1
        for row in range(start.row, total, batch_rows):
            dims = self._table[row : row + batch_rows, 0]
            wrong = np.flatnonzero(dims != dim)
            whole = row + (int(wrong[0]) if wrong.size else len(dims))
            yield from dense_chunks(
                self.source,
                total=whole,
                rows=self._vectors,
                ids=self._ids,
                start=Position(row=row),
                batch_rows=batch_rows,
                columns=columns,
            )
            if wrong.size:
                damaged = int(dims[wrong[0]])
                break
        if damaged is not None:
            raise IngestError(
                f"{self.source.path}: expected {dim} dimensions in every row, row {whole} declares "
                f"{damaged}; the file is damaged there"
            )

    def _vectors(self, start: int, stop: int) -> NDArray[np.generic]:
        return np.ascontiguousarray(self._table[start:stop, 1:]).view("<f4")
