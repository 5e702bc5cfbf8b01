"""Parquet files: row groups before the start are skipped by their metadata."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

import pyarrow.parquet as pq

from vecstore_ingest.formats.reader import START, Chunk, Position, Reader, Source, reading
from vecstore_ingest.formats.tabular import rechunked

__all__ = ["ParquetReader"]

# A footer is a few kilobytes per column; what claims more is refused by the Thrift decoder.
_THRIFT_LIMIT = 64 << 20
# Decoding a column of vectors in larger batches is slower: twice as slow at 40,000 rows.
_READ_ROWS = 8192


@final
class ParquetReader(Reader):
    """Read Parquet, one row group at a time."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        with reading(source):
            self._file = pq.ParquetFile(
                source.path,
                pre_buffer=False,
                thrift_string_size_limit=_THRIFT_LIMIT,
                thrift_container_size_limit=_THRIFT_LIMIT,
            )
            footer = self._file.metadata
            self._groups: list[int] = [
                footer.row_group(i).num_rows for i in range(footer.num_row_groups)
            ]

    @property
    def total_rows(self) -> int | None:
        """Rows of all row groups."""
        return sum(self._groups)

    def chunks(
        self,
        start: Position = START,
        *,
        batch_rows: int,
        columns: Sequence[str] | None = None,
    ) -> Iterator[Chunk]:
        """Yield chunks from a row on."""
        skip, first = start.row, 0
        while first < len(self._groups) and skip >= self._groups[first]:
            skip -= self._groups[first]
            first += 1
        with reading(self.source, start.row):
            batches = self._file.iter_batches(
                batch_size=min(batch_rows, _READ_ROWS),
                row_groups=range(first, len(self._groups)),
                columns=None if columns is None else list(columns),
                use_threads=False,
            )
        yield from rechunked(
            iter(batches), source=self.source, row=start.row, skip=skip, batch_rows=batch_rows
        )
