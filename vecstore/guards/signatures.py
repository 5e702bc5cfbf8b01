"""Signatures: what the spaces of a collection look like, learned from their own live vectors.

A signature is fitted on a bounded sample, anew each time the space has grown by a factor, so that
a space is learned a few times in its life. The sample lies next to the data as a cache:
another process fits it again without reading the space's files.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vecstore.catalog import FileRecord, SpaceRecord
from vecstore.errors import CorruptFileError, StorageError
from vecstore.snapshot import Snapshot
from vecstore.storage.root import DataRoot, checksum
from vecstore.storage.vectors import parse_vectors, write_vectors
from vecstore_translators.matching import Contrast
from vecstore_translators.signature import MIN_ROWS, SpaceSignature

__all__ = ["Signatures", "directed", "files_of"]

_SAMPLE = 1024
# A few large files stand for all; of small ones as many as the sample takes.
_LEAST_FILES = 8
# While the sample is not full, more vectors sharpen the signature; later they only renew it.
_EARLY_GROWTH = 2
_GROWTH = 4
_LIVE = 0.5


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Learned:
    """A signature, the rows it was learned from, and how many vectors there were then."""

    signature: SpaceSignature | None
    row_ids: NDArray[np.int64]
    total: int

    def serves(self, snapshot: Snapshot, total: int) -> bool:
        """Whether the space is still much the same."""
        if self.signature is None:
            return total < self.total + MIN_ROWS
        growth = _GROWTH if len(self.row_ids) == _SAMPLE else _EARLY_GROWTH
        if not self.total / growth < total < self.total * growth:
            return False
        return bool(snapshot.live.contains(self.row_ids).mean() > _LIVE)


@final
class Signatures:
    """Learns the signatures of one collection's spaces and remembers them. Thread-safe.

    Parameters
    ----------
    root : DataRoot
    folder : str
        Where the samples are kept, below the root.
    """

    def __init__(self, root: DataRoot, folder: str) -> None:
        self._root = root
        self._folder = folder
        self._lock = threading.RLock()
        self._learned: dict[str, _Learned] = {}
        self._contrasts: dict[tuple[str, str], Contrast] = {}

    def of(self, snapshot: Snapshot, record: SpaceRecord) -> SpaceSignature | None:
        """Return the signature of a space; None while it has fewer than 32 live vectors."""
        total = sum(file.rows for file in files_of(snapshot, record))
        if total < MIN_ROWS:
            return None
        with self._lock:
            learned = self._learned.get(record.id)
            if learned is None:
                learned = self._kept(record)
            if learned is None or not learned.serves(snapshot, total):
                learned = self._learn(snapshot, record, total)
            self._learned[record.id] = learned
            return learned.signature

    def contrast(self, snapshot: Snapshot, own: SpaceRecord, other: SpaceRecord) -> Contrast | None:
        """Return the contrast of two spaces; None while either has too few vectors."""
        ours, theirs = self.of(snapshot, own), self.of(snapshot, other)
        if ours is None or theirs is None:
            return None
        with self._lock:
            known = self._contrasts.get((own.id, other.id))
            if known is None or known.own is not ours or known.other is not theirs:
                known = self._contrasts[own.id, other.id] = Contrast.between(ours, theirs)
            return known

    def _learn(self, snapshot: Snapshot, record: SpaceRecord, total: int) -> _Learned:
        try:
            row_ids, vectors = _sample(snapshot, record)
        except (CorruptFileError, StorageError):
            # A damaged file is the concern of those who read it, not of a write.
            return _Learned(signature=None, row_ids=np.empty(0, np.int64), total=total)
        self._keep(record, row_ids, vectors, total)
        return _fitted(row_ids, vectors, total)

    def _path(self, record: SpaceRecord) -> str:
        return f"{self._folder}/{record.directory}.arrow"

    def _keep(
        self, record: SpaceRecord, row_ids: NDArray[np.int64], vectors: NDArray[Any], total: int
    ) -> None:
        labels = _labels(record, vectors) | {"vecstore.total": str(total)}
        try:
            write_vectors(
                self._root, self._path(record), row_ids=row_ids, vectors=vectors, labels=labels
            )
        except StorageError:
            # Full or read-only: no reason to fail; the next process learns again.
            return

    def _kept(self, record: SpaceRecord) -> _Learned | None:
        """Return what an earlier process learned, if its sample is whole and this space's."""
        path = self._path(record)
        buffer = self._root.map_cache(path)
        if buffer is None:
            return None
        try:
            segment, found = parse_vectors(buffer, path=path, dim=record.space.dim)
            total = int(found.pop("vecstore.total", ""))
        except (CorruptFileError, ValueError):
            return None
        if found != _labels(record, segment.vectors):
            return None
        return _fitted(np.array(segment.row_ids), segment.vectors, total)


def files_of(snapshot: Snapshot, record: SpaceRecord) -> list[FileRecord]:
    """Return the vector files of a space."""
    return [
        file
        for file in snapshot.state.files
        if file.kind == "vectors" and file.space_id == record.id
    ]


def directed(vectors: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which rows have a direction, in float32; zero has none, where spaces allow it."""
    rows = np.asarray(vectors, dtype=np.float32)
    return np.asarray(np.einsum("ij,ij->i", rows, rows) > 0)


def _sample(snapshot: Snapshot, record: SpaceRecord) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return live vectors of a space, seeded, from few of its files."""
    rng = np.random.default_rng(0)
    files = files_of(snapshot, record)
    weights = np.array([file.rows for file in files], dtype=np.float64)
    order = rng.choice(len(files), len(files), replace=False, p=weights / weights.sum())
    reached = np.cumsum(weights[order])
    enough = max(int(np.searchsorted(reached, _SAMPLE)) + 1, _LEAST_FILES)
    chosen = frozenset(files[number].id for number in order[:enough])
    parts = [
        (
            live.segment,
            np.arange(len(live.segment)) if live.keep is None else live.keep.nonzero()[0],
        )
        for live in snapshot.vectors_in(record.space.name, chosen)
    ]
    sizes = [len(positions) for _, positions in parts]
    taken = np.sort(rng.choice(sum(sizes), min(sum(sizes), _SAMPLE), replace=False))
    rows, vectors = [np.empty(0, np.int64)], [np.empty((0, record.space.dim), np.float32)]
    for (segment, positions), end in zip(parts, np.cumsum(sizes, dtype=np.int64), strict=True):
        here = taken[(taken >= end - len(positions)) & (taken < end)] - (end - len(positions))
        rows.append(segment.row_ids[positions[here]])
        vectors.append(np.asarray(segment.vectors[positions[here]], dtype=np.float32))
    row_ids = np.concatenate(rows)
    order = np.argsort(row_ids, kind="stable")
    stacked = np.concatenate(vectors)[order]
    good = directed(stacked)
    return row_ids[order][good], np.ascontiguousarray(stacked[good])


def _fitted(row_ids: NDArray[np.int64], vectors: NDArray[Any], total: int) -> _Learned:
    signature = SpaceSignature.fit(vectors, items=row_ids) if len(vectors) >= MIN_ROWS else None
    return _Learned(signature=signature, row_ids=row_ids, total=total)


def _labels(record: SpaceRecord, vectors: NDArray[Any]) -> dict[str, str]:
    return {
        "vecstore.format": "1",
        "vecstore.space": record.id,
        "vecstore.content": checksum(pa.py_buffer(np.ascontiguousarray(vectors))),
    }
