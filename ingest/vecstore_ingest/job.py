"""Ingest jobs: files into a collection, exactly once, whatever happens on the way.

The state of a job is committed in the transaction that makes its rows visible, so a job
killed anywhere and run again does what is left and ends with the rows of one clean run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Literal, final, get_args

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
)
from vecstore_ingest.columns import Fault
from vecstore_ingest.formats import open_reader, with_format
from vecstore_ingest.formats.reader import START, BadRow, Chunk, Position, Reader, Source, reading
from vecstore_ingest.mapping import ColumnMapping, Resolved
from vecstore_ingest.prepare import Prepared, prepare
from vecstore_ingest.rejects import Rejects
from vecstore_ingest.seen import SeenIds
from vecstore_ingest.state import JobState, job_name

__all__ = ["IngestProgress", "IngestReport", "ingest"]

Mode = Literal["upsert", "add_vectors"]
OnError = Literal["stop", "skip"]
OnExisting = Literal["error", "skip", "replace"]
SourceLike = str | PathLike[str] | Source

_BATCH_BYTES = 64 << 20
_MAX_BATCH_ROWS = 65_536
_MIN_BATCH_ROWS = 1_024

# What the store may say about single rows; a batch that meets one is split to find the row.
_ROW_ERRORS = (
    AlreadyExistsError,
    InvalidArgumentError,
    InvalidMetadataError,
    InvalidVectorsError,
    NotFoundError,
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class IngestProgress:
    """Where a job is, after each batch; counts include what earlier runs of it did.

    ``fraction`` is the share of the bytes of all files, in 0..1, or None where it is unknown
    (standard input, compressed text).
    """

    file: str
    rows_read: int
    rows_written: int
    rows_rejected: int
    fraction: float | None
    seconds: float


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What a job did in all its runs; ``seconds`` and ``resumed_from`` are of the last one.

    ``resumed_from`` is the number of rows that earlier, interrupted runs had settled, and
    ``batches`` counts commits.
    """

    rows_read: int
    rows_written: int
    rows_rejected: int
    batches: int
    seconds: float
    resumed_from: int


def ingest(
    collection: Collection,
    sources: SourceLike | Sequence[SourceLike],
    *,
    mapping: ColumnMapping | None = None,
    space: str | None = None,
    format: str | None = None,
    batch_rows: int | None = None,
    mode: Mode = "upsert",
    on_existing: OnExisting = "error",
    on_error: OnError = "stop",
    rejects: str | PathLike[str] | None = None,
    progress: Callable[[IngestProgress], None] | None = None,
    resume: bool = True,
) -> IngestReport:
    """Read files into a collection, in batches that are committed one by one.

    A job that was interrupted goes on where its last commit ended when the same call is made
    again: the same files, mapping and target. A finished job forgets where it was, so calling
    again after that reads everything again.

    Parameters
    ----------
    collection : Collection
        Must have the spaces that vectors go to.
    sources : str, path, Source, or a sequence of them
        Read in order as one job. ``"-"`` is standard input.
    mapping : ColumnMapping, optional
        Which column is what; what it leaves out is found by name.
    space : str, optional
        Where vectors go whose column is not named like a space.
    format : str, optional
        A name of ``FORMATS``, for all files; by default their extensions decide.
    batch_rows : int, optional
        Rows per commit; by default about 64 MiB of vectors. A resumed job keeps its own.
    mode : {"upsert", "add_vectors"}
        Write items, or attach vectors of one space to items that exist.
    on_existing : {"error", "skip", "replace"}
        For "add_vectors": what to do where the item has a vector in the space.
    on_error : {"stop", "skip"}
        At a bad row, stop with every row before it committed, or go on without it. Bad are:
        a null, empty or overlong id; an id that an earlier row of the job has, good or bad;
        a vector of another dimension, with NaN or infinity, or zero under cosine; a line that
        cannot be parsed; whatever else the store refuses for a row.
    rejects : path, optional
        Under "skip", a JSONL file for the bad rows: file, row (counted from 0), column,
        reason and the raw row. A new job begins it anew; a resumed one continues it.
    progress : callable, optional
        Called with an :class:`IngestProgress` after each batch.
    resume : bool
        If false, forget an interrupted run of this job and begin anew.

    Returns
    -------
    IngestReport

    Raises
    ------
    IngestError
        A file is missing, damaged or of unknown format, a column is missing, or a row is
        bad; names file, row and column, and how many rows are committed.
    InvalidArgumentError
        An option is outside its domain.
    """
    many = [sources] if isinstance(sources, (str, PathLike, Source)) else list(sources)
    files = [with_format(_as_source(source, format)) for source in many]
    _check_options(files, batch_rows=batch_rows, mode=mode, on_error=on_error, rejects=rejects)
    mapping = mapping or ColumnMapping()
    name = job_name(
        files,
        mapping=mapping.to_dict(),
        collection=collection.name,
        space=space,
        mode=mode,
        on_existing=on_existing,
    )
    if not resume:
        collection.clear_checkpoint(name)
    saved = collection.checkpoint(name)
    path = None if rejects is None else str(Path(rejects).resolve())
    if saved is None:
        state = JobState(batch_rows=batch_rows or _batch_rows(collection), rejects_path=path)
    else:
        state = _resumed(JobState.from_dict(saved), path)
    job = _Job(
        collection,
        files,
        name=name,
        mapping=mapping,
        space=space,
        mode=mode,
        on_existing=on_existing,
        skip=on_error == "skip",
        state=state,
        progress=progress,
    )
    return job.run()


def _as_source(source: SourceLike, format: str | None) -> Source:
    if not isinstance(source, Source):
        return Source(path=fspath(source), format=format)
    return source if source.format else replace(source, format=format)


def _check_options(
    files: Sequence[Source],
    *,
    batch_rows: int | None,
    mode: str,
    on_error: str,
    rejects: object,
) -> None:
    """Refuse options that make no job."""
    if not files:
        raise InvalidArgumentError("expected at least one file to ingest, got none")
    for value, options, what in (
        (mode, get_args(Mode), "mode"),
        (on_error, get_args(OnError), "on_error"),
    ):
        if value not in options:
            raise InvalidArgumentError(
                f"expected {what} to be one of {', '.join(options)}, got {value!r}"
            )
    if batch_rows is not None and batch_rows < 1:
        raise InvalidArgumentError(f"expected batch_rows >= 1, got {batch_rows}")
    if rejects is not None and on_error != "skip":
        raise InvalidArgumentError(
            "expected on_error='skip' where a file for rejected rows is given; a job that stops "
            "at the first bad row rejects none"
        )
    if sum(source.is_stdin for source in files) > 1:
        raise InvalidArgumentError("expected standard input at most once among the sources")


def _batch_rows(collection: Collection) -> int:
    dims = [space.dim for space in collection.spaces.values()]
    return min(_MAX_BATCH_ROWS, max(_MIN_BATCH_ROWS, _BATCH_BYTES // (4 * max(dims, default=1))))


def _resumed(state: JobState, path: str | None) -> JobState:
    """Return where to go on, with the rejects file of this call."""
    if state.rejects_path is None:
        return replace(state, rejects_path=path, rejects=replace(state.rejects, size=0))
    if path != state.rejects_path:
        raise IngestError(
            f"expected rejects={state.rejects_path!r}, where the interrupted run of this job wrote "
            f"its rejected rows, got {path!r}; pass it again, or start anew with resume=False"
        )
    return state


@final
class _Job:
    """One run of a job."""

    def __init__(
        self,
        collection: Collection,
        sources: Sequence[Source],
        *,
        name: str,
        mapping: ColumnMapping,
        space: str | None,
        mode: Mode,
        on_existing: OnExisting,
        skip: bool,
        state: JobState,
        progress: Callable[[IngestProgress], None] | None,
    ) -> None:
        self._collection = collection
        self._sources = sources
        self._name = name
        self._mapping = mapping
        self._space = space
        self._mode = mode
        self._on_existing = on_existing
        self._skip = skip
        self._state = state
        self._progress = progress
        self._spaces = {n: status.space for n, status in collection.spaces.items()}
        self._seen: SeenIds | None = SeenIds()
        self._pending: list[BadRow] = []
        self._began = time.monotonic()
        path = state.rejects_path
        self._rejects = Rejects(None if path is None else Path(path), state.rejects)

    def run(self) -> IngestReport:
        """Do what is left of the job."""
        resumed_from = self._state.rows_read
        try:
            for index, source in enumerate(self._sources):
                self._read(index, open_reader(source))
        except IngestError as error:
            raise IngestError(
                f"{error}. {self._state.written} rows of this job are committed"
            ) from error
        finally:
            self._rejects.close()
        self._collection.clear_checkpoint(self._name)
        return IngestReport(
            rows_read=self._state.written + self._rejects.mark.rows,
            rows_written=self._state.written,
            rows_rejected=self._rejects.mark.rows,
            batches=self._state.batches,
            seconds=time.monotonic() - self._began,
            resumed_from=resumed_from,
        )

    # Reading

    def _read(self, index: int, reader: Reader) -> None:
        """Read one file, or only its ids if it is done."""
        if len(self._sources) == 1 and reader.unique_ids:
            self._seen = None
        state = self._state
        if index < state.source:
            self._learn(reader, None)
            return
        start = state.start if index == state.source else START
        settled = state.settled if index == state.source else 0
        for chunk, resolved in self._chunks(reader, start):
            prepared = self._prepare(chunk, resolved, reader)
            self._settle(index, reader, chunk, prepared, max(settled, chunk.start.row))
            self._report(index, reader, chunk.end)

    def _chunks(self, reader: Reader, start: Position) -> Iterator[tuple[Chunk, Resolved | None]]:
        """Yield chunks from a position on with the mapping, which the first rows decide."""
        resolved = None
        if start != START and not reader.source.is_stdin:
            resolved = self._learn(reader, start)
            for chunk in reader.chunks(start, batch_rows=self._state.batch_rows):
                yield chunk, resolved
            return
        reached = START
        for chunk in reader.chunks(batch_rows=self._state.batch_rows):
            if resolved is None and chunk.batch.num_rows:
                resolved = self._resolve(chunk, reader)
            if chunk.start.row < start.row:
                self._meet(chunk, resolved, reader)
            else:
                if chunk.start.row == start.row:
                    _require_same_input(chunk.start, start, reader)
                yield chunk, resolved
            reached = chunk.end
        if reached.row <= start.row:
            _require_same_input(reached, start, reader)

    def _learn(self, reader: Reader, until: Position | None) -> Resolved | None:
        """Read again what an earlier run has settled: the mapping, and the ids it met."""
        rows = self._state.batch_rows
        resolved = None
        for chunk in reader.chunks(batch_rows=rows):
            if chunk.batch.num_rows:
                resolved = self._resolve(chunk, reader)
                break
        if resolved is not None and self._seen is not None:
            for chunk in reader.chunks(batch_rows=rows, columns=[resolved.id]):
                if until is not None and chunk.start.row >= until.row:
                    break
                self._meet(chunk, resolved, reader)
        return resolved

    def _meet(self, chunk: Chunk, resolved: Resolved | None, reader: Reader) -> None:
        """Take note of a chunk's ids only."""
        if resolved is not None and self._seen is not None:
            ids_only = replace(resolved, vectors=(), document=None, include=frozenset())
            prepare(
                chunk,
                ids_only,
                file=reader.source.path,
                spaces=self._spaces,
                seen=self._seen,
            )

    def _resolve(self, chunk: Chunk, reader: Reader) -> Resolved:
        file = reader.source.path
        resolved = self._mapping.resolve(
            chunk.batch,
            file=file,
            spaces=self._spaces,
            space=self._space,
            untyped=reader.untyped,
        )
        if self._mode == "add_vectors" and len(resolved.vectors) != 1:
            found = [vector.column for vector in resolved.vectors]
            raise IngestError(
                f"{file}: expected one column of vectors to add, got {found or 'none'}; name one "
                "space, and run one job for each"
            )
        return resolved

    def _prepare(self, chunk: Chunk, resolved: Resolved | None, reader: Reader) -> Prepared:
        adding = self._mode == "add_vectors"
        check = None
        if adding and resolved is not None:
            check = partial(self._unattachable, resolved)
        with reading(reader.source, chunk.start.row):
            return prepare(
                chunk,
                resolved,
                file=reader.source.path,
                spaces=self._spaces,
                seen=self._seen,
                check=check,
                vectors_required=adding,
            )

    def _unattachable(self, resolved: Resolved, ids: pa.Array) -> list[Fault]:
        """Find ids without an item, and items that have a vector already."""
        snapshot = self._collection.latest().snapshot
        rows = snapshot.find(ids.fill_null(""))
        missing = rows < 0
        space = resolved.vectors[0].space
        faults = [
            Fault(
                rows=np.flatnonzero(missing),
                column=resolved.id,
                reason="no item with this id; ingest the items first",
            )
        ]
        if self._on_existing == "error":
            taken = snapshot.native(space).contains(np.maximum(rows, 0)) & ~missing
            reason = (
                f"the item has a vector in space {space!r}; pass on_existing='skip' or 'replace'"
            )
            faults.append(
                Fault(rows=np.flatnonzero(taken), column=resolved.vectors[0].column, reason=reason)
            )
        return faults

    # Writing

    def _settle(
        self, index: int, reader: Reader, chunk: Chunk, prepared: Prepared, settled: int
    ) -> None:
        """Write a chunk's good rows from ``settled`` on and reject its bad ones."""
        bad = [row for row in prepared.bad if row.row >= settled]
        first = int(np.searchsorted(prepared.rows, settled))
        if bad and not self._skip:
            until = bad[0].row
            last = int(np.searchsorted(prepared.rows, until))
            self._write(index, reader, chunk, prepared, first, last, until)
            raise _row_error(reader, bad[0])
        self._pending = bad
        self._write(index, reader, chunk, prepared, first, len(prepared.rows), chunk.end.row)
        self._reject(reader, chunk.end.row)

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
            self._commit(prepared, rows, Checkpoint(job=self._name, state=state.to_dict()))
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
                vectors={s: prepared.vectors[s][picked] for s in spaces} or None,
                documents=None if texts is None else texts.take(taken),
                metadata=None if table is None else table.take(taken),
                checkpoint=checkpoint if number == max(len(groups), 1) - 1 else None,
            )

    def _report(self, index: int, reader: Reader, position: Position) -> None:
        if self._progress is None:
            return
        sizes = [source.size for source in self._sources]
        share = reader.fraction(position)
        fraction = None
        if share and all(sizes):
            fraction = (sum(sizes[:index]) + share * sizes[index]) / sum(sizes)
        rejected = self._rejects.mark.rows
        self._progress(
            IngestProgress(
                file=reader.source.path,
                rows_read=self._state.written + rejected,
                rows_written=self._state.written,
                rows_rejected=rejected,
                fraction=fraction,
                seconds=time.monotonic() - self._began,
            )
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


def _require_same_input(found: Position, expected: Position, reader: Reader) -> None:
    """Refuse to go on with standard input that is not what an earlier run read."""
    if found != expected:
        raise IngestError(
            f"{reader.source.path}: expected the same input as the interrupted run of this job, "
            f"whose first {expected.row} rows are settled, got another; give it again, or start "
            "anew with resume=False"
        )


def _row_error(reader: Reader, bad: BadRow) -> IngestError:
    column = "" if bad.column is None else f", column {bad.column!r}"
    return IngestError(
        f"{reader.source.path}: {reader.where(bad.row)}{column}: {bad.reason}; repair the file and "
        "run the job again, or pass on_error='skip' to go on without bad rows"
    )
