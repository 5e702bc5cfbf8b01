"""Arrow batches of any size, cut into the chunks that a job asks for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from vecstore.errors import IngestError
from vecstore_ingest.formats.reader import Chunk, Position, Source, reading

__all__ = ["plain_chunk", "rechunked"]


def plain_chunk(batch: pa.RecordBatch, row: int) -> Chunk:
    """Return a chunk whose rows all parsed, starting at a row of the file."""
    stop = row + batch.num_rows
    return Chunk(
        batch=batch,
        rows=np.arange(row, stop, dtype=np.int64),
        start=Position(row=row),
        end=Position(row=stop),
    )


def rechunked(
    batches: Iterator[pa.RecordBatch], *, source: Source, row: int, skip: int, batch_rows: int
) -> Iterator[Chunk]:
    """Yield chunks of exactly ``batch_rows`` rows (the last may be shorter).

    Parameters
    ----------
    batches : iterator of pyarrow.RecordBatch
        From untrusted bytes: each is validated in full before a value of it is read.
    row : int
        File row of the first chunk; ``skip`` rows of ``batches`` come before it.

    Raises
    ------
    IngestError
        After all whole rows before the damage were yielded.
    """
    waiting: list[pa.RecordBatch] = []
    held = 0
    damage: IngestError | None = None
    while True:
        try:
            with reading(source, row + held):
                batch = next(batches, None)
                if batch is not None:
                    batch.validate(full=True)
        except IngestError as error:
            damage, batch = error, None
        if batch is None:
            break
        drop = min(skip, batch.num_rows)
        skip -= drop
        if drop < batch.num_rows:
            waiting.append(batch.slice(drop))
            held += batch.num_rows - drop
        while held >= batch_rows:
            chunk, waiting = _take(waiting, batch_rows)
            yield plain_chunk(chunk, row)
            row += batch_rows
            held -= batch_rows
    if held:
        chunk, _ = _take(waiting, held)
        yield plain_chunk(chunk, row)
    if damage is not None:
        raise damage


def _take(batches: list[pa.RecordBatch], rows: int) -> tuple[pa.RecordBatch, list[pa.RecordBatch]]:
    """Split off the first rows as one batch."""
    taken: list[pa.RecordBatch] = []
    rest = list(batches)
    while rows:
        head = rest.pop(0)
        taken.append(head.slice(0, rows))
        if head.num_rows > rows:
            rest.insert(0, head.slice(rows))
        rows -= taken[-1].num_rows
    return (taken[0] if len(taken) == 1 else pa.concat_batches(taken)), rest
