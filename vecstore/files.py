"""FileWriter: new files of a collection, with the record that a commit registers them by."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from typing import Any, TypedDict, final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vecstore.catalog import CollectionRecord, FileRecord, SpaceRecord
from vecstore.errors import StorageError
from vecstore.snapshot import vector_labels
from vecstore.storage.columns import numpy_view
from vecstore.storage.deletes import Deletes, write_deletes
from vecstore.storage.items import write_items
from vecstore.storage.root import DataRoot
from vecstore.storage.vectors import write_vectors

__all__ = ["FileWriter", "side_by_side"]


@final
class FileWriter:
    """Writes files that belong to no version yet; a crash leaves garbage at most."""

    def __init__(self, root: DataRoot, collection: CollectionRecord) -> None:
        self._root = root
        self._collection = collection

    def items(self, table: pa.Table) -> FileRecord:
        """Write rows; ``table`` starts with row_id (ascending), id and document."""
        name = uuid.uuid4().hex
        file = write_items(self._root, self._path("items", f"{name}.parquet"), table)
        row_ids = numpy_view(table.column("row_id"))
        return FileRecord(id=name, kind="items", file=file, **_extent(row_ids))

    def vectors(
        self,
        record: SpaceRecord,
        row_ids: NDArray[np.int64],
        vectors: NDArray[Any],
        versions: NDArray[np.int64] | None = None,
    ) -> FileRecord:
        """Write vectors of a space; ``versions`` if several commits made them."""
        name = uuid.uuid4().hex
        file = write_vectors(
            self._root,
            self._path("vectors", record.directory, f"{name}.arrow"),
            row_ids=row_ids,
            vectors=vectors,
            labels=vector_labels(record),
            versions=versions,
        )
        return FileRecord(
            id=name, kind="vectors", file=file, space_id=record.id, **_extent(row_ids)
        )

    def deletes(self, row_ids: NDArray[np.int64], space_id: str | None = None) -> FileRecord:
        """Write rows that the commit takes away, or only their vectors in a space."""
        return self._deletes(row_ids, None, space_id)

    def folded_deletes(self, deletes: Deletes, space_id: str | None) -> FileRecord:
        """Write rows that earlier commits took away."""
        return self._deletes(deletes.row_ids, deletes.versions, space_id)

    def _deletes(
        self,
        row_ids: NDArray[np.int64],
        versions: NDArray[np.int64] | None,
        space_id: str | None,
    ) -> FileRecord:
        name = uuid.uuid4().hex
        path = self._path("deletes", f"{name}.arrow")
        file = write_deletes(self._root, path, row_ids, versions)
        return FileRecord(id=name, kind="deletes", file=file, space_id=space_id, **_extent(row_ids))

    @contextmanager
    def unless_refused(self, written: Callable[[], list[FileRecord]]) -> Iterator[None]:
        """Remove what :func:`side_by_side` writes if the block, before any commit, raises."""
        try:
            yield
        except BaseException:
            with suppress(StorageError):  # the refusal is what the caller must hear
                for record in written():
                    self._root.remove(record.file.path)
            raise

    def _path(self, *parts: str) -> str:
        return "/".join(("data", self._collection.directory, *parts))


@contextmanager
def side_by_side(
    writes: Sequence[Callable[[], FileRecord]],
) -> Iterator[Callable[[], list[FileRecord]]]:
    """Write files, each in a thread of its own, while the block does what needs none of them.

    Most of a write is waiting for the disk, which takes what several threads sync at once.

    Yields
    ------
    callable
        Waits for all and returns their records in order, or raises what stopped the first that
        failed. The block is left when all have ended, whatever became of them.
    """
    files: list[Future[FileRecord]] = [Future() for _ in writes]

    def run(write: Callable[[], FileRecord], file: Future[FileRecord]) -> None:
        try:
            file.set_result(write())
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            file.set_exception(error)

    for each in zip(writes, files, strict=True):
        try:  # not a pool, which refuses work when the interpreter is about to end
            threading.Thread(target=run, args=each, name="vecstore-write").start()
        except RuntimeError:  # no thread can be had
            run(*each)
    try:
        yield lambda: [file.result() for file in files]
    finally:
        wait(files)


class _Extent(TypedDict):
    rows: int
    min_row_id: int
    max_row_id: int


def _extent(row_ids: NDArray[np.int64]) -> _Extent:
    return {
        "rows": len(row_ids),
        "min_row_id": int(row_ids.min()),
        "max_row_id": int(row_ids.max()),
    }
