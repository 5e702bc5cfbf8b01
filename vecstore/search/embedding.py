"""Who embeds the documents of shortlists: one query alone, or all queries of a process together.

Concurrent cascades want the same documents. :class:`SharedEmbedder` gives each to the encoder
once, whoever asks, and hands the vectors to a writer that commits them in the background, so
that no query waits for a disk.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from vecstore.catalog import SpaceRecord
from vecstore.encoding import Encoder, embed_documents
from vecstore.snapshot import Snapshot
from vecstore.storage.columns import numpy_view

__all__ = ["DirectEmbedder", "DocumentEmbedder", "Made", "SharedEmbedder"]

Made: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float32]]


class DocumentEmbedder(ABC):
    """Gives rows native vectors."""

    @abstractmethod
    def embed(
        self, snapshot: Snapshot, record: SpaceRecord, encoder: Encoder, row_ids: NDArray[np.int64]
    ) -> Made:
        """Embed the documents of rows.

        Parameters
        ----------
        row_ids : ndarray of shape (n,), int64, ascending

        Returns
        -------
        row_ids : ndarray of shape (m,), int64, ascending
            Those that have a document.
        vectors : ndarray of shape (m, dim), float32
            As the space prepares them.
        """


@final
class DirectEmbedder(DocumentEmbedder):
    """Embeds for one query and forgets."""

    def embed(
        self, snapshot: Snapshot, record: SpaceRecord, encoder: Encoder, row_ids: NDArray[np.int64]
    ) -> Made:
        """See :meth:`DocumentEmbedder.embed`."""
        documents = snapshot.items(row_ids, ["document"]).column("document")
        present = numpy_view(documents.is_valid())
        vectors = embed_documents(encoder, record.space, documents.drop_null().to_pylist())
        return row_ids[present], vectors


@final
class SharedEmbedder(DocumentEmbedder):
    """Embeds each document once, however many queries want it. Thread-safe.

    Parameters
    ----------
    keep : callable
        Given a space's record, row ids and vectors as soon as they are made. What it keeps is
        remembered here until :meth:`forget`, for queries that read an older version.
    """

    def __init__(
        self, keep: Callable[[SpaceRecord, NDArray[np.int64], NDArray[np.float32]], None]
    ) -> None:
        self._keep = keep
        self._alone = DirectEmbedder()
        self._lock = threading.Lock()
        self._promised: dict[tuple[str, int], Future[NDArray[np.float32] | None]] = {}

    def embed(
        self, snapshot: Snapshot, record: SpaceRecord, encoder: Encoder, row_ids: NDArray[np.int64]
    ) -> Made:
        """See :meth:`DocumentEmbedder.embed`."""
        mine: list[int] = []
        with self._lock:
            wanted = []
            for row in row_ids.tolist():
                promise = self._promised.get((record.id, row))
                if promise is None:
                    promise = self._promised[record.id, row] = Future()
                    mine.append(row)
                wanted.append(promise)
        # Its own first: whoever waits for others has nothing left that others could wait for.
        self._fulfil(snapshot, record, encoder, np.array(mine, dtype=np.int64))
        vectors = [promise.result() for promise in wanted]
        made = [number for number, vector in enumerate(vectors) if vector is not None]
        stacked = np.empty((len(made), record.space.dim), dtype=np.float32)
        for place, number in enumerate(made):
            stacked[place] = vectors[number]
        return row_ids[made], stacked

    def forget(self, record: SpaceRecord, row_ids: NDArray[np.int64]) -> None:
        """Forget vectors that the store has by now, or will never have."""
        with self._lock:
            for row in row_ids.tolist():
                self._promised.pop((record.id, row), None)

    def _fulfil(
        self, snapshot: Snapshot, record: SpaceRecord, encoder: Encoder, mine: NDArray[np.int64]
    ) -> None:
        """Embed the rows that nobody else is embedding."""
        if not len(mine):
            return
        try:
            made, vectors = self._alone.embed(snapshot, record, encoder, mine)
        except BaseException as error:
            # Those who wait learn of it; the next query tries again.
            for _row, promise in self._promises(record, mine):
                promise.set_exception(error)
            self.forget(record, mine)
            raise
        vector_of = dict(zip(made.tolist(), vectors, strict=True))
        for row, promise in self._promises(record, mine):
            promise.set_result(vector_of.get(row))
        self.forget(record, np.setdiff1d(mine, made))
        self._keep(record, made, vectors)

    def _promises(
        self, record: SpaceRecord, row_ids: NDArray[np.int64]
    ) -> list[tuple[int, Future[NDArray[np.float32] | None]]]:
        with self._lock:
            return [(row, self._promised[record.id, row]) for row in row_ids.tolist()]
