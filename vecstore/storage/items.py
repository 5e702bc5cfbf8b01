"""Item segments: Parquet files of (row_id, id, document, metadata columns).

Nothing is decoded before somebody asks: opening a store and searching it needs no items,
only the ids of the hits.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vecstore.errors import CorruptFileError
from vecstore.storage.columns import arrow_view, numpy_view
from vecstore.storage.root import DataRoot, StoredFile

__all__ = ["RESERVED_COLUMNS", "ItemSegment", "write_items"]

RESERVED_COLUMNS = ("row_id", "id", "document")

# Single documents are read group by group: 20 of 48,000 descriptions take 56 ms in groups of 512
# and 244 in groups of 4,096, whole columns no longer.
ROWS_PER_GROUP = 512


def write_items(root: DataRoot, path: str, table: pa.Table) -> StoredFile:
    """Write one segment; ``table`` starts with row_id, id and document."""
    return root.write(
        path,
        lambda sink: pq.write_table(
            table,
            sink,
            row_group_size=ROWS_PER_GROUP,
            compression="zstd",
            compression_level=1,
            write_page_checksum=True,
            # Ids and documents repeat as good as never: dictionaries of them take half as long
            # again to write and a third more space. Nothing reads statistics.
            use_dictionary=[n for n in table.column_names if n not in RESERVED_COLUMNS],
            write_statistics=False,
        ),
    )


@final
class ItemSegment:
    """The rows of one item file, in ascending order of row id. Thread-safe.

    A column that is asked for whole is decoded once and kept; single rows are read from
    their row groups, so that long documents do not fill the memory.
    """

    def __init__(self, root: DataRoot, file: StoredFile) -> None:
        self._path = file.path
        self._lock = threading.Lock()
        self._columns: dict[str, pa.ChunkedArray] = {}
        self._glimpsed = False
        with self._mapped_errors():
            self._parquet = pq.ParquetFile(root.map(file), page_checksum_verification=True)
        self._names = frozenset(self._parquet.schema_arrow.names)

    @cached_property
    def row_ids(self) -> NDArray[np.int64]:
        """Row ids, ndarray of shape (n,), int64, ascending."""
        column = self._column("row_id")
        with self._mapped_errors():
            return numpy_view(column)

    @cached_property
    def ids(self) -> pa.Array:
        """Item ids, string array of length n."""
        return self._column("id").combine_chunks()

    @property
    def keeps_ids(self) -> bool:
        """Whether the ids are at hand, or worth having there: somebody has looked before."""
        return self._glimpsed or "id" in self._columns

    def glimpse_ids(self, positions: NDArray[np.int64]) -> list[str]:
        """Return the ids of a few rows, read from their row groups.

        For who opens a store to ask once: all ids of 25,000 rows take 1.1 ms to decode, those of
        one group 0.03. They are decoded when they are asked for again, see :attr:`keeps_ids`.
        """
        groups, slot = np.unique(positions // ROWS_PER_GROUP, return_inverse=True)
        with self._mapped_errors(), self._lock:
            table = self._parquet.read_row_groups(groups.tolist(), ["id"], use_threads=False)
        ids = table.column("id")
        self._glimpsed = True
        places = slot * ROWS_PER_GROUP + positions % ROWS_PER_GROUP
        return [ids[place].as_py() for place in places.tolist()]

    def __len__(self) -> int:
        return int(self._parquet.metadata.num_rows)

    def columns(self, schema: pa.Schema) -> pa.Table:
        """Return whole columns; those the file predates are null, others are widened."""
        return self._conform({n: self._column(n) for n in self._present(schema)}, schema, len(self))

    def take(self, positions: NDArray[np.int64], schema: pa.Schema) -> pa.Table:
        """Return some rows of the columns of ``schema``, in the order of ``positions``."""
        names = self._present(schema)
        kept = {name: self._columns[name] for name in names if name in self._columns}
        rest = [name for name in names if name not in kept]
        taken = {name: column.take(arrow_view(positions)) for name, column in kept.items()}
        if rest and len(positions):
            group = positions // ROWS_PER_GROUP
            groups, slot = np.unique(group, return_inverse=True)
            with self._mapped_errors(), self._lock:
                table = self._parquet.read_row_groups(groups.tolist(), columns=rest)
            # Every group before the file's last is full, so offsets need no bookkeeping.
            table = table.take(arrow_view(slot * ROWS_PER_GROUP + positions % ROWS_PER_GROUP))
            taken |= {name: table.column(name) for name in rest}
        return self._conform(taken, schema, len(positions))

    def _present(self, schema: pa.Schema) -> list[str]:
        return [name for name in schema.names if name in self._names]

    def _column(self, name: str) -> pa.ChunkedArray:
        with self._lock:
            if name not in self._columns:
                with self._mapped_errors():
                    # A column is read by one thread, whoever it is.
                    table = self._parquet.read(columns=[name], use_threads=False)
                    self._columns[name] = table.column(name)
            return self._columns[name]

    @staticmethod
    def _conform(found: dict[str, pa.ChunkedArray], schema: pa.Schema, rows: int) -> pa.Table:
        columns = [
            found[f.name].cast(f.type)
            if f.name in found
            else pa.chunked_array([pa.nulls(rows, f.type)])
            for f in schema
        ]
        return pa.Table.from_arrays(columns, schema=schema)

    @contextmanager
    def _mapped_errors(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, KeyError, OSError, ValueError) as error:
            raise CorruptFileError(
                f"{self._path}: not a readable item segment: {error}; restore it from a backup"
            ) from error
