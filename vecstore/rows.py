"""RowSet: an immutable set of row ids, the currency of every mask in the store.

Live rows, filters and coverage are all sets of ``row_id``. A bitmap (one bit per id,
little-endian bit order) makes their algebra cheap, and is byte for byte what FAISS reads
in ``IDSelectorBitmap``, so a mask enters an index without a copy.
"""

from __future__ import annotations

from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import NDArray

__all__ = ["RowSet"]

Int64Array = NDArray[np.int64]


@final
class RowSet:
    """An immutable set of non-negative row ids, stored as a bitmap.

    Parameters
    ----------
    bits : ndarray of shape (b,), uint8
        Bit ``i & 7`` of byte ``i >> 3`` says whether row id ``i`` is a member. Ids beyond
        the array are not members. The array is owned by the set; do not write to it.

    Examples
    --------
    >>> rows = RowSet.of([1, 3, 900])
    >>> len(rows), rows.contains(np.array([0, 1, 900, 10_000])).tolist()
    (3, [False, True, True, False])
    >>> (rows & RowSet.of([3, 4])).to_array().tolist()
    [3]
    """

    __slots__ = ("__dict__", "bits")

    def __init__(self, bits: NDArray[np.uint8]) -> None:
        self.bits = bits
        bits.flags.writeable = False

    @classmethod
    def of(cls, row_ids: Int64Array | list[int]) -> RowSet:
        """Build the set of the given ids (any order, repeats allowed)."""
        ids = np.asarray(row_ids, dtype=np.int64)
        if ids.size == 0:
            return cls(np.zeros(0, dtype=np.uint8))
        members = np.zeros(int(ids.max()) + 1, dtype=bool)
        members[ids] = True
        return cls.of_mask(members)

    @classmethod
    def of_mask(cls, members: NDArray[np.bool_]) -> RowSet:
        """Build the set of the positions that are true in ``members``."""
        return cls(np.packbits(members, bitorder="little"))

    @cached_property
    def _size(self) -> int:
        return int(np.bitwise_count(self.bits).sum())

    def __len__(self) -> int:
        return self._size

    def __and__(self, other: RowSet) -> RowSet:
        n = min(len(self.bits), len(other.bits))
        return RowSet(self.bits[:n] & other.bits[:n])

    def __or__(self, other: RowSet) -> RowSet:
        short, long = sorted((self.bits, other.bits), key=len)
        union = long.copy()
        union[: len(short)] |= short
        return RowSet(union)

    def __sub__(self, other: RowSet) -> RowSet:
        n = min(len(self.bits), len(other.bits))
        rest = self.bits.copy()
        rest[:n] &= ~other.bits[:n]
        return RowSet(rest)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RowSet):
            return NotImplemented
        return len(self) == len(other) == len(self & other)

    __hash__ = None  # type: ignore[assignment]

    def within(self, other: RowSet) -> RowSet:
        """Return ``self & other``: this very object where all members are in the other set.

        What is known of a set, by who searched it last, is of use only while it is the same one.

        Examples
        --------
        >>> some, more = RowSet.of([1, 9]), RowSet.of([1, 9, 70])
        >>> some.within(more) is some, more.within(some)
        (True, RowSet(2 rows))
        """
        inside = self & other
        return self if len(inside) == len(self) else inside

    def contains(self, row_ids: Int64Array) -> NDArray[np.bool_]:
        """Say for each id whether it is a member.

        Parameters
        ----------
        row_ids : ndarray of shape (n,), int64

        Returns
        -------
        ndarray of shape (n,), bool
        """
        if len(self.bits) == 0:
            return np.zeros(row_ids.shape, dtype=bool)
        byte = row_ids >> 3
        inside = byte < len(self.bits)
        found = (self.bits[np.where(inside, byte, 0)] >> (row_ids & 7).astype(np.uint8)) & 1
        return (found.astype(bool)) & inside

    @cached_property
    def members(self) -> Int64Array:
        """What :meth:`to_array` returns, kept for who asks a small set again and again."""
        members = self.to_array()
        members.flags.writeable = False
        return members

    def to_array(self) -> Int64Array:
        """Return the members in ascending order, ndarray of shape (len(self),), int64."""
        return np.flatnonzero(np.unpackbits(self.bits, bitorder="little")).astype(np.int64)

    def __repr__(self) -> str:
        return f"RowSet({len(self)} rows)"
