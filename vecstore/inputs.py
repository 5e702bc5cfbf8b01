"""What a caller passes to a write, as checked arrays: nothing is written before this is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, final

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from vecstore.catalog import SpaceRecord
from vecstore.encoders import Encoders
from vecstore.encoding import embed_documents
from vecstore.errors import InvalidArgumentError, UnpairedRowsError
from vecstore.ids import HashedIds, Ids, as_ids
from vecstore.metadata import Metadata, as_metadata
from vecstore.snapshot import Snapshot
from vecstore.spaces import Space
from vecstore.storage.columns import arrow_column, numpy_view

__all__ = ["Documents", "Rows", "Vectors", "checked_rows", "require_space", "with_embedded"]

Vectors: TypeAlias = ArrayLike | Mapping[str, ArrayLike]
Documents: TypeAlias = Sequence[str | None] | pa.Array | pa.ChunkedArray

MAX_BATCH = 1_000_000


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Row-aligned input of one write.

    Attributes
    ----------
    ids : HashedIds, unique
    vectors : dict of space name to ndarray of shape (n, dim), as the space stores it
    spaces : dict of space name to Space, those that the vectors were prepared for
    documents : string array, null where an item has none
    metadata : table of n rows, or without columns
    positions : dict of space name to ndarray of shape (m,), int64, ascending
        Which rows the vectors in a space belong to, where they are not of all rows.
    """

    ids: HashedIds
    vectors: Mapping[str, NDArray[Any]]
    spaces: Mapping[str, Space]
    documents: pa.Array
    metadata: pa.Table
    positions: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)


def checked_rows(
    snapshot: Snapshot,
    *,
    ids: Ids,
    vectors: Vectors | None,
    space: str | Space | None,
    documents: Documents | None = None,
    metadata: Metadata | None = None,
) -> Rows:
    """Check the input of a write against the collection; the errors are those of ``upsert``."""
    wanted = HashedIds(as_ids(ids))
    wanted.require_unique()
    if len(wanted) > MAX_BATCH:
        raise InvalidArgumentError(
            f"expected at most {MAX_BATCH:,} rows in one call, got {len(wanted):,}; "
            "write in batches"
        )
    given = _by_space(snapshot, vectors, space)
    spaces = {name: snapshot.space(name).space for name in given}
    prepared = {name: spaces[name].prepare(rows) for name, rows in given.items()}
    for name, rows in prepared.items():
        _require_paired(len(wanted), len(rows), f"vectors in space {name!r}")
    return Rows(
        ids=wanted,
        vectors=prepared,
        spaces=spaces,
        documents=_as_documents(documents, rows=len(wanted)),
        metadata=as_metadata(metadata, rows=len(wanted)),
    )


def with_embedded(
    rows: Rows, snapshot: Snapshot, space: str | Space | None, encoders: Encoders
) -> Rows:
    """Return rows with their documents embedded: for the named space, or for the newest one.

    Without a named space nothing is embedded if the newest generation has no encoder, or is
    several spaces.
    """
    record = _embedding_space(snapshot, space, encoders)
    positions = np.flatnonzero(numpy_view(rows.documents.is_valid()))
    if record is None or not len(positions):
        return rows
    texts = rows.documents.drop_null().to_pylist()
    vectors = embed_documents(encoders.of(record), record.space, texts)
    name = record.space.name
    return replace(
        rows,
        vectors={name: record.space.prepare(vectors)},
        spaces={name: record.space},
        positions={} if len(positions) == len(rows) else {name: positions},
    )


def _embedding_space(
    snapshot: Snapshot, space: str | Space | None, encoders: Encoders
) -> SpaceRecord | None:
    if space is not None:
        return snapshot.space(require_space(snapshot, space))
    generation = max((r.generation for r in snapshot.spaces.values()), default=0)
    newest = [r for r in snapshot.spaces.values() if r.generation == generation]
    return newest[0] if len(newest) == 1 and encoders.declared(newest[0]) else None


def require_space(snapshot: Snapshot, space: str | Space) -> str:
    """Return a space's name; a Space object must be the one the collection has."""
    if isinstance(space, Space):
        snapshot.space(space.name).space.require_same(space)
        return space.name
    return snapshot.space(space).space.name


def _by_space(
    snapshot: Snapshot, vectors: Vectors | None, space: str | Space | None
) -> dict[str, ArrayLike]:
    """Return vectors by space name; refuse what does not say whose they are."""
    if vectors is None:
        return {}
    if isinstance(vectors, Mapping):
        if space is not None:
            raise InvalidArgumentError("vectors by space name need no space=; got both")
        return dict(vectors)
    if space is None:
        known = list(snapshot.spaces)
        if len(known) != 1:
            raise InvalidArgumentError(
                "say which space the vectors belong to with space=; the collection has "
                f"{', '.join(map(repr, known)) or 'none yet, see create_space'}"
            )
        space = known[0]
    return {require_space(snapshot, space): vectors}


def _as_documents(documents: Documents | None, *, rows: int) -> pa.Array:
    if documents is None:
        return pa.nulls(rows, pa.string())
    if isinstance(documents, (str, bytes)):
        raise InvalidArgumentError("expected a sequence of documents, got a single string")
    try:
        if isinstance(documents, pa.ChunkedArray):
            documents = documents.combine_chunks()
        array = (
            documents.cast(pa.string())
            if isinstance(documents, pa.Array)
            else arrow_column(documents, pa.string())
        )
    except (pa.ArrowException, TypeError, UnicodeError) as error:
        raise InvalidArgumentError(f"expected documents to be strings or None: {error}") from error
    _require_paired(rows, len(array), "documents")
    return array


def _require_paired(expected: int, got: int, what: str) -> None:
    if expected != got:
        raise UnpairedRowsError(
            f"expected {what} for {expected} ids, got {got}; rows must be aligned"
        )
