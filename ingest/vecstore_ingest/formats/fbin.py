"""fbin (the big-ann-benchmarks format): rows and dimension as uint32, then float32 vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import IngestError
from vecstore_ingest.formats.dense import companion_ids, dense_chunks
from vecstore_ingest.formats.reader import START, Chunk, Position, Reader, Source, reading

__all__ = ["FbinReader"]

_HEADER_BYTES = 8


@final
class FbinReader(Reader):
    """Read memory-mapped fbin as the columns id and vector."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        with reading(source), Path(source.path).open("rb") as file:
            head = file.read(_HEADER_BYTES)
        rows, dim = (int.from_bytes(head[i : i + 4], "little") for i in (0, 4))
        expected = _HEADER_BYTES + 4 * rows * dim
        if len(head) < _HEADER_BYTES or source.size != expected or not dim:
            whole = max(0, (source.size - _HEADER_BYTES) // (4 * dim)) if dim else 0
            state = f"it ends inside row {whole}" if source.size < expected else "it has more"
            raise IngestError(
                f"{source.path}: expected {expected} bytes for the {rows} little-endian vectors of "
                f"{dim} dimensions that its header declares, got {source.size}: {state}; write the "
                "file again"
            )
        self._matrix: NDArray[np.float32] = np.empty((0, dim), "<f4")
        if rows:
            with reading(source):
                self._matrix = np.memmap(
                    source.path, "<f4", mode="r", offset=_HEADER_BYTES, shape=(rows, dim)
                )
        self._ids = companion_ids(source, total=rows)
        self.unique_ids = self._ids is None

    @property
    def total_rows(self) -> int | None:
        """Rows of the file."""
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
