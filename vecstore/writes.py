"""Writes: each turns its input into files once and into a commit as often as it takes.

Files are written before the commit and refer to no version. What depends on the version,
which rows an upsert replaces and which rows ids mean, is worked out again when another
writer was first, so writers that do not touch the same items never fail.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, final, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vecstore.catalog import Catalog, Changes, CollectionRecord, FileRecord, SpaceRecord
from vecstore.errors import (
    AlreadyExistsError,
    CommitConflictError,
    InvalidArgumentError,
    InvalidMetadataError,
    NotFoundError,
    SpaceMismatchError,
)
from vecstore.files import FileWriter, side_by_side
from vecstore.filters import Where
from vecstore.housekeeping.automatic import AutomaticCompaction
from vecstore.ids import HashedIds, Ids, as_ids
from vecstore.inputs import Rows
from vecstore.latest import LatestVersion
from vecstore.metadata import widen
from vecstore.snapshot import Snapshot
from vecstore.spaces import Space
from vecstore.storage.columns import arrow_view
from vecstore.storage.root import DataRoot

if TYPE_CHECKING:
    from vecstore.guards import Guard, Guarding

__all__ = ["Checkpoint", "OnExisting", "WriteResult", "Writer"]

OnExisting = Literal["error", "skip", "replace"]

MAX_ATTEMPTS = 50


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The state of a job, committed in the same transaction as the rows it belongs to."""

    job: str
    state: Mapping[str, Any]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class WriteResult:
    """What a write committed.

    Attributes
    ----------
    version : int
        The version that shows it.
    rows : int
        Items or vectors written, or items deleted.
    replaced : int
        How many of them took the place of an older revision or vector.
    skipped : int
        Rows left as they were, under ``on_existing="skip"``.
    """

    version: int
    rows: int
    replaced: int = 0
    skipped: int = 0


@final
class Writer:
    """Commits changes to one collection."""

    def __init__(
        self,
        catalog: Catalog,
        root: DataRoot,
        collection: CollectionRecord,
        latest: LatestVersion,
        guard: Callable[[], Guard],
        *,
        compact_after: int | None,
    ) -> None:
        self._catalog = catalog
        self.files = FileWriter(root, collection)
        self._collection = collection
        self._latest = latest
        self._guard = guard
        self._newest: Snapshot | None = None
        self._compaction = AutomaticCompaction(self.commit, self.files, after=compact_after)

    def commit(self, build: Callable[[Snapshot], Changes | None]) -> int:
        """Commit what ``build`` makes of the newest snapshot; build again after a conflict.

        Raises
        ------
        CommitConflictError
            Other writers were first, time and again.
        """
        for attempt in range(MAX_ATTEMPTS):
            # Who was overtaken has seen that what is known is not the newest.
            version = self._latest.refresh() if attempt else self._latest.for_writing()
            snapshot = self._newest = version.snapshot
            changes = build(snapshot)
            if changes is None:
                return snapshot.version
            try:
                number = self._catalog.commit(self._collection.id, snapshot.version, changes)
            except CommitConflictError:
                if attempt == MAX_ATTEMPTS - 1:
                    raise
            else:
                # This process sees its own commit before the caller goes on.
                made = snapshot.state.after(changes, number)
                self._newest = self._latest.refresh(made).snapshot
                return number
        raise AssertionError("unreachable")

    def upsert(
        self, rows: Rows, checkpoint: Checkpoint | None, *, guard: Guarding = "refuse"
    ) -> WriteResult:
        """Write new revisions of items with their vectors, replacing those that live."""
        if not len(rows):
            return self._nothing(checkpoint)
        latest = self._latest.for_writing().snapshot
        spaces = [_unchanged(latest, space) for space in rows.spaces.values()]
        first = self._catalog.reserve_row_ids(self._collection.id, len(rows))
        row_ids = np.arange(first, first + len(rows), dtype=np.int64)
        table = pa.table(
            {"row_id": arrow_view(row_ids), "id": rows.ids.ids, "document": rows.documents}
        )
        for field, column in zip(rows.metadata.schema, rows.metadata.columns, strict=True):
            table = table.append_column(field, column)
        writes = []  # what takes the longest begins first
        for record in spaces:
            name = record.space.name
            own = row_ids[rows.positions[name]] if name in rows.positions else row_ids
            writes.append(partial(self.files.vectors, record, own, rows.vectors[name]))
        writes.append(partial(self.files.items, table))
        files: list[FileRecord] = []
        replaced = 0

        def build(snapshot: Snapshot) -> Changes:
            nonlocal files, replaced
            for record in spaces:
                _unchanged(snapshot, record.space, since=record)
            schema = _widened(snapshot, rows.metadata)
            found = snapshot.find(rows.ids)
            old = found[found >= 0]
            replaced = len(old)
            deletes = [self.files.deletes(old)] if replaced else []
            files = written()
            return Changes(
                operation="upsert",
                rows=len(rows),
                add_files=(*deletes, *files),
                schema=None if schema.equals(snapshot.state.schema) else schema,
                checkpoint=_as_pair(checkpoint),
            )

        with side_by_side(writes) as written:
            # Learning what a space looks like takes as long as the disk does.
            with self.files.unless_refused(written):
                for record in spaces:
                    vectors = rows.vectors[record.space.name]
                    self._guard().check(latest, record, vectors, guarding=guard)
            version = self.commit(build)
        self._latest.cache.wrote(files[-1], rows.ids, row_ids)
        self._after_write()
        return WriteResult(version=version, rows=len(rows), replaced=replaced)

    def add_vectors(
        self,
        *,
        space: Space,
        vectors: NDArray[Any],
        rows_of: Callable[[Snapshot], NDArray[np.int64]],
        on_existing: OnExisting,
        checkpoint: Checkpoint | None = None,
        guard: Guarding = "refuse",
        tell: Callable[[str], object] | None = None,
    ) -> WriteResult:
        """Attach vectors to the rows that ``rows_of`` finds; rows below 0 are left out.

        What the guard finds odd goes to ``tell``, or is a warning.
        """
        if on_existing not in get_args(OnExisting):
            raise InvalidArgumentError(
                f"expected on_existing to be one of {', '.join(get_args(OnExisting))}, "
                f"got {on_existing!r}"
            )
        written: tuple[str, NDArray[np.int64], FileRecord] | None = None
        result = (0, 0, 0)

        def build(snapshot: Snapshot) -> Changes | None:
            nonlocal written, result
            record = _unchanged(snapshot, space)
            row_ids = rows_of(snapshot)
            present = row_ids >= 0
            existing = snapshot.native(space.name).contains(np.maximum(row_ids, 0)) & present
            if on_existing == "error" and existing.any():
                example = snapshot.ids(row_ids[existing][:1])[0].as_py()
                raise AlreadyExistsError(
                    f"{existing.sum()} of {len(row_ids)} items have a vector in space "
                    f"{space.name!r} already, such as {example!r}; pass on_existing='skip' or "
                    "'replace', or upsert the items if their content changed"
                )
            wanted = present & ~existing if on_existing == "skip" else present
            chosen = np.flatnonzero(wanted)[np.argsort(row_ids[wanted], kind="stable")]
            replaced = row_ids[existing & wanted]
            result = (len(chosen), len(replaced), len(row_ids) - len(chosen))
            files = []
            if len(chosen):
                # After a conflict the file is still right unless the ids mean other rows now.
                rows = row_ids[chosen]
                if not written or written[0] != record.id or not np.array_equal(written[1], rows):
                    new = vectors[chosen]
                    self._guard().check(
                        snapshot, record, new, guarding=guard, row_ids=rows, tell=tell
                    )
                    written = (record.id, rows, self.files.vectors(record, rows, new))
                files = [written[2]]
            elif checkpoint is None:
                return None
            if len(replaced):
                files.insert(0, self.files.deletes(np.sort(replaced), space_id=record.id))
            return Changes(
                operation=f"add vectors to {space.name}",
                rows=len(chosen),
                add_files=tuple(files),
                checkpoint=_as_pair(checkpoint),
            )

        version = self.commit(build)
        self._after_write()
        rows, replaced_count, skipped = result
        return WriteResult(version=version, rows=rows, replaced=replaced_count, skipped=skipped)

    def delete(self, rows_of: Callable[[Snapshot], NDArray[np.int64]]) -> WriteResult:
        """Delete the rows that ``rows_of`` finds, with their vectors in every space."""
        deleted = 0

        def build(snapshot: Snapshot) -> Changes | None:
            nonlocal deleted
            row_ids = rows_of(snapshot)
            deleted = len(row_ids)
            if not deleted:
                return None
            files = (self.files.deletes(row_ids),)
            return Changes(operation="delete", rows=deleted, add_files=files)

        version = self.commit(build)
        self._after_write()
        return WriteResult(version=version, rows=deleted)

    def _after_write(self) -> None:
        assert self._newest is not None
        self._compaction.look(self._newest)

    def _nothing(self, checkpoint: Checkpoint | None) -> WriteResult:
        """Commit no rows, but the checkpoint of a job that got past them."""
        changes = Changes(operation="upsert", checkpoint=_as_pair(checkpoint))
        version = self.commit(lambda _: None if checkpoint is None else changes)
        return WriteResult(version=version, rows=0)


def rows_to_delete(ids: Ids | None, where: Where | None) -> Callable[[Snapshot], NDArray[np.int64]]:
    """Return a finder of the rows that ids or a filter mean; ids without an item are ignored."""
    if (ids is None) == (where is None):
        raise InvalidArgumentError("delete needs either ids or where; got both or neither")
    if where is not None and not where:
        raise InvalidArgumentError(
            "an empty filter would delete every item; pass where='true' if that is meant"
        )
    wanted = None if ids is None else HashedIds(as_ids(ids))

    def find(snapshot: Snapshot) -> NDArray[np.int64]:
        if wanted is None:
            assert where is not None
            return snapshot.matching(where).to_array()
        found = snapshot.find(wanted)
        return np.unique(found[found >= 0])

    return find


def rows_of_ids(ids: HashedIds) -> Callable[[Snapshot], NDArray[np.int64]]:
    """Return a finder of the rows of ids that raises NotFoundError if one has no item."""

    def find(snapshot: Snapshot) -> NDArray[np.int64]:
        row_ids = snapshot.find(ids)
        missing = row_ids < 0
        if missing.any():
            example = ids.ids[int(np.flatnonzero(missing)[0])].as_py()
            raise NotFoundError(
                f"{missing.sum()} of {len(ids)} ids have no item in collection "
                f"{snapshot.state.collection.name!r}, such as {example!r}; upsert the items first"
            )
        return row_ids

    return find


def _unchanged(snapshot: Snapshot, space: Space, since: SpaceRecord | None = None) -> SpaceRecord:
    """Return the space's record; refuse if another writer put another space in its place."""
    record = snapshot.space(space.name)
    if record.space != space or (since is not None and record.id != since.id):
        raise SpaceMismatchError(
            f"space {space.name!r} was replaced while this write was under way: the vectors were "
            f"prepared for {space.describe()}, it holds {record.space.describe()} now. Nothing was "
            "written; embed for the new space and write again"
        )
    return record


def _as_pair(checkpoint: Checkpoint | None) -> tuple[str, Mapping[str, Any]] | None:
    return None if checkpoint is None else (checkpoint.job, checkpoint.state)


def _widened(snapshot: Snapshot, new: pa.Table) -> pa.Schema:
    """Widen the collection's schema and check that stored and new values survive it."""
    old = snapshot.state.schema
    schema = widen(old, new.schema)
    for name in new.column_names:
        kind = schema.field(name).type
        known = name in old.names and not pa.types.is_null(old.field(name).type)
        try:
            if kind != new.schema.field(name).type:
                new.column(name).cast(kind)
            if known and kind != old.field(name).type:
                for column in snapshot.whole_columns([name]):
                    column.column(name).cast(kind)
        except pa.ArrowException as error:
            raise InvalidMetadataError(
                f"metadata column {name!r} would hold integers that {kind} cannot hold exactly: "
                f"{error}; convert the new values to the column's type or use another column"
            ) from error
    return schema
