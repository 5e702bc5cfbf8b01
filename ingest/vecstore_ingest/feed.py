"""The reading half of a job: chunks of files as rows that are ready to be written.

What a row is worth can depend on rows before it: the first rows of a file decide the mapping,
and an id belongs to the first row that has it. A resumed job reads that again, and no more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import final

import numpy as np
import pyarrow as pa

from vecstore import Collection
from vecstore.errors import IngestError
from vecstore_ingest.columns import Fault
from vecstore_ingest.formats.reader import START, Chunk, Position, Reader, reading
from vecstore_ingest.mapping import ColumnMapping, Resolved
from vecstore_ingest.prepare import Prepared, prepare
from vecstore_ingest.seen import SeenIds

__all__ = ["Feed"]


@final
class Feed:
    """Validated chunks of one job's files, which must be asked for in order.

    Parameters
    ----------
    space : str or None
        Where vectors go whose column is not named like a space.
    batch_rows : int
        Rows per chunk.
    adding : bool
        Vectors of one space are attached to items, which must exist.
    fresh : bool
        With ``adding``: those items must have no vector in the space.
    """

    def __init__(
        self,
        collection: Collection,
        mapping: ColumnMapping,
        *,
        space: str | None,
        batch_rows: int,
        adding: bool,
        fresh: bool,
    ) -> None:
        self._collection = collection
        self._mapping = mapping
        self._space = space
        self._batch_rows = batch_rows
        self._adding = adding
        self._fresh = fresh
        self._spaces = {n: status.space for n, status in collection.spaces.items()}
        self._seen: SeenIds | None = SeenIds()

    def forget_ids(self) -> None:
        """Remember no ids from here on, because they cannot repeat."""
        self._seen = None

    def batches(self, reader: Reader, start: Position) -> Iterator[tuple[Chunk, Prepared]]:
        """Yield a file's chunks from a position on, validated."""
        for chunk, resolved in self._chunks(reader, start):
            yield chunk, self._prepare(chunk, resolved, reader)

    def learn(self, reader: Reader, until: Position | None = None) -> Resolved | None:
        """Read again what an earlier run has settled: the mapping, and the ids it met."""
        rows = self._batch_rows
        resolved = None
        for chunk in reader.chunks(batch_rows=rows):
            if resolved is None and chunk.batch.num_rows:
                resolved = self._resolve(chunk, reader)
            if reader.source.is_stdin:  # it can be read only once
                self._meet(chunk, resolved, reader)
            elif resolved is not None:
                break
        if resolved is None or self._seen is None or reader.source.is_stdin:
            return resolved
        for chunk in reader.chunks(batch_rows=rows, columns=[resolved.id]):
            if until is not None and chunk.start.row >= until.row:
                break
            self._meet(chunk, resolved, reader)
        return resolved

    def _chunks(self, reader: Reader, start: Position) -> Iterator[tuple[Chunk, Resolved | None]]:
        """Yield chunks from a position on with the mapping, which the first rows decide."""
        resolved = None
        if start != START and not reader.source.is_stdin:
            resolved = self.learn(reader, start)
            for chunk in reader.chunks(start, batch_rows=self._batch_rows):
                yield chunk, resolved
            return
        reached = START
        for chunk in reader.chunks(batch_rows=self._batch_rows):
            if resolved is None and chunk.batch.num_rows:
                resolved = self._resolve(chunk, reader)
            if chunk.start.row < start.row:
                self._meet(chunk, resolved, reader)
            else:
                if chunk.start.row == start.row:
                    _require_same_input(chunk.start, start, reader)
                yield chunk, resolved
            reached = chunk.end
        if reached.row <= start.row:
            _require_same_input(reached, start, reader)

    def _meet(self, chunk: Chunk, resolved: Resolved | None, reader: Reader) -> None:
        """Take note of a chunk's ids only."""
        if resolved is not None and self._seen is not None:
            ids_only = replace(resolved, vectors=(), document=None, include=frozenset())
            prepare(
                chunk,
                ids_only,
                file=reader.source.path,
                spaces=self._spaces,
                seen=self._seen,
            )

    def _resolve(self, chunk: Chunk, reader: Reader) -> Resolved:
        file = reader.source.path
        resolved = self._mapping.resolve(
            chunk.batch,
            file=file,
            spaces=self._spaces,
            space=self._space,
            untyped=reader.untyped,
            embed=not self._adding,
        )
        if self._adding and len(resolved.vectors) != 1:
            found = [vector.column for vector in resolved.vectors]
            raise IngestError(
                f"{file}: expected one column of vectors to add, got {found or 'none'}; name one "
                "space, and run one job for each"
            )
        return resolved

    def _prepare(self, chunk: Chunk, resolved: Resolved | None, reader: Reader) -> Prepared:
        check = None
        if self._adding and resolved is not None:
            check = partial(self._unattachable, resolved)
        with reading(reader.source, chunk.start.row):
            return prepare(
                chunk,
                resolved,
                file=reader.source.path,
                spaces=self._spaces,
                seen=self._seen,
                check=check,
                vectors_required=self._adding,
            )

    def _unattachable(self, resolved: Resolved, ids: pa.Array) -> list[Fault]:
        """Find ids without an item, and items that have a vector already."""
        snapshot = self._collection.latest().snapshot
        rows = snapshot.find(ids.fill_null(""))
        missing = rows < 0
        space = resolved.vectors[0].space
        faults = [
            Fault(
                rows=np.flatnonzero(missing),
                column=resolved.id,
                reason="no item with this id; ingest the items first",
            )
        ]
        if self._fresh:
            taken = snapshot.native(space).contains(np.maximum(rows, 0)) & ~missing
            reason = (
                f"the item has a vector in space {space!r}; pass on_existing='skip' or 'replace'"
            )
            faults.append(
                Fault(rows=np.flatnonzero(taken), column=resolved.vectors[0].column, reason=reason)
            )
        return faults


def _require_same_input(found: Position, expected: Position, reader: Reader) -> None:
    """Refuse to go on with standard input that is not what an earlier run read."""
    if found != expected:
        raise IngestError(
            f"{reader.source.path}: expected the same input as the interrupted run of this job, "
            f"whose first {expected.row} rows are settled, got another; give it again, or start "
            "anew with resume=False"
        )
