"""Coverage that cascades make, committed in batches and in the background.

A commit costs several disk flushes; a query must not wait for them. Vectors gather for a
moment and are committed together. They can be made again, so a crash in that moment costs
their embedding and nothing else.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import final

import numpy as np
from numpy.typing import NDArray

from vecstore.catalog import SpaceRecord
from vecstore.errors import SpaceMismatchError, VecstoreError
from vecstore.snapshot import Snapshot
from vecstore.writes import Writer

__all__ = ["CoverageWriter", "commit_coverage"]

Write = Callable[[SpaceRecord, NDArray[np.int64], NDArray[np.float32]], None]

_BATCH_ROWS = 1024
# Each commit is a file that later searches scan and a plan they make anew.
_LINGER_S = 2.0
# Vectors that wait for a disk that refuses them; beyond that the oldest are given up.
_MOST_WAITING = 65_536

_log = logging.getLogger(__name__)


@final
class CoverageWriter:
    """Gathers vectors and commits them. Thread-safe.

    A thread lives while vectors wait, and ends with them; the interpreter waits for it.

    Parameters
    ----------
    write : callable
        Commits vectors of one space.
    settled : callable
        Told of the rows that were committed or given up.
    """

    def __init__(self, write: Write, settled: Callable[[SpaceRecord, NDArray[np.int64]], None]):
        self._write = write
        self._settled = settled
        self._changed = threading.Condition()
        self._waiting: list[tuple[SpaceRecord, NDArray[np.int64], NDArray[np.float32]]] = []
        self._thread: threading.Thread | None = None
        self._hurried = 0
        self._added = self._done = 0
        self._failure: VecstoreError | None = None
        self._refusal: SpaceMismatchError | None = None

    def add(
        self, record: SpaceRecord, row_ids: NDArray[np.int64], vectors: NDArray[np.float32]
    ) -> None:
        """Take vectors to be committed soon; returns at once."""
        if not len(row_ids):
            return
        with self._changed:
            self._waiting.append((record, row_ids, vectors))
            self._added += 1
            self._give_up_oldest()
            self._start()
            self._changed.notify_all()

    def flush(self) -> None:
        """Commit what waits, and return when that is done.

        Raises
        ------
        StorageError, CommitConflictError
            It could not be committed. The vectors are kept for another try.
        SpaceMismatchError
            Vectors were those of another space, now or earlier, and are given up.
        """
        self._wait()
        with self._changed:
            refusal, self._refusal = self._refusal, None
        if refusal is not None:
            raise refusal

    def settle(self) -> None:
        """Flush for somebody who only reads: a disk that refuses is not their concern."""
        with suppress(VecstoreError):
            self._wait()

    def _wait(self) -> None:
        """Return when what waits is committed; raise if it cannot be."""
        with self._changed:
            if not self._waiting and self._thread is None:
                return
            self._start()
            self._hurried += 1
            self._changed.notify_all()
            until = self._added
            self._changed.wait_for(lambda: self._thread is None or self._done >= until)
            self._hurried -= 1
            failure = self._failure
        if failure is not None:
            raise failure

    def _start(self) -> None:
        """Start the thread unless it runs; the caller holds the lock."""
        if self._thread is None:
            self._failure = None
            self._thread = threading.Thread(target=self._run, name="vecstore-coverage")
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._due, timeout=_LINGER_S)
                batch, self._waiting = self._waiting, []
                if not batch:
                    self._thread = None
                    self._changed.notify_all()
                    return
            taken = len(batch)
            try:
                self._commit(batch)
            except BaseException as error:
                with self._changed:
                    # The next vectors, or a flush, try again.
                    self._waiting = batch + self._waiting
                    self._thread = None
                    self._failure = error if isinstance(error, VecstoreError) else None
                    self._changed.notify_all()
                if not isinstance(error, VecstoreError):
                    raise
                _log.warning("cascade vectors are not committed yet: %s", error)
                return
            with self._changed:
                self._done += taken
                self._changed.notify_all()

    def _due(self) -> bool:
        return self._hurried > 0 or sum(len(rows) for _, rows, _ in self._waiting) >= _BATCH_ROWS

    def _commit(
        self, batch: list[tuple[SpaceRecord, NDArray[np.int64], NDArray[np.float32]]]
    ) -> None:
        """Commit a batch, one commit for each space."""
        records = {record.id: record for record, _, _ in batch}
        while records:
            space_id, record = records.popitem()
            parts = [part for part in batch if part[0].id == space_id]
            row_ids = np.concatenate([rows for _, rows, _ in parts])
            try:
                self._write(record, row_ids, np.concatenate([vectors for _, _, vectors in parts]))
            except SpaceMismatchError as error:
                # No later try would be accepted.
                _log.warning("cascade vectors are given up: %s", error)
                self._refusal = error
            self._settled(record, row_ids)
            batch[:] = [part for part in batch if part[0].id != space_id]

    def _give_up_oldest(self) -> None:
        while sum(len(rows) for _, rows, _ in self._waiting) > _MOST_WAITING:
            record, row_ids, _ = self._waiting.pop(0)
            self._settled(record, row_ids)


def commit_coverage(
    writer: Writer, record: SpaceRecord, row_ids: NDArray[np.int64], vectors: NDArray[np.float32]
) -> None:
    """Commit vectors of rows; rows that died meanwhile, or have a vector by now, are left out."""

    def rows_of(snapshot: Snapshot) -> NDArray[np.int64]:
        return np.where(snapshot.live.contains(row_ids), row_ids, -1)

    writer.add_vectors(
        space=record.space,
        vectors=record.space.prepare(vectors),
        rows_of=rows_of,
        on_existing="skip",
        tell=_log.warning,
    )
