"""Items as they are stored: looked up by their ids, or streamed in the order they were written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vecstore.errors import InvalidArgumentError, NotFoundError
from vecstore.filters import Where
from vecstore.ids import Ids, as_ids
from vecstore.snapshot import Snapshot
from vecstore.storage.columns import arrow_view

__all__ = ["Item", "item_batches", "items_by_id"]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Item:
    """An item as it is stored. Vectors by space; unit norm in cosine spaces."""

    id: str
    document: str | None
    metadata: Mapping[str, Any]
    vectors: Mapping[str, NDArray[np.float32]]


def items_by_id(snapshot: Snapshot, ids: Ids, spaces: Sequence[str]) -> list[Item]:
    """Return items in the order of their ids, with their native vectors in some spaces.

    Raises
    ------
    NotFoundError
        An id has no live item.
    """
    wanted = as_ids(ids)
    row_ids = snapshot.find(wanted)
    if (row_ids < 0).any():
        missing = wanted[int(np.flatnonzero(row_ids < 0)[0])].as_py()
        raise NotFoundError(
            f"{(row_ids < 0).sum()} of {len(wanted)} ids have no item in version "
            f"{snapshot.version} of collection {snapshot.state.collection.name!r}, such as "
            f"{missing!r}"
        )
    vectors = [snapshot.native_vectors(space, row_ids) for space in spaces]
    rows = snapshot.items(row_ids, snapshot.state.schema.names).to_pylist()
    return [
        Item(
            id=row.pop("id"),
            document=row.pop("document"),
            metadata=row,
            vectors={
                space: found[number]
                for space, (present, found) in zip(spaces, vectors, strict=True)
                if present[number]
            },
        )
        for number, row in enumerate(rows)
    ]


def item_batches(
    snapshot: Snapshot, spaces: Sequence[str], where: Where | None, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Stream all live items; arguments are checked now, and not when the first batch is read.

    Raises
    ------
    InvalidArgumentError
        ``batch_rows`` is less than 1, or a space has the name of a metadata column.
    NotFoundError
        There is no such space.
    """
    if batch_rows < 1:
        raise InvalidArgumentError(f"expected batch_rows >= 1, got {batch_rows}")
    for space in spaces:
        snapshot.space(space)
        if space in snapshot.state.schema.names:
            raise InvalidArgumentError(
                f"space {space!r} and a metadata column share a name, and a batch has one "
                "column of each name; scan without the space and read its vectors with get"
            )
    return _batches(snapshot, spaces, where, batch_rows)


def _batches(
    snapshot: Snapshot, spaces: Sequence[str], where: Where | None, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Read batch after batch."""
    rows = snapshot.live if where is None else snapshot.matching(where)
    row_ids = rows.to_array()
    for start in range(0, len(row_ids), batch_rows):
        part = row_ids[start : start + batch_rows]
        table = snapshot.items(part, snapshot.state.schema.names)
        for space in spaces:
            table = table.append_column(space, _vector_column(snapshot, space, part))
        yield table.combine_chunks().to_batches()[0]


def _vector_column(snapshot: Snapshot, space: str, row_ids: NDArray[np.int64]) -> pa.Array:
    present, vectors = snapshot.native_vectors(space, row_ids)
    values = arrow_view(vectors.reshape(-1))
    return pa.FixedSizeListArray.from_arrays(values, vectors.shape[1], mask=arrow_view(~present))
