"""A .npz archive of row-aligned arrays: ids, matrices of vectors, documents, metadata.

Members are streamed, so that a compressed one never has to fit in memory and a declared
size is never believed: what a header says is held against the archive's own directory, and
bytes are read only as rows are asked for.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, final

import numpy as np
import pyarrow as pa

from vecstore.errors import IngestError
from vecstore_ingest.formats.dense import fixed_size_list, numpy_column
from vecstore_ingest.formats.numpy_header import ArrayHeader, read_header
from vecstore_ingest.formats.reader import START, Chunk, Position, Reader, Source, reading
from vecstore_ingest.formats.tabular import plain_chunk

__all__ = ["NpzReader"]


@final
class NpzReader(Reader):
    """Read every one- or two-dimensional array of the archive as a column of its name."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._members: dict[str, _Member] = {}
        with reading(source), zipfile.ZipFile(source.path) as archive:
            for info in archive.infolist():
                name = f"{source.path}[{info.filename}]"
                with archive.open(info) as stream:
                    header = read_header(stream, name=name)
                header.check_size(info.file_size, name=name)
                column = info.filename.removesuffix(".npy")
                self._members[column] = _Member(file=info.filename, header=header)
        self._total = self._check_aligned()

    @property
    def total_rows(self) -> int | None:
        """Rows that all arrays share."""
        return self._total

    def chunks(
        self,
        start: Position = START,
        *,
        batch_rows: int,
        columns: Sequence[str] | None = None,
    ) -> Iterator[Chunk]:
        """Yield chunks from a row on; compressed members are decompressed up to it."""
        members = {c: m for c, m in self._members.items() if columns is None or c in columns}
        with ExitStack() as stack:
            streams: dict[str, IO[bytes]] = {}
            with reading(self.source, start.row):
                archive = stack.enter_context(zipfile.ZipFile(self.source.path))
                for column, member in members.items():
                    streams[column] = stack.enter_context(archive.open(member.file))
                    streams[column].seek(member.header.offset + start.row * member.header.row_bytes)
            for row in range(start.row, self._total, batch_rows):
                count = min(batch_rows, self._total - row)
                with reading(self.source, row):
                    arrays = {c: m.read(streams[c], count) for c, m in members.items()}
                    batch = pa.RecordBatch.from_pydict(arrays)
                yield plain_chunk(batch, row)

    def _check_aligned(self) -> int:
        """Return the number of rows that every array has."""
        for column, member in self._members.items():
            shape = member.header.shape
            if len(shape) not in (1, 2) or (len(shape) == 2 and not shape[1]):
                raise IngestError(
                    f"{self.source.path}[{column}]: expected a column (n,) or vectors (n, d), got "
                    f"shape {shape}; leave it out of the archive"
                )
            if member.header.fortran and len(shape) == 2:
                raise IngestError(
                    f"{self.source.path}[{column}]: expected rows in C order, got Fortran order; "
                    "save numpy.ascontiguousarray(array)"
                )
        counts = {column: m.header.shape[0] for column, m in self._members.items()}
        if len(set(counts.values())) != 1:
            raise IngestError(
                f"{self.source.path}: expected arrays with one number of rows, got {counts}"
            )
        return next(iter(counts.values()))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """One array of the archive."""

    file: str
    header: ArrayHeader

    def read(self, stream: IO[bytes], count: int) -> pa.Array:
        """Read the next rows."""
        size = count * self.header.row_bytes
        data = stream.read(size)
        if len(data) < size:
            raise EOFError(f"{self.file} ends early")
        values = np.frombuffer(data, self.header.dtype) if size else np.empty(0, self.header.dtype)
        if len(self.header.shape) == 2:
            return fixed_size_list(values.reshape(count, self.header.shape[1]))
        if self.header.dtype.kind == "S":
            values = np.char.decode(values, "utf-8")
        return numpy_column(values)
