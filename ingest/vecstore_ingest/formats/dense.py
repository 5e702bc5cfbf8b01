"""Files that hold a matrix and nothing else: chunks by slicing, ids from beside the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vecstore.errors import IngestError
from vecstore_ingest.formats.numpy_header import map_npy
from vecstore_ingest.formats.reader import ROW_NUMBERS, Chunk, Position, Source, reading
from vecstore_ingest.formats.tabular import plain_chunk

__all__ = ["Rows", "companion_ids", "dense_chunks", "fixed_size_list", "numpy_column"]


class Rows(Protocol):
    """Rows of a matrix, read on demand."""

    def __call__(self, start: int, stop: int) -> NDArray[np.generic]:
        """Return rows ``start`` to ``stop``, of shape (stop - start, d)."""


def dense_chunks(
    source: Source,
    *,
    total: int,
    rows: Rows,
    ids: pa.Array | None,
    start: Position,
    batch_rows: int,
    columns: Sequence[str] | None,
) -> Iterator[Chunk]:
    """Yield chunks with the columns ``id`` and ``vector``; without ids, rows are numbered."""
    for row in range(start.row, total, batch_rows):
        stop = min(row + batch_rows, total)
        arrays: dict[str, pa.Array] = {}
        if columns is None or "id" in columns:
            numbers = pa.array(np.arange(row, stop)) if ids is None else ids[row:stop]
            arrays["id"] = numbers.cast(pa.string())
        if columns is None or "vector" in columns:
            with reading(source, row):
                arrays["vector"] = fixed_size_list(rows(row, stop))
        yield plain_chunk(pa.RecordBatch.from_pydict(arrays), row)


def companion_ids(source: Source, *, total: int) -> pa.Array | None:
    """Return the ids of a file that has none of its own; None for row numbers.

    Raises
    ------
    IngestError
        No ids were named, their file cannot be read, or their number is not ``total``.
    """
    if source.ids == ROW_NUMBERS:
        return None
    if source.ids is None:
        raise IngestError(
            f"{source.path}: expected ids, which {source.format} files do not hold; name a file "
            f"with one id per vector (.txt, .npy or .ivecs), or {ROW_NUMBERS!r} to number the rows"
        )
    ids = _read_ids(Source(path=source.ids, format=Path(source.ids).suffix.removeprefix(".")))
    if len(ids) != total:
        raise IngestError(
            f"{source.ids}: expected {total} ids, one for each vector of {source.path}, got "
            f"{len(ids)}"
        )
    return ids


def fixed_size_list(matrix: NDArray[np.generic]) -> pa.Array:
    """Return a matrix of shape (n, d) as an Arrow column, without copying where it can be."""
    matrix = matrix.astype(matrix.dtype.newbyteorder("="), copy=False)
    flat = pa.array(np.ascontiguousarray(matrix).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1])


def numpy_column(values: NDArray[np.generic]) -> pa.Array:
    """Return a one-dimensional numpy array as an Arrow column."""
    return pa.array(values.astype(values.dtype.newbyteorder("="), copy=False))


def _read_ids(source: Source) -> pa.Array:
    """Read a file of ids."""
    path = Path(source.path)
    with reading(source):
        if source.format == "npy":
            values = map_npy(source)
            if values.ndim != 1 or values.dtype.kind not in "iuU":
                raise IngestError(
                    f"{source.path}: expected a one-dimensional array of integers or strings as "
                    f"ids, got {values.dtype} of shape {values.shape}"
                )
            return numpy_column(np.asarray(values))
        if source.format == "ivecs":
            pairs = np.fromfile(path, "<i4")
            if pairs.size % 2 or (pairs[::2] != 1).any():
                raise IngestError(f"{source.path}: expected ivecs with one integer per row as ids")
            return pa.array(pairs[1::2].astype(np.int32))
        if source.format != "txt":
            raise IngestError(
                f"{source.path}: expected ids in a .txt, .npy or .ivecs file; convert them"
            )
        lines = path.read_text("utf-8-sig").removesuffix("\n").split("\n")
        ids = pa.array([] if lines == [""] else lines, pa.string())
        return pc.utf8_rtrim(ids, "\r")
