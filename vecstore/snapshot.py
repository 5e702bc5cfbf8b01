"""Snapshot: one committed version of a collection, readable without the catalog.

Everything a query needs is derived from the version's file list once and kept: which rows
live, which of them have a native vector in which space, and the mapped segments. Snapshots
are immutable and thread-safe; segments are shared between the snapshots of a collection.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vecstore.catalog import FileRecord, SpaceRecord, State
from vecstore.errors import NotFoundError
from vecstore.filters import Where, parse_where, select_rows
from vecstore.ids import HashedIds
from vecstore.item_files import ItemFiles
from vecstore.rows import RowSet
from vecstore.segment_cache import SegmentCache
from vecstore.storage.columns import arrow_view, numpy_view
from vecstore.storage.deletes import Deletes, read_deletes
from vecstore.storage.items import ItemSegment
from vecstore.storage.vectors import VectorSegment, read_vectors

__all__ = ["LiveVectors", "Snapshot"]

_KEPT_FILTERS = 32


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LiveVectors:
    """A vector file of a space and which of its rows live.

    Attributes
    ----------
    keep : ndarray of shape (n,), bool, or None
        Positional mask of live rows; None when all live.
    """

    record: FileRecord
    segment: VectorSegment
    keep: NDArray[np.bool_] | None

    @property
    def live_row_ids(self) -> NDArray[np.int64]:
        """Row ids that live, ndarray of shape (m,), int64, ascending."""
        row_ids = self.segment.row_ids
        return row_ids if self.keep is None else row_ids[self.keep]

    @property
    def live_versions(self) -> NDArray[np.int64]:
        """The commit that wrote each live vector, ndarray of shape (m,), int64."""
        versions = self.segment.versions
        if versions is None:
            return np.full(len(self.live_row_ids), self.record.added_version, dtype=np.int64)
        return versions if self.keep is None else versions[self.keep]


@final
class Snapshot:
    """One version of a collection."""

    def __init__(self, state: State, cache: SegmentCache) -> None:
        self.state = state
        self.cache = cache
        self._lock = threading.RLock()
        self._vectors: dict[str, tuple[LiveVectors, ...]] = {}
        self._matching: dict[str, RowSet] = {}
        self._native: dict[str, RowSet] = {}
        self._item_files = ItemFiles((f for f in state.files if f.kind == "items"), self._items)

    @property
    def version(self) -> int:
        """The committed version this snapshot shows."""
        return self.state.version

    # Spaces

    @cached_property
    def spaces(self) -> dict[str, SpaceRecord]:
        """Spaces by name, in the order of their creation, without those that are retired."""
        return {r.space.name: r for r in self.state.spaces if r.retired_version is None}

    @cached_property
    def retired(self) -> dict[str, SpaceRecord]:
        """Retired spaces by name: they have no vectors, and the lineage leads through them."""
        return {r.space.name: r for r in self.state.spaces if r.retired_version is not None}

    @cached_property
    def default_space(self) -> str | None:
        """The space that searches rank in if they do not say otherwise."""
        current = self.state.default_at(self.version)
        wanted = current and current.space_id
        return next((name for name, r in self.spaces.items() if r.id == wanted), None)

    def space(self, name: str) -> SpaceRecord:
        """Return a space or raise NotFoundError naming those there are."""
        try:
            return self.spaces[name]
        except KeyError:
            gone = self.retired.get(name)
            why = f" (it was retired in version {gone.retired_version})" if gone else ""
            raise NotFoundError(
                f"collection {self.state.collection.name!r} has no space {name!r}{why}; "
                f"it has {', '.join(map(repr, self.spaces)) or 'none yet, see create_space'}"
            ) from None

    # Rows

    @cached_property
    def live(self) -> RowSet:
        """Row ids of all live items."""
        members = np.zeros(self._row_limit, dtype=bool)
        for record in self._item_files.records:
            if record.contiguous:
                members[record.min_row_id : record.max_row_id + 1] = True
            else:
                members[self.row_ids_of(record)] = True
        for record in self.state.files:
            if record.kind == "deletes" and record.space_id is None:
                members[self.deletes_of(record).row_ids] = False
        return RowSet.of_mask(members)

    def native(self, space: str) -> RowSet:
        """Return the live rows that have a native vector in a space."""
        with self._lock:
            if space not in self._native:
                members = np.zeros(self._row_limit, dtype=bool)
                for vectors in self.vectors(space):
                    members[vectors.live_row_ids] = True
                self._native[space] = RowSet.of_mask(members)
            return self._native[space]

    def vectors(self, space: str) -> tuple[LiveVectors, ...]:
        """Return the mapped vector files of a space with the mask of their live rows."""
        with self._lock:
            if space not in self._vectors:
                self._vectors[space] = tuple(self._open_vectors(self.space(space), None))
            return self._vectors[space]

    def vectors_in(self, space: str, file_ids: Set[str]) -> tuple[LiveVectors, ...]:
        """Return some of the vector files of a space as :meth:`vectors` does; opens no others."""
        return tuple(self._open_vectors(self.space(space), file_ids))

    def gather(self, space: str, row_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the native vectors of rows that have one.

        Parameters
        ----------
        row_ids : ndarray of shape (n,), int64
            Each must be in ``native(space)``.

        Returns
        -------
        ndarray of shape (n, dim), float32
        """
        gathered = np.empty((len(row_ids), self.space(space).space.dim), dtype=np.float32)
        for vectors in self.vectors(space):
            known = vectors.segment.row_ids
            if not len(known):
                continue
            position = np.minimum(np.searchsorted(known, row_ids), len(known) - 1)
            here = known[position] == row_ids
            if vectors.keep is not None:
                here &= vectors.keep[position]
            gathered[here] = vectors.segment.vectors[position[here]]
        if self.space(space).space.normalised and self.space(space).space.dtype == "float16":
            gathered /= np.linalg.norm(gathered, axis=1, keepdims=True)
        return gathered

    def native_vectors(
        self, space: str, row_ids: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Return which rows have a native vector, and the vectors (zeros for the others).

        Returns
        -------
        present : ndarray of shape (n,), bool
        vectors : ndarray of shape (n, dim), float32
        """
        present = self.native(space).contains(row_ids)
        vectors = np.zeros((len(row_ids), self.space(space).space.dim), np.float32)
        vectors[present] = self.gather(space, row_ids[present])
        return present, vectors

    def vectors_changed(self, space: str) -> int:
        """Return the last version that wrote or replaced vectors of a space; -1 if none did."""
        own = self.space(space).id
        replaced = [
            self.deletes_of(f).versions
            for f in self.state.files
            if f.kind == "deletes" and f.space_id == own
        ]
        written = [
            v.segment.versions if v.segment.versions is not None else [v.record.added_version]
            for v in self.vectors(space)
        ]
        return max((int(np.max(part)) for part in (*replaced, *written) if len(part)), default=-1)

    # Items

    def find(self, ids: pa.Array | HashedIds) -> NDArray[np.int64]:
        """Return the live row of each id, ndarray of shape (n,), int64; -1 where there is none."""
        hashed = ids if isinstance(ids, HashedIds) else HashedIds(ids)
        index = self.cache.id_index(self._item_files.records, self._items)
        positions, rows = index.candidates(hashed)
        alive = self.live.contains(rows)
        positions, rows = positions[alive], rows[alive]
        found = np.full(len(hashed), -1, dtype=np.int64)
        if len(rows):
            import pyarrow.compute as pc  # 80 ms that finding nothing can do without

            named = hashed.ids.take(arrow_view(positions))
            same = numpy_view(pc.equal(self.ids(rows), named))
            found[positions[same]] = rows[same]
        return found

    def ids(self, row_ids: NDArray[np.int64]) -> pa.Array:
        """Return the ids of rows, a string array in the order of ``row_ids``."""
        return self._item_files.ids(row_ids)

    def id_strings(self, row_ids: NDArray[np.int64]) -> list[str]:
        """Return the ids of rows as Python strings, in the order of ``row_ids``."""
        return self._item_files.id_strings(row_ids)

    def items(self, row_ids: NDArray[np.int64], columns: Sequence[str]) -> pa.Table:
        """Return columns of rows (of ``id``, ``document`` and metadata), in their order."""
        return self._item_files.take(row_ids, self._schema_of(columns))

    def matching(self, where: Where) -> RowSet:
        """Return the live rows for which a filter is true.

        The snapshot never changes, so the answers to its latest filters are kept: searches that
        share a filter pay for evaluating it once.

        Raises
        ------
        InvalidFilterError
            The filter is not a predicate over this collection's columns.
        """
        key = _filter_key(where)
        with self._lock:
            known = None if key is None else self._matching.get(key)
        if known is not None:
            return known
        predicate = parse_where(where, self.state.schema)
        tables = self.whole_columns(["row_id", *sorted(predicate.columns)])
        rows = RowSet.of(select_rows(tables, predicate)) & self.live if tables else RowSet.of([])
        if key is not None:
            with self._lock:
                while len(self._matching) >= _KEPT_FILTERS:
                    del self._matching[next(iter(self._matching))]
                self._matching[key] = rows
        return rows

    def whole_columns(self, columns: Sequence[str]) -> list[pa.Table]:
        """Return whole columns, dead rows included, as one table for each item file."""
        return self._item_files.columns(self._schema_of(columns))

    # Where things are

    @property
    def _row_limit(self) -> int:
        return max((f.max_row_id for f in self.state.files), default=-1) + 1

    def _items(self, record: FileRecord) -> ItemSegment:
        segment = self.cache.get(record.id, lambda: ItemSegment(self.cache.root, record.file))
        self._hold(segment)
        return segment

    def row_ids_of(self, record: FileRecord) -> NDArray[np.int64]:
        """Return the rows of an item file, dead ones included, ascending."""
        return self._item_files.row_ids_of(record)

    def deletes_of(self, record: FileRecord) -> Deletes:
        """Return the rows that a delete file takes away."""
        return self.cache.get(
            record.id,
            lambda: read_deletes(self.cache.root, record.file, added_version=record.added_version),
        )

    @cached_property
    def _held(self) -> set[Any]:
        return set()

    def _hold(self, segment: object) -> None:
        """Keep an open file open as long as this snapshot lives."""
        with self._lock:
            self._held.add(segment)

    def _schema_of(self, columns: Sequence[str]) -> pa.Schema:
        known = {"row_id": pa.field("row_id", pa.int64())} | {f.name: f for f in self.state.schema}
        return pa.schema([known[name] for name in columns])

    def _open_vectors(self, record: SpaceRecord, file_ids: Set[str] | None) -> list[LiveVectors]:
        space = record.space
        files = [f for f in self.state.files if f.space_id == record.id]
        replaced = Deletes.of(self.deletes_of(f) for f in files if f.kind == "deletes")
        labels = vector_labels(record)
        wanted = [
            f for f in files if f.kind == "vectors" and (file_ids is None or f.id in file_ids)
        ]
        segments = self.cache.get_all(
            wanted,
            lambda file: read_vectors(self.cache.root, file.file, dim=space.dim, labels=labels),
        )
        opened = []
        for file, segment in zip(wanted, segments, strict=True):
            written = file.added_version if segment.versions is None else segment.versions
            keep = self.live.contains(segment.row_ids) & ~replaced.kills(segment.row_ids, written)
            opened.append(
                LiveVectors(record=file, segment=segment, keep=None if keep.all() else keep)
            )
        return opened


def _filter_key(where: Where) -> str | None:
    """Return what tells a filter from others; None if it holds values that JSON has no word for."""
    try:
        return json.dumps(where, sort_keys=True)
    except (TypeError, ValueError):
        return None


def vector_labels(record: SpaceRecord) -> dict[str, str]:
    """Return what a vector file says about itself: format and the space's fingerprint."""
    return {
        "vecstore.format": "1",
        "vecstore.fingerprint": record.space.fingerprint,
        "vecstore.dtype": record.space.dtype,
    }
