"""The writing half of a job: rows and the job's state in one commit, bad rows on their way.

The order makes it exact. Rejected rows reach the disk before the commit whose state counts
them; a run that is killed in between leaves bytes that the next run cuts off.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal, final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vecstore import Checkpoint, Collection
from vecstore.errors import (
    AlreadyExistsError,
    IngestError,
    InvalidArgumentError,
    InvalidMetadataError,
    InvalidVectorsError,
    NotFoundError,
    UnsupportedOperationError,
)
from vecstore.guards import Guarding
from vecstore_ingest.formats.reader import BadRow, Chunk, Reader
from vecstore_ingest.prepare import Prepared
from vecstore_ingest.rejects import Rejects
from vecstore_ingest.state import JobState

__all__ = ["Mode", "OnExisting", "Settler"]

Mode = Literal["upsert", "add_vectors"]
OnExisting = Literal["error", "skip", "replace"]

# What the store may say about single rows; a batch that meets one is split to find the row.
_ROW_ERRORS = (
    AlreadyExistsError,
    InvalidArgumentError,
    InvalidMetadataError,
    InvalidVectorsError,
    NotFoundError,
)


# A commit of documents that an encoder must embed first: what a killed job pays for again.
_EMBEDDED_ROWS = 1024


@final
class Settler:
    """Writes the good rows of chunks and rejects the bad ones, keeping the job's state.

    Parameters
    ----------
    job : str
        Name of the checkpoint.
    skip : bool
        Go on after a bad row; otherwise it ends the job.
    space : str or None
        Whose encoder embeds documents that come without vectors; by default the newest one's.
    guard : {"refuse", "warn", "off"}
        Passed on to the store with every batch.
    """

    def __init__(
        self,
        collection: Collection,
        *,
        job: str,
        state: JobState,
        mode: Mode,
        on_existing: OnExisting,
        skip: bool,
        space: str | None,
        guard: Guarding = "refuse",
    ) -> None:
        self._collection = collection
        self._job = job
        self._state = state
        self._mode = mode
        self._on_existing = on_existing
        self._skip = skip
        self._space = space
        self._guard = guard
        self._pending: list[BadRow] = []
        path = state.rejects_path
        self._rejects = Rejects(None if path is None else Path(path), state.rejects)

    @property
    def state(self) -> JobState:
        """The state with what was rejected since the last commit."""
        return replace(self._state, rejects=self._rejects.mark)

    def close(self) -> None:
        """Close the file of rejected rows."""
        self._rejects.close()

    def settle(
        self, index: int, reader: Reader, chunk: Chunk, prepared: Prepared, settled: int
    ) -> None:
        """Write a chunk's good rows from ``settled`` on and reject its bad ones.

        Raises
        ------
        IngestError
            At the first bad row, unless such rows are skipped; those before it are committed.
        """
        bad = [row for row in prepared.bad if row.row >= settled]
        first = int(np.searchsorted(prepared.rows, settled))
        if bad and not self._skip:
            until = bad[0].row
            last = int(np.searchsorted(prepared.rows, until))
            self._write_all(index, reader, chunk, prepared, first, last, until)
            raise _row_error(reader, bad[0])
        self._pending = bad
        self._write_all(index, reader, chunk, prepared, first, len(prepared.rows), chunk.end.row)
        self._reject(reader, chunk.end.row)

    def _write_all(
        self,
        index: int,
        reader: Reader,
        chunk: Chunk,
        prepared: Prepared,
        first: int,
        last: int,
        until: int,
    ) -> None:
        """Commit good rows at once, or step by step where each step costs an encoder's time."""
        step = _EMBEDDED_ROWS if prepared.embed else max(last - first, 1)
        for begin in range(first, last, step):
            end = min(begin + step, last)
            border = until if end == last else int(prepared.rows[end])
            self._write(index, reader, chunk, prepared, begin, end, border)

    def _write(
        self,
        index: int,
        reader: Reader,
        chunk: Chunk,
        prepared: Prepared,
        first: int,
        last: int,
        until: int,
    ) -> None:
        """Commit good rows ``first`` to ``last``, after which the file is settled up to ``until``.

        Rows rejected on the way are on disk before the commit that counts them. If the store
        refuses the rows, they are taken back, and the rows are written in halves.
        """
        if first == last:
            return
        mark, pending = self._rejects.mark, self._pending
        self._reject(reader, until)
        done = until == chunk.end.row
        state = replace(
            self._state,
            source=index,
            start=chunk.end if done else chunk.start,
            settled=until,
            written=self._state.written + last - first,
            batches=self._state.batches + 1,
            rejects=self._rejects.mark,
        )
        rows = slice(first, last)
        try:
            self._commit(prepared, rows, Checkpoint(job=self._job, state=state.to_dict()))
        except UnsupportedOperationError as error:
            self._rejects.rollback(mark)
            names = ", ".join(map(repr, prepared.raw.schema.names))
            raise IngestError(
                f"{reader.source.path}: expected a column of vectors, or a space whose encoder "
                f"embeds the documents; the columns are {names}, and {error}"
            ) from error
        except _ROW_ERRORS as error:
            self._rejects.rollback(mark)
            self._pending = pending
            if last - first == 1:
                refused = prepared.refused(first, str(error))
                if not self._skip:
                    raise _row_error(reader, refused) from error
                self._pending = sorted([*pending, refused], key=lambda row: row.row)
                return
            middle = (first + last) // 2
            border = int(prepared.rows[middle])
            self._write(index, reader, chunk, prepared, first, middle, border)
            self._write(index, reader, chunk, prepared, middle, last, until)
        else:
            self._state = state

    def _reject(self, reader: Reader, until: int) -> None:
        """Write down the bad rows before a row of the file."""
        now = [row for row in self._pending if row.row < until]
        self._pending = [row for row in self._pending if row.row >= until]
        self._rejects.write(reader.source.path, now)

    def _commit(self, prepared: Prepared, rows: slice, checkpoint: Checkpoint) -> None:
        """Write rows to the store; the checkpoint goes with the last of them."""
        if self._mode == "add_vectors":
            ((space, vectors),) = prepared.vectors.items()
            self._collection.add_vectors(
                ids=prepared.ids[rows],
                vectors=vectors[rows],
                space=space,
                on_existing=self._on_existing,
                checkpoint=checkpoint,
                guard=self._guard,
            )
            return
        # Rows without a vector in some space are upserted apart. If the job is killed between
        # two groups, the first is upserted again, which leaves the same items.
        groups = _by_presence({s: p[rows] for s, p in prepared.present.items()})
        size = rows.stop - rows.start
        texts, table = prepared.documents, prepared.metadata
        for number, (spaces, chosen) in enumerate(groups or [((), np.arange(size))]):
            whole = len(chosen) == size
            picked = rows if whole else rows.start + chosen
            taken = pa.array(np.arange(rows.start, rows.stop)[chosen])
            self._collection.upsert(
                ids=prepared.ids.take(taken),
                vectors=None
                if prepared.embed
                else {s: prepared.vectors[s][picked] for s in spaces},
                space=self._space if prepared.embed else None,
                documents=None if texts is None else texts.take(taken),
                metadata=None if table is None else table.take(taken),
                checkpoint=checkpoint if number == max(len(groups), 1) - 1 else None,
                guard=self._guard,
            )


def _by_presence(
    present: dict[str, NDArray[np.bool_]],
) -> list[tuple[tuple[str, ...], NDArray[np.int64]]]:
    """Group rows by the spaces they have vectors in."""
    if not present:
        return []
    table = np.stack(list(present.values()), axis=1)
    patterns, group = np.unique(table, axis=0, return_inverse=True)
    names = np.array(list(present))
    return [
        (tuple(names[pattern].tolist()), np.flatnonzero(group.reshape(-1) == number))
        for number, pattern in enumerate(patterns)
    ]


def _row_error(reader: Reader, bad: BadRow) -> IngestError:
    column = "" if bad.column is None else f", column {bad.column!r}"
    return IngestError(
        f"{reader.source.path}: {reader.where(bad.row)}{column}: {bad.reason}; repair the file and "
        "run the job again, or pass on_error='skip' to go on without bad rows"
    )
