"""Ingest jobs: files into a collection, exactly once, whatever happens on the way.

The state of a job is committed in the transaction that makes its rows visible, so a job
killed anywhere and run again does what is left and ends with the rows of one clean run. The last
thing to do is to build the indexes that the rows have made due.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from os import PathLike, fspath
from pathlib import Path
from typing import Literal, final, get_args

from vecstore import Collection
from vecstore.catalog import IndexRecord
from vecstore.errors import (
    EncoderError,
    IngestError,
    InvalidArgumentError,
    SpaceMismatchError,
)
from vecstore.guards import Guarding
from vecstore_ingest.feed import Feed
from vecstore_ingest.formats import open_reader, with_format
from vecstore_ingest.formats.reader import START, Position, Reader, Source
from vecstore_ingest.mapping import ColumnMapping
from vecstore_ingest.settle import Mode, OnExisting, Settler
from vecstore_ingest.state import JobState, job_name

__all__ = ["IngestProgress", "IngestReport", "ingest"]

OnError = Literal["stop", "skip"]
SourceLike = str | PathLike[str] | Source

_BATCH_BYTES = 64 << 20
_MAX_BATCH_ROWS = 65_536
_MIN_BATCH_ROWS = 1_024


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
    ``batches`` counts commits. ``indexes`` has those that were built at the end, with the recall
    that they reach; ``seconds`` do not include them.
    """

    rows_read: int
    rows_written: int
    rows_rejected: int
    batches: int
    seconds: float
    resumed_from: int
    indexes: tuple[IndexRecord, ...] = ()


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
    guard: Guarding = "refuse",
    index: bool = True,
    index_progress: Callable[[str, int, int], None] | None = None,
) -> IngestReport:
    """Read files into a collection, in batches that are committed one by one.

    A job that was interrupted goes on where its last commit ended when the same call is made
    again: the same files, mapping and target. A finished job forgets where it was, so calling
    again after that reads everything again.

    The job ends with the indexes that its rows have made due, as
    :meth:`vecstore.Collection.update_indexes` builds them: small collections get none. All rows
    are committed before; interrupted in a build, the same call builds it and reads no row again.

    Parameters
    ----------
    collection : Collection
        Must have the spaces that vectors go to.
    sources : str, path, Source, or a sequence of them
        Read in order as one job. ``"-"`` is standard input.
    mapping : ColumnMapping, optional
        Which column is what; what it leaves out is found by name.
    space : str, optional
        Where vectors go whose column is not named like a space. Documents without a column of
        vectors are embedded by its encoder, or by that of the newest generation.
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
    guard : {"refuse", "warn", "off"}
        What to do with a batch that looks like vectors of another space: as in
        :meth:`vecstore.Collection.upsert`. No part of what the job is, so that a job that was
        refused goes on when it is run again with another guard.
    index : bool
        Build the indexes that are due at the end.
    index_progress : callable, optional
        Called with the space, rows done and rows in all, while an index is built.

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
    EncoderError
        The encoder of the space failed; the job can go on later.
    SpaceMismatchError
        A batch holds vectors of another space.
    """
    many = [sources] if isinstance(sources, (str, PathLike, Source)) else list(sources)
    files = [with_format(_as_source(source, format)) for source in many]
    _check_options(
        files,
        batch_rows=batch_rows,
        mode=mode,
        on_error=on_error,
        on_existing=on_existing,
        rejects=rejects,
        guard=guard,
    )
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
        state = JobState(
            batch_rows=batch_rows or _batch_rows(collection),
            began=collection.version,
            rejects_path=path,
        )
    else:
        state = _resumed(JobState.from_dict(saved), path)
    feed = Feed(
        collection,
        mapping,
        space=space,
        batch_rows=state.batch_rows,
        adding=mode == "add_vectors",
        fresh=on_existing == "error",
    )
    settler = Settler(
        collection,
        job=name,
        state=state,
        mode=mode,
        on_existing=on_existing,
        skip=on_error == "skip",
        space=space,
        guard=guard,
    )
    report = _Job(files, feed, settler, progress).run()
    if index:
        built = collection.update_indexes(since=state.began, progress=index_progress)
        report = replace(report, indexes=built)
    collection.clear_checkpoint(name)
    return report


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
    on_existing: str,
    rejects: object,
    guard: str,
) -> None:
    """Refuse options that make no job."""
    if not files:
        raise InvalidArgumentError("expected at least one file to ingest, got none")
    for value, options, what in (
        (mode, get_args(Mode), "mode"),
        (on_error, get_args(OnError), "on_error"),
        (on_existing, get_args(OnExisting), "on_existing"),
        (guard, get_args(Guarding), "guard"),
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
        sources: Sequence[Source],
        feed: Feed,
        settler: Settler,
        progress: Callable[[IngestProgress], None] | None,
    ) -> None:
        self._sources = sources
        self._feed = feed
        self._settler = settler
        self._progress = progress
        self._sizes = [source.size for source in sources]
        self._began = time.monotonic()

    def run(self) -> IngestReport:
        """Do what is left of the job."""
        begun = self._settler.state
        try:
            for index, source in enumerate(self._sources):
                self._read(index, open_reader(source), begun)
        except IngestError as error:
            written = self._settler.state.written
            raise IngestError(f"{error}. {written} rows of this job are committed") from error
        except EncoderError as error:
            written = self._settler.state.written
            raise EncoderError(
                f"{error}. {written} rows of this job are committed; run it again to go on"
            ) from error
        except SpaceMismatchError as error:
            written = self._settler.state.written
            raise SpaceMismatchError(
                f"{error}. {written} rows of this job are committed"
            ) from error
        finally:
            self._settler.close()
        state = self._settler.state
        return IngestReport(
            rows_read=state.rows_read,
            rows_written=state.written,
            rows_rejected=state.rejects.rows,
            batches=state.batches,
            seconds=time.monotonic() - self._began,
            resumed_from=begun.rows_read,
        )

    def _read(self, index: int, reader: Reader, begun: JobState) -> None:
        """Read one file, or only its ids if an earlier run did."""
        if len(self._sources) == 1 and reader.unique_ids:
            self._feed.forget_ids()
        if index < begun.source:
            self._feed.learn(reader)
            return
        start = begun.start if index == begun.source else START
        settled = begun.settled if index == begun.source else 0
        for chunk, prepared in self._feed.batches(reader, start):
            self._settler.settle(index, reader, chunk, prepared, settled)
            if self._progress is not None:
                self._progress(self._told(index, reader, chunk.end))

    def _told(self, index: int, reader: Reader, position: Position) -> IngestProgress:
        share = reader.fraction(position)
        fraction = None
        if share and all(self._sizes):
            done = sum(self._sizes[:index]) + share * self._sizes[index]
            fraction = done / sum(self._sizes)
        state = self._settler.state
        return IngestProgress(
            file=reader.source.path,
            rows_read=state.rows_read,
            rows_written=state.written,
            rows_rejected=state.rejects.rows,
            fraction=fraction,
            seconds=time.monotonic() - self._began,
        )
