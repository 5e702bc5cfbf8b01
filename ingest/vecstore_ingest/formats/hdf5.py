"""HDF5 files of ann-benchmarks: ``train`` holds the vectors, one per row.

Its other data sets (``test``, ``neighbors``, ``distances``) are queries and their true answers;
benchmarks read those by :func:`open_hdf5`. The library parses in C and was not written for
hostile input; what is known to lead it astray (external files, links out of the file, filters
that are plugins) is refused before a number is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

import numpy as np
import pyarrow as pa

from vecstore.errors import IngestError, MissingDependencyError
from vecstore_ingest.formats.dense import companion_ids, dense_chunks
from vecstore_ingest.formats.reader import START, Chunk, Position, Reader, Source, reading

__all__ = ["Hdf5Reader", "matrix_of", "open_hdf5"]

VECTORS = "train"
# Filters that come with the library or h5py; any other number is a plugin.
_FILTER_NUMBERS = frozenset({1, 2, 3, 4, 5, 6, 32000})
_EXPANSION = 1032  # the most that deflate can make of a byte


@final
class Hdf5Reader(Reader):
    """Read the data set ``train`` of shape (n, d) as the columns id and vector."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        with open_hdf5(source) as file:
            matrix = matrix_of(file, VECTORS, source)
            self._total = int(matrix.shape[0])
        self._ids: pa.Array | None = companion_ids(source, total=self._total)
        self.unique_ids = self._ids is None

    @property
    def total_rows(self) -> int | None:
        """Rows of ``train``."""
        return self._total

    def chunks(
        self,
        start: Position = START,
        *,
        batch_rows: int,
        columns: Sequence[str] | None = None,
    ) -> Iterator[Chunk]:
        """Yield chunks from a row on; compressed blocks before it are not read."""
        with open_hdf5(self.source) as file:
            matrix = matrix_of(file, VECTORS, self.source)
            yield from dense_chunks(
                self.source,
                total=self._total,
                rows=lambda lo, hi: np.asarray(_slice(matrix, lo, hi)),
                ids=self._ids,
                start=start,
                batch_rows=batch_rows,
                columns=columns,
            )


@contextmanager
def open_hdf5(source: Source) -> Iterator[Any]:
    """Open a file for reading.

    Raises
    ------
    IngestError
        It is missing, damaged, or no HDF5 file.
    MissingDependencyError
        h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError(
            "HDF5 files need h5py, which is not installed; run "
            "`pip install 'vecstore[ann-benchmarks]'`"
        ) from error
    with reading(source):
        try:
            file = h5py.File(source.path, "r")
        except RuntimeError as error:
            raise ValueError(str(error)) from error
    try:
        yield file
    finally:
        file.close()


def matrix_of(file: Any, name: str, source: Source) -> Any:
    """Return a data set that is a plain matrix of numbers inside this file.

    Raises
    ------
    IngestError
        It is missing, elsewhere, of another shape or type, needs a plugin, or claims more rows
        than the file can hold.
    """
    import h5py

    with reading(source):
        try:
            link = file.get(name, getlink=True)
            found = file.get(name) if isinstance(link, h5py.HardLink) else None
            if not isinstance(found, h5py.Dataset):
                raise IngestError(
                    f"{source.path}: expected a data set {name!r} in the file itself, as files of "
                    f"ann-benchmarks have; it has {', '.join(map(repr, list(file)[:9])) or 'none'}"
                )
            _require_plain(found, name, source)
        except RuntimeError as error:  # the library's own word for damage
            raise ValueError(str(error)) from error
    return found


def _require_plain(found: Any, name: str, source: Source) -> None:
    """Refuse what is no matrix, or what the file cannot hold."""
    shape, dtype = found.shape, found.dtype
    if shape is None or len(shape) != 2 or dtype.kind not in "fiu" or not shape[1]:
        raise IngestError(
            f"{source.path}: expected {name!r} to be a matrix of numbers, one vector per row, got "
            f"{dtype} of shape {shape}"
        )
    if found.external is not None or found.is_virtual:
        raise IngestError(f"{source.path}: expected {name!r} to lie in the file itself; copy it in")
    plist = found.id.get_create_plist()
    numbers = {plist.get_filter(at)[0] for at in range(plist.get_nfilters())}
    if not numbers <= _FILTER_NUMBERS:
        raise IngestError(
            f"{source.path}: {name!r} is compressed by plugin {sorted(numbers)}; expected gzip, "
            "lzf or szip, write it again"
        )
    stored = found.id.get_storage_size()
    claimed = int(shape[0]) * int(shape[1]) * dtype.itemsize
    if claimed > (stored * _EXPANSION if numbers else stored) or stored > source.size:
        raise IngestError(
            f"{source.path}: {name!r} claims {claimed:,} bytes and {stored:,} are stored; the file "
            "is damaged or was not written to its end"
        )


def _slice(matrix: Any, start: int, stop: int) -> Any:
    """Read rows; the library's RuntimeError is damage, too."""
    try:
        return matrix[start:stop]
    except RuntimeError as error:
        raise ValueError(str(error)) from error
