"""Backfill: stored documents without a native vector get one, the most wanted first.

The state of a job is committed with its rows, so a job that was killed goes on where its last
commit ended. What is missing shows in the collection itself; the state only says how much of the
budget is spent, and which version the order is worked out from.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vecstore.catalog import SpaceRecord
from vecstore.encoding import Encoder, embed_documents, require_encoder
from vecstore.errors import EncoderError, InvalidArgumentError, InvalidVectorsError
from vecstore.rows import RowSet
from vecstore.snapshot import Snapshot
from vecstore.storage.columns import numpy_view
from vecstore.upgrade.backfill_job import (
    BackfillProgress,
    BackfillReport,
    BackfillRequest,
    BackfillState,
)
from vecstore.upgrade.claims import Claims
from vecstore.writes import Checkpoint, Writer

__all__ = ["Backfill"]

WINDOW_ROWS = 32_768
"""Documents read at a time. They lie in the order of writing, in groups of some thousand, and
priorities jump: read one batch at a time, every batch would read the whole file."""

_NAP_S = 0.1


@final
class Backfill:
    """One run of a backfill job.

    Parameters
    ----------
    order : ndarray of shape (n,), int64
        Rows that lacked a vector at the job's beginning, the most wanted first.
    latest : callable
        Returns the newest snapshot.
    stop : callable
        Asked between batches.
    committed : callable
        Told after each commit; returns how many translators that made anew.
    """

    def __init__(
        self,
        request: BackfillRequest,
        record: SpaceRecord,
        encoder: Encoder,
        *,
        order: NDArray[np.int64],
        state: BackfillState,
        latest: Callable[[], Snapshot],
        writer: Writer,
        claims: Claims,
        progress: Callable[[BackfillProgress], None] | None,
        stop: Callable[[], bool],
        committed: Callable[[], int],
    ) -> None:
        require_encoder(encoder, record.space)
        self._request = request
        self._record = record
        self._encoder = encoder
        self._order = order
        self._latest = latest
        self._writer = writer
        self._claims = claims
        self._progress = progress
        self._stop = stop
        self._committed = committed
        self._state = self._begun = state
        self._began = time.monotonic()
        self._refusal: InvalidArgumentError | InvalidVectorsError | None = None
        self._without = self._refused = self._elsewhere = self._refits = 0

    def run(self) -> BackfillReport:
        """Embed until the budget is spent, nothing is left, or somebody says stop.

        Raises
        ------
        EncoderError
            The encoder failed; says how many documents are embedded.
        """
        finished = True
        with self._claims:
            for row_ids, texts in self._batches():
                if self._stop() or not self._paced():
                    finished = False
                    break
                self._embed(row_ids, texts)
                if self._left == 0:
                    break
        snapshot = self._latest()
        native, live = len(snapshot.native(self._request.to)), len(snapshot.live)
        return BackfillReport(
            to=self._request.to,
            embedded=self._state.done,
            resumed_from=self._begun.done,
            without_document=self._without,
            refused=self._refused,
            elsewhere=self._elsewhere,
            missing=live - native,
            coverage=native / live if live else 0.0,
            finished=finished,
            refits=self._refits,
            version=snapshot.version,
            seconds=time.monotonic() - self._began,
        )

    @property
    def _left(self) -> int | None:
        """Return how much of the budget is left; None without one."""
        budget = self._request.budget
        return None if budget is None else max(budget - self._state.done, 0)

    def _batches(self) -> Iterator[tuple[NDArray[np.int64], list[str]]]:
        """Yield rows that nobody has embedded or claimed, with their documents."""
        if self._left == 0:
            return
        deferred: list[NDArray[np.int64]] = []
        # A second look at what others had claimed: they may have been killed.
        for rows, last in ((self._order, False), (None, True)):
            if rows is None:
                rows = np.concatenate(deferred) if deferred else np.empty(0, np.int64)
            for start in range(0, len(rows), WINDOW_ROWS):
                window, texts = self._documents(rows[start : start + WINDOW_ROWS], count=not last)
                while len(window):
                    size = self._batch_rows()
                    batch, window = window[:size], window[size:]
                    free = self._claims.take(batch)
                    taken = batch[~np.isin(batch, free)]
                    if last:
                        self._elsewhere += len(taken)
                    else:
                        deferred.append(taken)
                    # Looked at after the claim: who had claimed them before may have committed.
                    free = free[self._wanted().contains(free)]
                    if len(free):
                        yield free, [texts[row] for row in free.tolist()]

    def _wanted(self) -> RowSet:
        """Return the rows that live and lack a vector now."""
        snapshot = self._latest()
        return snapshot.live - snapshot.native(self._request.to)

    def _batch_rows(self) -> int:
        """Return how many documents go at once: of a slow pace no more than a second's worth."""
        size = self._request.batch
        if self._request.rate is not None:
            size = min(size, max(int(self._request.rate), 1))
        return size if self._left is None else min(size, self._left)

    def _documents(
        self, rows: NDArray[np.int64], *, count: bool
    ) -> tuple[NDArray[np.int64], dict[int, str]]:
        """Return the rows of a window that have a document, in their order, and the documents."""
        rows = rows[self._wanted().contains(rows)]
        if not len(rows):
            return rows, {}
        snapshot = self._latest()
        column: pa.ChunkedArray = snapshot.items(rows, ["document"]).column("document")
        present = numpy_view(column.is_valid())
        if count:
            self._without += int((~present).sum())
        kept = rows[present]
        return kept, dict(zip(kept.tolist(), column.drop_null().to_pylist(), strict=True))

    def _embed(self, row_ids: NDArray[np.int64], texts: list[str]) -> None:
        """Embed a batch and commit it with the state of the job."""
        try:
            made, vectors = self._vectors(row_ids, texts)
        except EncoderError as error:
            raise EncoderError(
                f"{error}. {self._state.done:,} documents of this job are embedded; run it again "
                "to go on"
            ) from error
        if not len(made):
            if len(texts) > 1 and self._refusal is not None:
                raise self._refusal  # not one document is at fault but the encoder
            return
        state = replace(self._state, done=self._state.done + len(made))
        space = self._record.space
        self._writer.add_vectors(
            space=space,
            vectors=space.prepare(vectors),
            rows_of=lambda snapshot: np.where(snapshot.live.contains(made), made, -1),
            on_existing="skip",
            checkpoint=Checkpoint(job=self._request.job(self._record), state=asdict(state)),
        )
        self._state = state
        self._refits += self._committed()
        if self._progress is not None:
            self._progress(self._told())

    def _vectors(
        self, row_ids: NDArray[np.int64], texts: list[str]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Embed texts; a batch that is refused goes in halves, until a single text is at fault."""
        try:
            return row_ids, embed_documents(self._encoder, self._record.space, texts)
        except (InvalidArgumentError, InvalidVectorsError) as error:
            if len(texts) == 1:
                self._refusal = error
                self._refused += 1
                return row_ids[:0], np.empty((0, self._record.space.dim), np.float32)
            half = len(texts) // 2
            first = self._vectors(row_ids[:half], texts[:half])
            second = self._vectors(row_ids[half:], texts[half:])
            return np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1]])

    def _paced(self) -> bool:
        """Wait until the pace allows another batch; return False if told to stop meanwhile."""
        if self._request.rate is None:
            return True
        due = self._began + (self._state.done - self._begun.done) / self._request.rate
        while (left := due - time.monotonic()) > 0:
            time.sleep(min(left, _NAP_S))
            if self._stop():
                return False
        return True

    def _told(self) -> BackfillProgress:
        done, seconds = self._state.done, time.monotonic() - self._began
        total = len(self._order) + self._begun.done - self._without - self._refused
        if self._request.budget is not None:
            total = min(total, self._request.budget)
        own = done - self._begun.done
        return BackfillProgress(
            done=done,
            total=max(total, done),
            without_document=self._without,
            seconds=seconds,
            eta_seconds=(total - done) * seconds / own if own else None,
        )
