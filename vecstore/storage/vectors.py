"""Vector segments: Arrow IPC files of (row_id, vector), memory-mapped when read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vecstore.errors import CorruptFileError
from vecstore.storage.columns import arrow_view, numpy_view
from vecstore.storage.root import DataRoot, StoredFile

__all__ = ["VectorSegment", "parse_vectors", "put_vectors", "read_vectors", "write_vectors"]


_MAGIC = b"ARROW1"


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class VectorSegment:
    """The rows of one vector file.

    Attributes
    ----------
    row_ids : ndarray of shape (n,), int64, ascending
    vectors : ndarray of shape (n, dim), float32 or float16, read-only memory map
    versions : ndarray of shape (n,), int64, or None
        The commit that wrote each vector, in a file that compaction made of several; None if
        the version that added the file wrote them all.
    """

    row_ids: NDArray[np.int64]
    vectors: NDArray[Any]
    versions: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.row_ids)


def write_vectors(
    root: DataRoot,
    path: str,
    *,
    row_ids: NDArray[np.int64],
    vectors: NDArray[Any],
    labels: dict[str, str],
    versions: NDArray[np.int64] | None = None,
) -> StoredFile:
    """Write one segment.

    Parameters
    ----------
    row_ids : ndarray of shape (n,), int64, ascending
    vectors : ndarray of shape (n, dim), float32 or float16, C-contiguous
    versions : ndarray of shape (n,), int64, optional
        See :class:`VectorSegment`.
    labels : dict
        What the file belongs to (the space's fingerprint); checked when it is read.
    """

    def write(sink: pa.NativeFile) -> None:
        put_vectors(sink, row_ids=row_ids, vectors=vectors, labels=labels, versions=versions)

    return root.write(path, write)


def put_vectors(
    sink: pa.NativeFile,
    *,
    row_ids: NDArray[np.int64],
    vectors: NDArray[Any],
    labels: dict[str, str],
    versions: NDArray[np.int64] | None = None,
) -> None:
    """Write the bytes of one segment; see :func:`write_vectors`."""
    column = pa.FixedSizeListArray.from_arrays(arrow_view(vectors.reshape(-1)), vectors.shape[1])
    columns = {"row_id": arrow_view(row_ids), "vector": column}
    if versions is not None:
        columns["version"] = arrow_view(versions)
    batch = pa.record_batch(columns).replace_schema_metadata(labels)
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)


def read_vectors(
    root: DataRoot, file: StoredFile, *, dim: int, labels: dict[str, str]
) -> VectorSegment:
    """Map one segment.

    Raises
    ------
    CorruptFileError
        The checksum, the labels or the layout are not those that were written.
    """
    segment, found = parse_vectors(root.map(file), path=file.path, dim=dim)
    if found != labels:
        raise CorruptFileError(
            f"{file.path}: expected a file of {labels}, found one of {found}; it belongs to "
            "something else. Restore the right file from a backup"
        )
    return segment


def parse_vectors(
    buffer: pa.Buffer, *, path: str, dim: int | None = None
) -> tuple[VectorSegment, dict[str, str]]:
    """Return the rows of a mapped file, without a copy, and its labels; ``dim`` None takes any.

    Raises
    ------
    CorruptFileError
        The bytes are not a vector segment of ``dim`` dimensions.
    """
    try:
        if bytes(buffer.slice(0, len(_MAGIC))) != _MAGIC:
            raise ValueError("it does not begin like an Arrow file")
        reader = pa.ipc.open_file(buffer)
        labels = {k.decode(): v.decode() for k, v in (reader.schema.metadata or {}).items()}
        batch = reader.get_batch(0)
        row_ids = numpy_view(batch.column("row_id"))
        column = batch.column("vector")
        if dim not in (None, column.type.list_size):
            raise ValueError(f"its vectors have {column.type.list_size} dimensions")
        dim = column.type.list_size
        if column.null_count:
            raise ValueError("a row has no vector")
        values = numpy_view(column.values)[
            column.offset * dim : (column.offset + len(column)) * dim
        ]
        segment = VectorSegment(
            row_ids=row_ids,
            vectors=values.reshape(len(row_ids), dim),
            versions=numpy_view(batch.column("version"))
            if "version" in batch.schema.names
            else None,
        )
    except (pa.ArrowException, AttributeError, KeyError, ValueError, OSError) as error:
        raise CorruptFileError(
            f"{path}: not a vector segment of {dim} dimensions: {error}"
        ) from error
    return segment, labels
