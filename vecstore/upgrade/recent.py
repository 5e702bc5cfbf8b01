"""The last queries of each space: who tunes an index or refits a translator can ask real questions.

They are in memory, and a sample of them is kept beside the data, because it is rarely the process
that answers queries that builds the indexes. The sample is a cache: it belongs to no version, no
backup carries it, and one that cannot be read or written is as good as none.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Set
from typing import final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vecstore.errors import CorruptFileError, InvalidArgumentError, StorageError
from vecstore.storage.root import DataRoot, checksum
from vecstore.storage.vectors import parse_vectors, write_vectors

__all__ = ["RecentQueries", "keeps_queries"]

VARIABLE = "VECSTORE_KEEP_QUERIES"

_SUFFIX = ".arrow"
_MOST = 512
_WORTH_WRITING = 32

_log = logging.getLogger(__name__)


@final
class RecentQueries:
    """A bounded number of query vectors by space. Thread-safe.

    Parameters
    ----------
    root : DataRoot
    folder : str
        Where samples are kept, below the root, one file for each space.
    kept : bool
        Whether there are to be any; if not, :meth:`save` removes what is there.
    """

    def __init__(self, root: DataRoot, folder: str, *, kept: bool) -> None:
        self._root = root
        self._folder = folder
        self._kept = kept
        self._cleared = False
        self._lock = threading.Lock()
        self._rings: dict[str, _Ring] = {}

    def add(self, space_id: str, queries: NDArray[np.float32]) -> None:
        """Remember queries, ndarray of shape (n, dim), in the place of the oldest."""
        with self._lock:
            ring = self._rings.get(space_id)
            if ring is None:
                ring = self._rings[space_id] = _Ring(queries.shape[1])
            ring.add(queries)

    def of(self, space_id: str, *, least: int) -> NDArray[np.float32] | None:
        """Return the last queries of a space, ndarray of shape (n, dim), those of others first.

        None if there are fewer than ``least``.
        """
        with self._lock:
            ring = self._rings.get(space_id)
            own = None if ring is None else ring.last(_MOST)
        kept = self._read(space_id) if self._kept and (own is None or len(own) < _MOST) else None
        known = _joined(kept, own)
        return known if known is not None and len(known) >= least else None

    def save(self, living: Callable[[], Set[str]]) -> None:
        """Keep a sample of what came in since the last time, for each space where it is enough.

        Parameters
        ----------
        living : callable
            Returns the ids of the spaces there are; asked where there is something to keep.
        """
        if not self._kept:
            if not self._cleared:
                self._root.remove_tree(self._folder)
                self._cleared = True
            return
        with self._lock:
            due = {s: ring for s, ring in self._rings.items() if ring.unsaved >= _WORTH_WRITING}
        if not due:
            return
        spaces = living()
        for space_id, ring in due.items():
            with self._lock:
                new, ring.unsaved = ring.last(ring.unsaved), 0
            known = _joined(self._read(space_id), _half(new).astype(np.float32))
            if known is not None and space_id in spaces:
                self._write(space_id, _half(known))

    def keep_only(self, spaces: Set[str]) -> None:
        """Forget what the other spaces were asked, here and in the files."""
        with self._lock:
            for space_id in self._rings.keys() - spaces:
                del self._rings[space_id]
        for file in self._root.found(self._folder):
            if file.path.rpartition("/")[2].removesuffix(_SUFFIX) not in spaces:
                self._root.remove(file.path)

    def _path(self, space_id: str) -> str:
        return f"{self._folder}/{space_id}{_SUFFIX}"

    def _write(self, space_id: str, queries: NDArray[np.float16]) -> None:
        numbers = np.arange(len(queries), dtype=np.int64)
        labels = _labels(space_id, queries)
        try:
            path = self._path(space_id)
            write_vectors(self._root, path, row_ids=numbers, vectors=queries, labels=labels)
        except StorageError as error:
            _log.info("recent queries are not kept: %s", error)

    def _read(self, space_id: str) -> NDArray[np.float32] | None:
        """Return the kept sample, ndarray of shape (n, dim); None without one that is whole."""
        path = self._path(space_id)
        buffer = self._root.map_cache(path)
        if buffer is None:
            return None
        try:
            segment, found = parse_vectors(buffer, path=path)
            if found != _labels(space_id, segment.vectors):
                raise CorruptFileError(f"{path}: its content is not what was written")
        except CorruptFileError as error:
            _log.warning("kept queries are ignored, and written anew: %s", error)
            return None
        return segment.vectors.astype(np.float32)


@final
class _Ring:
    """The last rows added, and how many of them are in no file."""

    def __init__(self, dim: int) -> None:
        self._rows = np.empty((_MOST, dim), np.float32)
        self._added = 0
        self.unsaved = 0

    def add(self, rows: NDArray[np.float32]) -> None:
        """Take rows in; of more than there are places, the last."""
        rows = rows[-_MOST:]
        self._rows[np.arange(self._added, self._added + len(rows)) % _MOST] = rows
        self._added += len(rows)
        self.unsaved = min(self.unsaved + len(rows), _MOST)

    def last(self, count: int) -> NDArray[np.float32]:
        """Return the last rows that are there, at most so many, oldest first."""
        count = min(count, self._added, _MOST)
        return self._rows[np.arange(self._added - count, self._added) % _MOST]


def _half(queries: NDArray[np.float32]) -> NDArray[np.float16]:
    """Return queries at half precision, without those that it cannot hold."""
    with np.errstate(over="ignore"):
        halves = queries.astype(np.float16)
    return halves[np.isfinite(halves).all(axis=1)]


def _joined(
    before: NDArray[np.float32] | None, after: NDArray[np.float32] | None
) -> NDArray[np.float32] | None:
    """Return the last of two samples in a row, what is in both from the second; None of neither."""
    if before is None or after is None or not len(after):
        return after if before is None else before
    with np.errstate(over="ignore"):
        again = {row.tobytes() for row in after.astype(np.float16)}
        new = [row.tobytes() not in again for row in before.astype(np.float16)]
    return np.concatenate([before[new], after])[-_MOST:]


def _labels(space_id: str, queries: NDArray[np.float16]) -> dict[str, str]:
    return {
        "vecstore.format": "1",
        "vecstore.space": space_id,
        "vecstore.content": checksum(pa.py_buffer(np.ascontiguousarray(queries))),
    }


def keeps_queries(wished: bool | None) -> bool:
    """Return whether samples of queries are kept: as wished, else as the environment says, else so.

    Raises
    ------
    InvalidArgumentError
        The environment says neither.
    """
    if wished is not None:
        return wished
    said = os.environ.get(VARIABLE, "1").strip().lower()
    if said not in ("0", "1", "no", "yes", "off", "on", "false", "true"):
        raise InvalidArgumentError(
            f"expected the environment variable {VARIABLE} to be 0 or 1, got {said!r}"
        )
    return said in ("1", "yes", "on", "true")
