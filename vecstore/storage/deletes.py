"""Delete files: Arrow IPC files of the row ids that commits took away."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vecstore.errors import CorruptFileError
from vecstore.storage.columns import arrow_view, numpy_view
from vecstore.storage.root import DataRoot, StoredFile

__all__ = ["Deletes", "read_deletes", "write_deletes"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Deletes:
    """Rows that died, each in one commit: all that was written of it before is dead.

    Attributes
    ----------
    row_ids : ndarray of shape (n,), int64, ascending and unique
    versions : ndarray of shape (n,), int64
        The last commit that took each row away.
    """

    row_ids: NDArray[np.int64]
    versions: NDArray[np.int64]

    @classmethod
    def of(cls, parts: Iterable[Deletes]) -> Deletes:
        """Join several, keeping the last commit of each row."""
        nothing, parts = np.empty(0, np.int64), list(parts)
        rows = np.concatenate([nothing, *(part.row_ids for part in parts)])
        versions = np.concatenate([nothing, *(part.versions for part in parts)])
        order = np.lexsort((versions, rows))
        rows, versions = rows[order], versions[order]
        last = np.append(rows[1:] != rows[:-1], True)[: len(rows)]
        return cls(row_ids=rows[last], versions=versions[last])

    def __len__(self) -> int:
        return len(self.row_ids)

    def kills(
        self, row_ids: NDArray[np.int64], written: NDArray[np.int64] | int
    ) -> NDArray[np.bool_]:
        """Say which rows died after the version that wrote them."""
        if not len(self):
            return np.zeros(len(row_ids), dtype=bool)
        place = np.minimum(np.searchsorted(self.row_ids, row_ids), len(self) - 1)
        dead: NDArray[np.bool_] = self.row_ids[place] == row_ids
        return dead & (self.versions[place] > written)


def write_deletes(
    root: DataRoot,
    path: str,
    row_ids: NDArray[np.int64],
    versions: NDArray[np.int64] | None = None,
) -> StoredFile:
    """Write row ids, ndarray of shape (n,), int64; versions if one commit did not take them all."""
    columns = {"row_id": arrow_view(row_ids)}
    if versions is not None:
        columns["version"] = arrow_view(versions)
    batch = pa.record_batch(columns)

    def write(sink: pa.NativeFile) -> None:
        with pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)

    return root.write(path, write)


def read_deletes(root: DataRoot, file: StoredFile, *, added_version: int) -> Deletes:
    """Return the rows of a delete file that a version added."""
    try:
        batch = pa.ipc.open_file(root.map(file)).get_batch(0)
        row_ids = numpy_view(batch.column("row_id"))
        if "version" in batch.schema.names:
            versions = numpy_view(batch.column("version"))
        else:
            versions = np.full(len(row_ids), added_version, dtype=np.int64)
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise CorruptFileError(f"{file.path}: not a delete file: {error}") from error
    return Deletes.of([Deletes(row_ids=row_ids, versions=versions)])
