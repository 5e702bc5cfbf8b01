"""ItemFiles: which item file holds which row, and the ids and columns of rows wherever they lie."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import Any, final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vecstore.catalog import FileRecord
from vecstore.id_table import IdTable
from vecstore.storage.columns import arrow_view, string_bytes
from vecstore.storage.items import ItemSegment

__all__ = ["FEW_ROWS", "ItemFiles"]

FEW_ROWS = 64
"""Up to as many rows, Python finds their ids faster than Arrow builds a table (1 µs each)."""

WORTH_TABLE = 256
"""A table of all ids is made when every 256th row was looked up: then it has cost a few percent."""


@final
class ItemFiles:
    """The item files of one version, in the order of their first rows. Thread-safe.

    Parameters
    ----------
    records : iterable of FileRecord
        Of kind ``items``.
    open_segment : callable
        Opens a file, or returns the open one.
    """

    def __init__(
        self, records: Iterable[FileRecord], open_segment: Callable[[FileRecord], ItemSegment]
    ) -> None:
        self.records = sorted(records, key=lambda record: record.min_row_id)
        self._open = open_segment
        self._first = [record.min_row_id for record in self.records]
        self._first_row_ids = np.array(self._first, dtype=np.int64)
        self._id_columns = [_IdColumn(record, open_segment) for record in self.records]
        last = max((record.max_row_id for record in self.records), default=-1)
        self._extent = range(min(self._first, default=0), last + 1)
        self._id_table: IdTable | None = None
        self._until_table = max(FEW_ROWS, len(self._extent) // WORTH_TABLE)

    def ids(self, row_ids: NDArray[np.int64]) -> pa.Array:
        """Return the ids of rows, a string array in the order of ``row_ids``."""
        parts, order = [], []
        for record, slots, positions in self._locate(row_ids):
            parts.append(self._open(record).ids.take(arrow_view(positions)))
            order.append(slots)
        if not parts:
            return pa.nulls(0, pa.string())
        return _in_order(pa.chunked_array(parts, pa.string()), order).combine_chunks()

    def id_strings(self, row_ids: NDArray[np.int64]) -> list[str]:
        """Return the ids of rows as Python strings, in the order of ``row_ids``.

        A single query has few hits in many files: there a table costs more than the search.
        """
        if self._id_table is not None:
            return self._id_table.strings(row_ids)
        self._until_table -= len(row_ids)
        if self._until_table < 0:
            self._until_table = sys.maxsize  # once, whatever comes of it
            files = ((self.row_ids_of(r), self._open(r).ids) for r in self.records)
            self._id_table = IdTable.of(files, self._extent)
        if len(row_ids) > FEW_ROWS:
            return self.ids(row_ids).to_pylist()  # type: ignore[no-any-return]
        found, unread = [], []
        for place, row in enumerate(row_ids.tolist()):
            number = bisect_right(self._first, row) - 1
            while (position := self._id_columns[number].position(row)) < 0:
                number -= 1  # it lies in a gap of a compacted file, see _locate
            text = self._id_columns[number].text(position)
            if text is None:
                unread.append(place)
            found.append(text or "")
        if unread:
            for record, slots, positions in self._locate(row_ids[unread]):
                ids = self._open(record).glimpse_ids(positions)
                for slot, text in zip(slots.tolist(), ids, strict=True):
                    found[unread[slot]] = text
        return found

    def take(self, row_ids: NDArray[np.int64], schema: pa.Schema) -> pa.Table:
        """Return columns of rows, in the order of ``row_ids``."""
        parts, order = [], []
        for record, slots, positions in self._locate(row_ids):
            parts.append(self._open(record).take(positions, schema))
            order.append(slots)
        if not parts:
            return pa.Table.from_batches([], schema)
        return _in_order(pa.concat_tables(parts), order)

    def columns(self, schema: pa.Schema) -> list[pa.Table]:
        """Return whole columns, dead rows included, as one table for each file."""
        return [self._open(record).columns(schema) for record in self.records]

    def row_ids_of(self, record: FileRecord) -> NDArray[np.int64]:
        """Return the rows of a file, dead ones included, ascending."""
        if record.contiguous:
            return np.arange(record.min_row_id, record.max_row_id + 1)
        return self._open(record).row_ids

    def _locate(
        self, row_ids: NDArray[np.int64]
    ) -> list[tuple[FileRecord, NDArray[np.int64], NDArray[np.int64]]]:
        """Return (file, slots in ``row_ids``, positions in the file) for each file that is hit.

        A compacted file may have gaps in which younger files lie (whose writers had reserved
        their ids before and committed after), so what is not in the file that begins next
        below is looked for in those that begin further below.
        """
        located = []
        file_of = np.searchsorted(self._first_row_ids, row_ids, side="right") - 1
        slots = np.arange(len(row_ids))
        while len(slots):
            order = slots[np.argsort(file_of[slots], kind="stable")]
            starts = np.flatnonzero(np.diff(file_of[order], prepend=-1))
            numbers = file_of[order[starts]].tolist()
            for number, here in zip(numbers, np.split(order, starts[1:]), strict=True):
                positions = self._positions(self.records[number], row_ids[here])
                found = positions >= 0
                if found.any():
                    located.append((self.records[number], here[found], positions[found]))
                file_of[here] = np.where(found, -1, number - 1)
            slots = slots[file_of[slots] >= 0]
        return located

    def _positions(self, record: FileRecord, row_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where rows are in a file; -1 for those that are not."""
        if record.contiguous:
            return np.where(row_ids <= record.max_row_id, row_ids - record.min_row_id, -1)
        known = self._open(record).row_ids
        place = np.minimum(np.searchsorted(known, row_ids), len(known) - 1)
        return np.where(known[place] == row_ids, place, -1)


@final
class _IdColumn:
    """The ids of one file, for looking up a few: Arrow's own objects take three times as long.

    The file is opened when somebody asks.

    Parameters
    ----------
    record : FileRecord
        Of kind ``items``.
    open_segment : callable
        Opens the file, or returns the open one.
    """

    __slots__ = (
        "_bytes", "_contiguous", "_first", "_last", "_offsets", "_open", "_record", "_row_ids",
    )  # fmt: skip

    def __init__(
        self, record: FileRecord, open_segment: Callable[[FileRecord], ItemSegment]
    ) -> None:
        self._record, self._open = record, open_segment
        self._contiguous = record.contiguous
        self._first, self._last = record.min_row_id, record.max_row_id
        self._row_ids: NDArray[np.int64] | None = None
        self._offsets: memoryview | None = None

    def position(self, row: int) -> int:
        """Return where a row is, or -1."""
        if self._contiguous:
            return row - self._first if row <= self._last else -1
        known = self._row_ids
        if known is None:
            known = self._row_ids = self._open(self._record).row_ids
        position = int(np.searchsorted(known, row))
        return position if position < len(known) and known[position] == row else -1

    def text(self, position: int) -> str | None:
        """Return the id at a position; None if the file's ids are asked for the first time."""
        offsets = self._offsets
        if offsets is None:
            segment = self._open(self._record)
            if not segment.keeps_ids:
                return None
            ends, content = string_bytes(segment.ids)
            self._bytes = content.data
            self._offsets = offsets = ends.data  # last: other threads look at it first
        return str(self._bytes[offsets[position] : offsets[position + 1]], "utf-8")


def _in_order(parts: Any, order: list[NDArray[np.int64]]) -> Any:
    """Undo the grouping by file."""
    if len(order) == 1:
        return parts
    return parts.take(arrow_view(np.argsort(np.concatenate(order))))
