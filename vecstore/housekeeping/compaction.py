"""Compaction: the live rows of many files in few, and no trace of the dead.

Rows keep their ids and vectors the version that wrote them, so a version reads as it did
before, indexes stay valid, and what others commit meanwhile applies to the new files too: a
compaction is committed after any writer's commit as it is, and made again only when another
compaction, or the end of a space, took its files away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
import pyarrow as pa

from vecstore.catalog import Changes, FileRecord
from vecstore.files import FileWriter
from vecstore.housekeeping.choice import Everything, SmallFirst
from vecstore.housekeeping.segments import Pile, Segment, piles
from vecstore.snapshot import Snapshot
from vecstore.storage.columns import arrow_view, numpy_view
from vecstore.storage.deletes import Deletes
from vecstore.storage.items import ItemSegment

__all__ = ["CompactionReport", "compact", "planned"]

Choice: TypeAlias = Everything | SmallFirst
Commit = Callable[[Callable[[Snapshot], Changes | None]], int]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionReport:
    """What a compaction did.

    Attributes
    ----------
    version : int
        The version that shows it; the newest one if there was nothing to do.
    files_before, files_after : int
        Files that were rewritten, and the files that took their place.
    bytes_before, bytes_after : int
        The old files stay until no readable version has them, see ``expire`` and ``gc``.
    dropped : int
        Dead item rows and vectors that the new files no longer hold.
    dry_run : bool
        Nothing was done; ``files_after`` and ``bytes_after`` are 0.
    """

    version: int
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    dropped: int
    dry_run: bool = False


def compact(commit: Commit, files: FileWriter, choice: Choice) -> CompactionReport:
    """Rewrite what ``choice`` chooses of the newest version, and commit it."""
    work: _Work | None = None

    def build(snapshot: Snapshot) -> Changes | None:
        nonlocal work
        present = {file.id for file in snapshot.state.files}
        if work is None or not work.removed.keys() <= present:
            work = _Work(snapshot, choice)
            work.write(snapshot, files)
        return work.changes()

    version = commit(build)
    assert work is not None
    return work.report(version)


def planned(snapshot: Snapshot, choice: Choice) -> CompactionReport:
    """Return what a compaction would rewrite."""
    return _Work(snapshot, choice).report(snapshot.version, dry_run=True)


@final
class _Work:
    """The groups chosen of one snapshot, and the files made of them."""

    def __init__(self, snapshot: Snapshot, choice: Choice) -> None:
        self._merges: list[tuple[Pile, Sequence[Segment]]] = []
        self._folds: list[tuple[Pile, Deletes]] = []
        self._added: list[FileRecord] = []
        self.removed: dict[str, FileRecord] = {}
        self._dropped = 0
        for pile in piles(snapshot):
            groups = choice.groups(pile)
            self._merges += [(pile, group) for group in groups]
            merged = {s.record.id: s for group in groups for s in group}
            self.removed |= {key: segment.record for key, segment in merged.items()}
            self._dropped += sum(s.record.rows - s.live for s in merged.values())
            if merged or choice.folds(pile):
                rest = [s.record for s in pile.segments if s.record.id not in merged]
                needed = _needed(snapshot, pile, rest)
                known = sum(file.rows for file in pile.deletes)
                if len(pile.deletes) > 1 or len(needed) < known:
                    self._folds.append((pile, needed))
                    self.removed |= {file.id: file for file in pile.deletes}

    def write(self, snapshot: Snapshot, files: FileWriter) -> None:
        """Write the new files."""
        for pile, deletes in self._folds:
            if len(deletes):
                self._added.append(files.folded_deletes(deletes, pile.space_id))
        for pile, group in self._merges:
            if not any(segment.live for segment in group):
                continue
            if pile.space is None:
                self._added.append(files.items(_merged_items(snapshot, group)))
            else:
                self._added.append(_merged_vectors(snapshot, pile, group, files))

    def changes(self) -> Changes | None:
        """Return the commit; None if there is nothing to do."""
        if not self.removed:
            return None
        return Changes(
            operation="compact", add_files=tuple(self._added), remove_files=tuple(self.removed)
        )

    def report(self, version: int, *, dry_run: bool = False) -> CompactionReport:
        return CompactionReport(
            version=version,
            files_before=len(self.removed),
            files_after=len(self._added),
            bytes_before=sum(file.file.size for file in self.removed.values()),
            bytes_after=sum(file.file.size for file in self._added),
            dropped=self._dropped,
            dry_run=dry_run,
        )


def _merged_items(snapshot: Snapshot, group: Sequence[Segment]) -> pa.Table:
    """Return the live rows of item files, in the order of row ids."""
    schema = pa.schema([pa.field("row_id", pa.int64()), *snapshot.state.schema])
    parts = []
    for segment in group:
        # Opened anew: what the snapshot keeps open, it keeps decoded.
        table = ItemSegment(snapshot.cache.root, segment.record.file).columns(schema)
        live = snapshot.live.contains(numpy_view(table.column("row_id")))
        parts.append(table if live.all() else table.filter(arrow_view(live)))
    table = pa.concat_tables(parts)
    row_ids = numpy_view(table.column("row_id"))
    if (np.diff(row_ids) < 0).any():
        table = table.take(arrow_view(np.argsort(row_ids)))
    return table


def _merged_vectors(
    snapshot: Snapshot, pile: Pile, group: Sequence[Segment], files: FileWriter
) -> FileRecord:
    """Write the live vectors of files, in the order of row ids."""
    assert pile.space is not None
    wanted = {segment.record.id for segment in group}
    name, space = pile.space.space.name, pile.space.space
    parts = [v for v in snapshot.vectors(name) if v.record.id in wanted]
    row_ids = np.concatenate([part.live_row_ids for part in parts])
    versions = np.concatenate([part.live_versions for part in parts])
    order = np.argsort(row_ids)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    vectors = np.empty((len(row_ids), space.dim), dtype=space.dtype)
    start = 0
    for part in parts:
        live = part.segment.vectors if part.keep is None else part.segment.vectors[part.keep]
        vectors[place[start : start + len(live)]] = live
        start += len(live)
    return files.vectors(pile.space, row_ids[order], vectors, versions[order])


def _needed(snapshot: Snapshot, pile: Pile, rest: Sequence[FileRecord]) -> Deletes:
    """Return the deletes that still kill something in the files that are not rewritten."""
    known = Deletes.of(snapshot.deletes_of(file) for file in pile.deletes)
    needed = np.zeros(len(known), dtype=bool)
    opened = {v.record.id: v for v in snapshot.vectors(pile.space.space.name)} if pile.space else {}
    for record in rest:
        if pile.space is None:
            if record.contiguous:
                first, last = record.min_row_id, record.max_row_id
                needed |= (first <= known.row_ids) & (known.row_ids <= last)
            else:
                needed |= np.isin(known.row_ids, snapshot.row_ids_of(record))
            continue
        segment = opened[record.id].segment
        written = record.added_version if segment.versions is None else segment.versions
        killed = segment.row_ids[known.kills(segment.row_ids, written)]
        needed |= np.isin(known.row_ids, killed)
    return Deletes(row_ids=known.row_ids[needed], versions=known.versions[needed])
