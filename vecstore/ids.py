"""Item ids: what is accepted, and an index from ids to the row ids that ever carried them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any, TypeAlias, final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vecstore.errors import InvalidArgumentError
from vecstore.storage.columns import arrow_column, numpy_view, string_bytes

__all__ = ["HashedIds", "IdIndex", "Ids", "as_ids"]

Ids: TypeAlias = Sequence[str] | NDArray[Any] | pa.Array | pa.ChunkedArray

MAX_ID_BYTES = 1024


def as_ids(ids: Ids) -> pa.Array:
    """Return ids as an Arrow string array.

    Raises
    ------
    InvalidArgumentError
        An id is not a string, is empty, longer than 1,024 bytes, or contains NUL.
    """
    if isinstance(ids, (str, bytes)):
        raise InvalidArgumentError(f"expected a sequence of ids, got the single value {ids!r}")
    if isinstance(ids, (Set, Mapping)):
        raise InvalidArgumentError(
            f"expected a sequence of ids, got a {type(ids).__name__}, whose order says nothing "
            "about the rows beside it; pass a list"
        )
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    try:
        # The type is inferred, because Arrow would take bytes for strings if told to.
        array = ids if isinstance(ids, pa.Array) else arrow_column(ids)
        strings = pa.types.is_string(array.type) or pa.types.is_large_string(array.type)
        if not strings and array.null_count < len(array):
            raise InvalidArgumentError(f"expected ids to be strings, got {array.type}")
        array = array if array.type == pa.string() else array.cast(pa.string())
    except (pa.ArrowException, TypeError, UnicodeError) as error:
        raise InvalidArgumentError(f"expected ids to be strings: {error}") from error
    if array.null_count:
        raise InvalidArgumentError(
            "expected every item to have an id; position "
            f"{numpy_view(array.is_null()).argmax()} has none"
        )
    ends, content = string_bytes(array)
    lengths = np.diff(ends)
    bad = (lengths == 0) | (lengths > MAX_ID_BYTES)
    nul = ends[0] + np.flatnonzero(content[ends[0] : ends[-1]] == 0)
    bad[np.searchsorted(ends, nul, side="right") - 1] = True
    if bad.any():
        raise InvalidArgumentError(
            f"expected ids of 1 to {MAX_ID_BYTES} bytes without NUL; position {bad.argmax()} "
            "is not one"
        )
    return array


@final
class HashedIds:
    """Ids in the ascending order of their hashes: hashed once to be compared, found and indexed.

    Python's string hash is 64 bits and seeded per process, so ids cannot be crafted to collide; who
    finds equal hashes still compares the ids.

    Attributes
    ----------
    ids : string array of length n
    hashes : ndarray of shape (n,), int64, ascending
    order : ndarray of shape (n,), int64
        ``hashes[i]`` is that of ``ids[order[i]]``.
    """

    __slots__ = ("hashes", "ids", "order")

    def __init__(self, ids: pa.Array) -> None:
        self.ids = ids
        hashes = np.fromiter(map(hash, ids.to_pylist()), dtype=np.int64, count=len(ids))
        self.order = np.argsort(hashes)
        self.hashes = hashes[self.order]

    def __len__(self) -> int:
        return len(self.ids)

    def require_unique(self) -> None:
        """Raise InvalidArgumentError, naming one of them, if ids repeat."""
        if not (self.hashes[1:] == self.hashes[:-1]).any():
            return
        import pyarrow.compute as pc  # 80 ms of a process's first write, which needs it seldom

        counts = pc.value_counts(self.ids)
        repeated = counts.filter(pc.greater(counts.field("counts"), 1))
        if len(repeated):
            raise InvalidArgumentError(
                f"expected unique ids in one call, but {len(repeated)} of them repeat, such as "
                f"{repeated.field('values')[0].as_py()!r}; keep the row that should win"
            )


@final
class IdIndex:
    """Where ids are: sorted runs of (hash, row id), immutable and extended by copying.

    An LSM tree in memory: a new batch becomes a run, and runs of similar size are merged,
    so that adding n rows one batch at a time costs O(n log n) and a lookup searches a
    handful of sorted arrays. The caller still compares the ids it is given.
    """

    __slots__ = ("_runs",)

    def __init__(self, runs: tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...] = ()) -> None:
        self._runs = runs

    def extended(self, ids: HashedIds, row_ids: NDArray[np.int64]) -> IdIndex:
        """Return an index that knows these rows as well."""
        if len(ids) == 0:
            return self
        runs = list(self._runs)
        new = ids.hashes, row_ids[ids.order]
        while runs and len(runs[-1][0]) < 2 * len(new[0]):
            hashes, rows = runs.pop()
            new = _sorted_run(np.concatenate([hashes, new[0]]), np.concatenate([rows, new[1]]))
        return IdIndex((*runs, new))

    def unknown(self, row_ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say which rows the index does not know, ndarray of shape (n,), bool."""
        new = np.ones(len(row_ids), dtype=bool)
        for _, rows in self._runs:
            new &= ~np.isin(row_ids, rows)
        return new

    def candidates(self, ids: HashedIds) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return rows that may carry the ids.

        Returns
        -------
        positions, row_ids : ndarray of shape (m,), int64
            ``row_ids[i]`` may carry ``ids.ids[positions[i]]``: dead revisions and, very rarely,
            other ids with the same hash are among them.
        """
        # In ascending order they are looked up several times as fast: the caches are warm.
        wanted, order = ids.hashes, ids.order
        positions, rows = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for hashes, row_ids in self._runs:
            first = np.searchsorted(hashes, wanted, side="left")
            count = np.searchsorted(hashes, wanted, side="right") - first
            position = np.repeat(np.arange(len(wanted)), count)
            offset = np.arange(len(position)) - np.repeat(np.cumsum(count) - count, count)
            positions.append(order[position])
            rows.append(row_ids[first[position] + offset])
        return np.concatenate(positions), np.concatenate(rows)


def _sorted_run(
    hashes: NDArray[np.int64], row_ids: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    order = np.argsort(hashes, kind="stable")
    return hashes[order], row_ids[order]
