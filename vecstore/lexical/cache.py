"""LexicalCache: BM25 indexes of a collection, brought up to date when a search needs one.

A cache like every index: it can be deleted at any time and is made again. tantivy commits
atomically and counts document frequencies over all its segments, so new items are added
without building anything anew. Rows are only ever added; whoever searches says which of them
live. Which rows an index holds is read from the index itself: nothing beside it can disagree.
One process at a time opens or extends it, and only what is exactly as it was left.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import final

import numpy as np
import tantivy
from numpy.typing import NDArray

from vecstore.lexical.index import LexicalIndex
from vecstore.lexical.schema import BODY, FORMAT, ROW, open_index
from vecstore.lexical.seal import is_sealed, locked, seal
from vecstore.rows import RowSet
from vecstore.snapshot import Snapshot
from vecstore.storage import durable
from vecstore.storage.failpoints import Failpoint, reach

__all__ = ["LexicalCache"]

_BATCH_ROWS = 10_000
_WRITER_BYTES = 64 << 20


@final
class LexicalCache:
    """Opens the lexical indexes of one collection, one for each language. Thread-safe.

    Parameters
    ----------
    folder : Path or None
        Of the collection's lexical indexes; None keeps them in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._open: dict[str, _OpenIndex] = {}

    def of(self, snapshot: Snapshot, *, language: str) -> LexicalIndex:
        """Return an index that holds every live document of a snapshot."""
        with self._lock:
            opened = self._open.get(language)
            if opened is None:
                folder = None if self._folder is None else self._folder / f"{language}-{FORMAT}"
                opened = self._open[language] = _OpenIndex(folder, language)
            return opened.of(snapshot)


@final
class _OpenIndex:
    """An index on disk or, where the disk refuses, in memory."""

    def __init__(self, folder: Path | None, language: str) -> None:
        self._folder = folder
        self._language = language
        self._known: LexicalIndex | None = None
        self._in_memory = open_index(None, language)
        self._verified: set[tuple[str, str]] = set()

    def of(self, snapshot: Snapshot) -> LexicalIndex:
        """Return the index with the live rows that were missing added."""
        known = self._known
        if known is None or len(snapshot.live - known.rows):
            known = self._known = self._current(snapshot)
        return known

    def _current(self, snapshot: Snapshot) -> LexicalIndex:
        if self._folder is not None:
            try:
                with locked(self._folder):
                    return self._on_disk(self._folder, snapshot)
            except (OSError, ValueError):
                # Full or read-only: this process keeps its own, and no search fails for it.
                self._folder = None
        found = LexicalIndex(self._in_memory, language=self._language)
        return self._caught_up(self._in_memory, found, snapshot)

    def _on_disk(self, folder: Path, snapshot: Snapshot) -> LexicalIndex:
        """Open the folder's index, or begin it anew if it is not what was written last."""
        if not is_sealed(folder, self._verified):
            durable.remove_tree(folder)
        try:
            durable.make_folder(folder)
            index = open_index(str(folder), self._language)
            found = LexicalIndex(index, language=self._language)
            current = self._caught_up(index, found, snapshot)
            if current is not found:
                seal(folder)
        except (OSError, ValueError):
            # A disk that is full needs no half of an index.
            if not is_sealed(folder, set()):
                with suppress(OSError):
                    durable.remove_tree(folder)
            raise
        return current

    def _caught_up(
        self, index: tantivy.Index, found: LexicalIndex, snapshot: Snapshot
    ) -> LexicalIndex:
        """Add what is missing to an index; begin it anew when most of it is dead."""
        known = found.rows
        if not len(snapshot.live - known):
            return found
        writer = index.writer(_WRITER_BYTES)
        if len(known - snapshot.live) > len(snapshot.live):
            writer.delete_all_documents()
            known = RowSet.of([])
        for row, document in _documents(snapshot, (snapshot.live - known).to_array()):
            # An item without a document has no words, but is not looked for again.
            writer.add_document(tantivy.Document(**{ROW: row, BODY: document or ""}))
        reach(Failpoint.LEXICAL_COMMIT, self._folder)
        writer.commit()
        reach(Failpoint.LEXICAL_COMMITTED, self._folder)
        writer.wait_merging_threads()
        index.reload()
        return LexicalIndex(index, language=self._language)


def _documents(snapshot: Snapshot, row_ids: NDArray[np.int64]) -> Iterator[tuple[int, str | None]]:
    """Read documents batch by batch."""
    for start in range(0, len(row_ids), _BATCH_ROWS):
        part = row_ids[start : start + _BATCH_ROWS]
        documents = snapshot.items(part, ["document"]).column("document").to_pylist()
        yield from zip(part.tolist(), documents, strict=True)
