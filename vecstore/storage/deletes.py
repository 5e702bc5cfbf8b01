"""Delete files: Arrow IPC files of the row ids that a commit took away."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vecstore.errors import CorruptFileError
from vecstore.storage.root import DataRoot, StoredFile

__all__ = ["read_deletes", "write_deletes"]


def write_deletes(root: DataRoot, path: str, row_ids: NDArray[np.int64]) -> StoredFile:
    """Write row ids, ndarray of shape (n,), int64."""
    batch = pa.record_batch([pa.array(row_ids)], names=["row_id"])

    def write(sink: pa.NativeFile) -> None:
        with pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)

    return root.write(path, write)


def read_deletes(root: DataRoot, file: StoredFile) -> NDArray[np.int64]:
    """Return the row ids of a delete file, ndarray of shape (n,), int64."""
    try:
        batch = pa.ipc.open_file(root.map(file)).get_batch(0)
        return np.asarray(batch.column("row_id").to_numpy(zero_copy_only=True))
    except (pa.ArrowException, KeyError) as error:
        raise CorruptFileError(f"{file.path}: not a delete file: {error}") from error
