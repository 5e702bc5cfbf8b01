"""Copies: vectors that the same items already have in another space.

No statistics: two models give no text the same vector. This finds what signatures cannot, a
relative's vectors among those of its own family, and the first batch of an empty space.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from vecstore.catalog import SpaceRecord
from vecstore.errors import CorruptFileError, StorageError
from vecstore.guards.signatures import files_of
from vecstore.snapshot import Snapshot

__all__ = ["Copies", "find_copies"]

_ROWS = 32
# In fewer dimensions vectors coincide by chance.
_LEAST_DIM = 8
# Far below what rounding to half precision, or another batch size of the same model, changes.
_SAME = 0.9999
_MOST = 0.5


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """How many of the items compared have the same vector in another space."""

    space: str
    equal: int
    compared: int


def find_copies(
    snapshot: Snapshot,
    others: Iterable[SpaceRecord],
    row_ids: NDArray[np.int64],
    vectors: NDArray[np.float32],
) -> Copies | None:
    """Return the space in which most of the items have these very vectors, if there is one.

    Parameters
    ----------
    row_ids : ndarray of shape (n,), int64
        Rows below 0 are left out; 32 of the others are compared.
    vectors : ndarray of shape (n, dim), float32
        None of them zero. With fewer than 8 dimensions nothing is compared.
    """
    if vectors.shape[1] < _LEAST_DIM:
        return None
    present = np.flatnonzero(row_ids >= 0)[:_ROWS]
    row_ids, vectors = row_ids[present], vectors[present]
    for other in others:
        try:
            compared, equal = _compare(snapshot, other, row_ids, vectors)
        except (CorruptFileError, StorageError):
            continue
        if equal > _MOST * compared:
            return Copies(space=other.space.name, equal=equal, compared=compared)
    return None


def _compare(
    snapshot: Snapshot,
    other: SpaceRecord,
    row_ids: NDArray[np.int64],
    vectors: NDArray[np.float32],
) -> tuple[int, int]:
    """Return how many rows have a vector in the other space, and how many the same one."""
    files = [
        file.id
        for file in files_of(snapshot, other)
        if ((row_ids >= file.min_row_id) & (row_ids <= file.max_row_id)).any()
    ]
    compared = equal = 0
    for live in snapshot.vectors_in(other.space.name, frozenset(files)) if files else ():
        _, ours, theirs = np.intersect1d(
            row_ids, live.live_row_ids, assume_unique=True, return_indices=True
        )
        if live.keep is not None:
            theirs = np.flatnonzero(live.keep)[theirs]
        stored = np.asarray(live.segment.vectors[theirs], dtype=np.float32)
        products = np.einsum("ij,ij->i", stored, vectors[ours])
        lengths = np.linalg.norm(stored, axis=1) * np.linalg.norm(vectors[ours], axis=1)
        compared += len(ours)
        equal += int(np.count_nonzero(products > _SAME * lengths))
    return compared, equal
