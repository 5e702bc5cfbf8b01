"""Item segments: Parquet files of (row_id, id, document, metadata columns).

Ids are needed by every write and every answer, so they are read when a segment is opened;
documents and metadata are read by column when somebody asks.
"""

from __future__ import annotations

import threading
from typing import final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vecstore.errors import CorruptFileError
from vecstore.storage.root import DataRoot, StoredFile

__all__ = ["RESERVED_COLUMNS", "ItemSegment", "write_items"]

RESERVED_COLUMNS = ("row_id", "id", "document")


def write_items(root: DataRoot, path: str, table: pa.Table) -> StoredFile:
    """Write one segment; ``table`` starts with row_id, id and document."""
    return root.write(
        path,
        lambda sink: pq.write_table(
            table, sink, compression="zstd", compression_level=1, write_page_checksum=True
        ),
    )


@final
class ItemSegment:
    """The rows of one item file. Columns are decoded once, on first use; thread-safe."""

    def __init__(self, root: DataRoot, file: StoredFile) -> None:
        self._file = file
        try:
            self._parquet = pq.ParquetFile(root.map(file), page_checksum_verification=True)
        except pa.ArrowException as error:
            raise CorruptFileError(f"{file.path}: not an item segment: {error}") from error
        self._lock = threading.Lock()
        self._columns: dict[str, pa.ChunkedArray] = {}
        self.row_ids: NDArray[np.int64] = self.column("row_id").to_numpy()
        self.ids: pa.Array = self.column("id").combine_chunks()

    def __len__(self) -> int:
        return len(self.row_ids)

    @property
    def schema(self) -> pa.Schema:
        """The columns of this file, row_id included."""
        return self._parquet.schema_arrow

    def column(self, name: str) -> pa.ChunkedArray:
        """Return one column; decoded on first use and kept."""
        with self._lock:
            if name not in self._columns:
                try:
                    self._columns[name] = self._parquet.read(columns=[name]).column(name)
                except (pa.ArrowException, KeyError, OSError) as error:
                    raise CorruptFileError(f"{self._file.path}: column {name!r}: {error}") from error
            return self._columns[name]

    def table(self, schema: pa.Schema) -> pa.Table:
        """Return the columns of ``schema``; those this file predates are null, others widened."""
        present = set(self.schema.names)
        columns = [
            self.column(field.name).cast(field.type)
            if field.name in present
            else pa.chunked_array([pa.nulls(len(self), field.type)])
            for field in schema
        ]
        return pa.Table.from_arrays(columns, schema=schema)
