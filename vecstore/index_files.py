"""IndexFiles: the registered indexes of a collection, opened for searching."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, final

from vecstore.catalog import IndexRecord
from vecstore.errors import CorruptFileError, MissingDependencyError, StorageError
from vecstore.indexes.base import Index
from vecstore.indexes.registry import get_index
from vecstore.search.prepare import OpenIndex
from vecstore.storage.root import DataRoot

__all__ = ["IndexFiles"]


@final
class IndexFiles:
    """Opens the registered indexes of one collection, each once. Thread-safe.

    An index that is missing or damaged is left out, and search scans exactly: an index is a
    cache. What was left out and why is kept for ``info``.
    """

    def __init__(self, root: DataRoot) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._open: dict[str, Index[Any]] = {}
        self.unusable: dict[str, str] = {}

    def open(self, records: Sequence[IndexRecord]) -> list[OpenIndex]:
        """Return those of the records that can be opened."""
        with self._lock:
            opened = []
            for record in records:
                if record.id not in self._open and record.id not in self.unusable:
                    try:
                        path = self._root.local_path(record.file)
                        self._open[record.id] = get_index(record.kind).read(path, check=False)
                    except (CorruptFileError, StorageError, MissingDependencyError) as error:
                        self.unusable[record.id] = str(error)
                if record.id in self._open:
                    opened.append((record, self._open[record.id]))
            return opened
