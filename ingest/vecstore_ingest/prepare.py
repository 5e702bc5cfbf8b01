"""From a chunk of a file to rows the store takes, with the bad ones set apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vecstore.spaces import Space
from vecstore_ingest.columns import Fault, as_texts, convert, id_column, vector_column
from vecstore_ingest.formats.reader import BadRow, Chunk
from vecstore_ingest.mapping import Resolved
from vecstore_ingest.rejects import raw_row
from vecstore_ingest.seen import SeenIds

__all__ = ["Prepared", "prepare"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Good rows of a chunk as the store takes them, and its bad rows; both in file order.

    ``rows[i]`` is the file's number of good row i, and ``raw`` row ``source[i]`` is what the
    file held. ``embed``: the documents came without vectors, for an encoder to make.
    """

    rows: NDArray[np.int64]
    ids: pa.Array
    vectors: Mapping[str, NDArray[np.float32]]
    present: Mapping[str, NDArray[np.bool_]]
    documents: pa.Array | None
    metadata: pa.Table | None
    bad: tuple[BadRow, ...]
    raw: pa.RecordBatch
    source: NDArray[np.int64]
    embed: bool = False

    def refused(self, index: int, reason: str) -> BadRow:
        """Return a good row that the store refused as a bad one."""
        raw = raw_row(self.raw, int(self.source[index]))
        return BadRow(row=int(self.rows[index]), column=None, reason=reason, raw=raw)


def prepare(
    chunk: Chunk,
    resolved: Resolved | None,
    *,
    file: str,
    spaces: Mapping[str, Space],
    seen: SeenIds | None,
    check: Callable[[pa.Array], list[Fault]] | None = None,
    vectors_required: bool = False,
) -> Prepared:
    """Validate every row of a chunk.

    Parameters
    ----------
    resolved : Resolved or None
        None while no row of the file could be parsed.
    seen : SeenIds or None
        Ids met before; takes in this chunk's. The first row with an id has it, be it good or
        bad, and later ones are bad. None where ids cannot repeat.
    check : callable, optional
        Asked about the ids (null where they are); returns what else is wrong with rows.
    vectors_required : bool
        A row without a vector is bad (it is an item without one otherwise).

    Raises
    ------
    IngestError
        A column's type is wrong, so that no row can be good.
    """
    batch = chunk.batch
    if resolved is None or not batch.num_rows:
        return _nothing(chunk)
    n = batch.num_rows
    names = batch.schema.names
    ids, faults = id_column(_column(batch, resolved.id), column=resolved.id, file=file)
    if seen is not None:
        repeated = np.flatnonzero(seen.add(ids))
        reason = "duplicate id: an earlier row of this job has it"
        faults.append(Fault(rows=repeated, column=resolved.id, reason=reason))
    if check is not None:
        faults += check(ids)
    vectors, present = {}, {}
    for source in resolved.vectors:
        space = spaces[source.space]
        vectors[source.space], present[source.space], found = vector_column(
            [_column(batch, name) for name in source.columns],
            column=source.column,
            file=file,
            dim=space.dim,
            cosine=space.metric == "cosine",
            half=space.dtype == "float16",
        )
        faults += found
        if vectors_required:
            missing = np.flatnonzero(~present[source.space])
            faults.append(Fault(rows=missing, column=source.column, reason="null vector"))
    documents = None
    if resolved.document is not None and resolved.document in names:
        documents = as_texts(batch.column(resolved.document), column=resolved.document, file=file)
    columns = {}
    for name, stored in resolved.metadata(names).items():
        column = batch.column(name)
        kind = resolved.types.get(name)
        if kind is not None:
            inferred = name in resolved.inferred
            column, found = convert(column, kind, column=name, inferred=inferred)
            faults += found
        if not pa.types.is_null(column.type):
            columns[stored] = column
    bad = _bad_rows(chunk, faults)
    good = np.ones(n, np.bool_)
    for fault in faults:
        good[fault.rows] = False
    everything = bool(good.all())
    kept = np.flatnonzero(good)
    mask = pa.array(good)
    metadata = pa.table(columns) if columns else None
    return Prepared(
        rows=chunk.rows[kept],
        ids=ids if everything else ids.filter(mask),
        vectors={s: v if everything else v[kept] for s, v in vectors.items()},
        present={s: p[kept] for s, p in present.items()},
        documents=documents if documents is None or everything else documents.filter(mask),
        metadata=metadata if metadata is None or everything else metadata.filter(mask),
        bad=bad,
        raw=batch,
        source=kept,
        embed=resolved.embed,
    )


def _nothing(chunk: Chunk) -> Prepared:
    """Return a chunk none of whose rows could be parsed."""
    return Prepared(
        rows=np.empty(0, np.int64),
        ids=pa.array([], pa.string()),
        vectors={},
        present={},
        documents=None,
        metadata=None,
        bad=chunk.bad,
        raw=chunk.batch,
        source=np.empty(0, np.int64),
    )


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    """Return a column; a JSONL chunk in which no row has it lacks it."""
    index = batch.schema.get_field_index(name)
    return pa.nulls(batch.num_rows) if index < 0 else batch.column(index)


def _bad_rows(chunk: Chunk, faults: list[Fault]) -> tuple[BadRow, ...]:
    """Return what could not be parsed and what is at fault, each row once, in file order."""
    first: dict[int, Fault] = {}
    for fault in faults:
        for index in fault.rows.tolist():
            first.setdefault(index, fault)
    bad = [
        BadRow(
            row=int(chunk.rows[index]),
            column=fault.column,
            reason=fault.reason,
            raw=raw_row(chunk.batch, index),
        )
        for index, fault in first.items()
    ]
    return tuple(sorted([*bad, *chunk.bad], key=lambda b: b.row))
