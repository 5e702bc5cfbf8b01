"""Demand: which rows searches return, so that what is asked for is embedded first.

Nothing is written while a query waits. What searches found is summed in memory now and then, and
added to the catalog in the background, when the collection is flushed, and before a backfill
reads it. Demand of several processes adds up. It is no part of any version.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vecstore.catalog.demand import DemandTable
from vecstore.errors import VecstoreError
from vecstore.rows import RowSet
from vecstore.storage.columns import arrow_view, numpy_view

__all__ = ["MOST_ROWS", "Demand", "DemandCounter"]

MOST_ROWS = 100_000
"""Rows that are remembered; of more, those least asked for are forgotten."""

_PENDING_CELLS = 65_536
_FOLD_FROM = 8

_log = logging.getLogger(__name__)


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Demand:
    """How much rows were asked for.

    Attributes
    ----------
    row_ids : ndarray of shape (n,), int64, ascending
    weights : ndarray of shape (n,), float64
        Sum over the hits of 1 / log2(rank + 1): what a hit at that rank is worth in nDCG.
    """

    row_ids: NDArray[np.int64]
    weights: NDArray[np.float64]

    @classmethod
    def of_hits(cls, row_ids: NDArray[np.int64], ranks: NDArray[np.integer[Any]]) -> Self:
        """Count hits: two arrays of shape (n,), rows (-1 for none) and their ranks from 1 on."""
        hit = row_ids >= 0
        return cls._summed(row_ids[hit], 1 / np.log2(ranks[hit] + 1.0))

    @classmethod
    def merged(cls, parts: Sequence[Self], *, live: RowSet | None = None) -> Self:
        """Add parts up, without the rows that died."""
        row_ids = np.concatenate([np.empty(0, np.int64), *(part.row_ids for part in parts)])
        weights = np.concatenate([np.empty(0), *(part.weights for part in parts)])
        if live is not None:
            alive = live.contains(row_ids)
            row_ids, weights = row_ids[alive], weights[alive]
        return cls._summed(row_ids, weights)

    @classmethod
    def _summed(cls, row_ids: NDArray[np.int64], weights: NDArray[np.float64]) -> Self:
        known, place = np.unique(row_ids, return_inverse=True)
        total = np.bincount(place, weights=weights, minlength=len(known)).astype(np.float64)
        if len(known) > MOST_ROWS:
            most = np.sort(np.argsort(-total, kind="stable")[:MOST_ROWS])
            known, total = known[most], total[most]
        return cls(row_ids=known, weights=total)

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read back what :meth:`to_bytes` wrote."""
        batch = pa.ipc.open_stream(pa.py_buffer(content)).read_next_batch()
        return cls(
            row_ids=numpy_view(batch.column("row_id")), weights=numpy_view(batch.column("weight"))
        )

    def to_bytes(self) -> bytes:
        """Return the counts as a compressed Arrow stream: some bytes for each row."""
        batch = pa.record_batch(
            {"row_id": arrow_view(self.row_ids), "weight": arrow_view(self.weights)}
        )
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
            writer.write_batch(batch)
        content: bytes = sink.getvalue().to_pybytes()
        return content

    def of(self, row_ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the weight of each row, ndarray of shape (n,), float64; 0 where unknown."""
        if not len(self.row_ids):
            return np.zeros(len(row_ids))
        place = np.minimum(np.searchsorted(self.row_ids, row_ids), len(self.row_ids) - 1)
        return np.where(self.row_ids[place] == row_ids, self.weights[place], 0.0)

    def __len__(self) -> int:
        return len(self.row_ids)


@final
class DemandCounter:
    """Counts the demand of one collection. Thread-safe.

    Parameters
    ----------
    live : callable
        Returns the rows that live now; the demand of others is forgotten.
    """

    def __init__(
        self, table: DemandTable, collection_id: str, *, live: Callable[[], RowSet]
    ) -> None:
        self._table = table
        self._id = collection_id
        self._live = live
        self._lock = threading.Lock()
        # Copied into, not appended to: arrays that live on make the next searches slower, by
        # more than their copies cost.
        self._rows = np.empty(_PENDING_CELLS, np.int64)
        self._ranks = np.empty(_PENDING_CELLS, np.int32)
        self._cells = 0
        self._counted: Demand | None = None

    def count(self, row_ids: NDArray[np.int64]) -> None:
        """Count hits, ndarray of shape (queries, k)."""
        ranks = np.arange(1, row_ids.shape[1] + 1, dtype=np.int32)
        with self._lock:
            if self._cells + row_ids.size > _PENDING_CELLS:
                self._sum()
            if row_ids.size > _PENDING_CELLS:
                self._take(Demand.of_hits(row_ids.ravel(), np.tile(ranks, len(row_ids))))
            else:
                here = slice(self._cells, self._cells + row_ids.size)
                self._rows[here] = row_ids.ravel()
                self._ranks[here].reshape(row_ids.shape)[:] = ranks
                self._cells = here.stop

    def flush(self) -> None:
        """Add what was counted to the catalog; if that refuses, it is kept for another try."""
        with self._lock:
            self._sum()
            counted, self._counted = self._counted, None
        if counted is None or not len(counted):
            return
        try:
            self._add(counted)
        except VecstoreError as error:
            _log.warning("demand is not written yet: %s", error)
            with self._lock:
                self._take(counted)

    def read(self) -> Demand:
        """Return the demand of all processes, this one's newest included."""
        self.flush()
        parts = self._table.read(self._id).values()
        return Demand.merged([Demand.from_bytes(part) for part in parts], live=self._live())

    def _add(self, counted: Demand) -> None:
        """Write a part; where many have gathered, one in the place of all."""
        parts = self._table.read(self._id)
        if len(parts) >= _FOLD_FROM:
            every = [counted, *map(Demand.from_bytes, parts.values())]
            folded = Demand.merged(every, live=self._live())
            if self._table.replace(self._id, folded.to_bytes(), folded=tuple(parts)):
                return
        self._table.replace(self._id, counted.to_bytes())

    def _sum(self) -> None:
        """Sum what is pending; the caller holds the lock."""
        if self._cells:
            self._take(Demand.of_hits(self._rows[: self._cells], self._ranks[: self._cells]))
            self._cells = 0

    def _take(self, new: Demand) -> None:
        """Add to what was counted; the caller holds the lock."""
        self._counted = new if self._counted is None else Demand.merged([self._counted, new])
