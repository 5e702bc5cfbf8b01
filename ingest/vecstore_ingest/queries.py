"""Queries and relevance judgements from files, as an assessment takes them.

Queries come in any source format: a column of ids, one of texts, and vectors under the names of
their spaces. Judgements come as TREC qrels, as the three columns of BEIR, or as JSON lines.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vecstore.errors import IngestError
from vecstore.spaces import Space
from vecstore_ingest.columns import as_texts, id_column, vector_column
from vecstore_ingest.formats import open_reader
from vecstore_ingest.formats.reader import ROW_NUMBERS, STDIN, Source, reading
from vecstore_ingest.mapping import DOCUMENT_NAMES, ID_NAMES, VECTOR_NAMES

__all__ = ["QueryFile", "read_qrels", "read_queries"]

_TEXT_NAMES = ("query", *DOCUMENT_NAMES, "question")
_CHUNK_ROWS = 8192
_DENSE = ("npy", "npz", "fvecs", "fbin", "hdf5", "h5")

Matrix = NDArray[np.float32]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QueryFile:
    """The queries of a file.

    Attributes
    ----------
    ids : tuple of str
        As the file names them, or their numbers from 0.
    texts : tuple of str, or None
    vectors : dict of space name to ndarray of shape (n, dim), float32
    """

    ids: tuple[str, ...]
    texts: tuple[str, ...] | None
    vectors: Mapping[str, Matrix]

    def asked(self) -> dict[str, Any]:
        """Return them as ``queries=`` of an assessment."""
        texts = {} if self.texts is None else {"text": self.texts}
        return {**texts, **self.vectors}

    def judged(self, qrels: Mapping[str, Mapping[str, float]]) -> list[Mapping[str, float]]:
        """Return ``qrels=`` of an assessment; queries that nobody judged have none.

        Raises
        ------
        IngestError
            None of the queries is judged: the ids are of another file.
        """
        if not any(name in qrels for name in self.ids):
            raise IngestError(
                f"none of the {len(qrels)} judged queries, such as {next(iter(qrels), None)!r}, is "
                f"among the {len(self.ids)} queries, such as {next(iter(self.ids), None)!r}; judge "
                "queries by their ids or, where they have none, by their numbers from 0"
            )
        return [qrels.get(name, {}) for name in self.ids]


def read_queries(path: str, *, spaces: Sequence[Space]) -> QueryFile:
    """Read queries as texts, as vectors, or as both.

    Parameters
    ----------
    path : str
        A file of any source format, or ``-`` for JSON lines on standard input. Ids are in a
        column ``id``; texts in ``query`` or ``text``; vectors in a column named like their
        space. A file of vectors alone (npy, fvecs, ...), or a column ``vector``, is of the
        last of the spaces.
    spaces : sequence of Space
        That the queries may bring vectors for, the newest last.

    Raises
    ------
    IngestError
        The file cannot be read, or holds neither texts nor vectors.
    """
    parts = list(_parts(path, spaces))
    if not parts:
        raise IngestError(f"{path}: expected at least one query, got an empty file")
    held = {(part.texts is not None, tuple(part.vectors)) for part in parts}
    if len(held) > 1:
        raise IngestError(
            f"{path}: expected texts or vectors of the same spaces in all rows; complete the file"
        )
    texts = [text for part in parts for text in part.texts or ()]
    ids = [name for part in parts for name in part.ids]
    return QueryFile(
        ids=tuple(ids),
        texts=None if parts[0].texts is None else tuple(texts),
        vectors={
            name: np.concatenate([part.vectors[name] for part in parts])
            for name in parts[0].vectors
        },
    )


def read_qrels(path: str) -> dict[str, dict[str, float]]:
    """Read judgements: gains of items by query.

    Parameters
    ----------
    path : str
        ``.jsonl``: objects with ``query`` (an id), ``item`` and, if it is not 1, ``gain``.
        Otherwise lines of text: ``query 0 item gain`` as TREC has them, or
        ``query item gain`` with or without a header, as BEIR has them; separated by tabs where
        a line has one, else by spaces.

    Raises
    ------
    IngestError
        A line is not a judgement.
    """
    with reading(Source(path=path, format="qrels")):
        lines = Path(path).read_text("utf-8-sig").splitlines()
    parse = _json_judgement if Path(path).suffix.lower() in (".jsonl", ".ndjson") else _judgement
    qrels: dict[str, dict[str, float]] = {}
    for number, line in enumerate(lines, start=1):
        judged = parse(line, f"{path}, line {number}", first=number == 1) if line.strip() else None
        if judged is not None:
            query, item, gain = judged
            qrels.setdefault(query, {})[item] = gain
    if not qrels:
        raise IngestError(f"{path}: expected at least one judgement, got none")
    return qrels


def _parts(path: str, spaces: Sequence[Space]) -> Iterator[QueryFile]:
    """Read a file chunk by chunk."""
    source = Source(path=path, format="jsonl" if path == STDIN else None)
    if Path(path).suffix.lower().removeprefix(".") in _DENSE:
        source = Source(path=path, ids=ROW_NUMBERS)
    seen = 0
    for chunk in open_reader(source).chunks(batch_rows=_CHUNK_ROWS):
        if chunk.bad:
            raise IngestError(f"{path}: row {chunk.bad[0].row}: {chunk.bad[0].reason}")
        names = chunk.batch.schema.names
        vectors = {}
        for space in spaces:
            column = space.name if space.name in names else None
            if column is None and space is spaces[-1]:
                column = next((name for name in VECTOR_NAMES if name in names), None)
            if column is not None:
                vectors[space.name] = _matrix(chunk.batch.column(column), column, path, space)
        texts = _strings(chunk.batch, _TEXT_NAMES, path)
        if texts is None and not vectors:
            raise IngestError(
                f"{path}: expected queries in a column {' or '.join(_TEXT_NAMES[:3])}, or vectors "
                f"in one called {' or '.join(space.name for space in spaces)}; got the columns "
                f"{', '.join(map(repr, names))}"
            )
        numbers = tuple(str(seen + row) for row in range(len(chunk.batch)))
        ids = _ids(chunk.batch, path) or numbers
        seen += len(chunk.batch)
        yield QueryFile(ids=ids, texts=texts, vectors=vectors)


def _matrix(array: pa.Array, column: str, path: str, space: Space) -> Matrix:
    vectors, present, faults = vector_column(
        [array], column=column, file=path, dim=space.dim, cosine=space.normalised, half=False
    )
    if faults or not present.all():
        row = int(faults[0].rows[0]) if faults else int(np.flatnonzero(~present)[0])
        reason = faults[0].reason if faults else "no vector"
        raise IngestError(f"{path}: query {row}, column {column!r}: {reason}; complete the file")
    return vectors


def _strings(batch: pa.RecordBatch, names: Sequence[str], path: str) -> tuple[str, ...] | None:
    column = next((name for name in names if name in batch.schema.names), None)
    if column is None:
        return None
    texts = as_texts(batch.column(column), column=column, file=path)
    if texts is None or texts.null_count:
        raise IngestError(f"{path}: expected a text in every row of column {column!r}, got a null")
    return tuple(texts.to_pylist())


def _ids(batch: pa.RecordBatch, path: str) -> tuple[str, ...] | None:
    column = next((name for name in ID_NAMES if name in batch.schema.names), None)
    if column is None:
        return None
    ids, faults = id_column(batch.column(column), column=column, file=path)
    if faults:
        raise IngestError(f"{path}: query {faults[0].rows[0]}: {faults[0].reason}")
    return tuple(ids.to_pylist())


def _judgement(line: str, where: str, *, first: bool) -> tuple[str, str, float] | None:
    """Parse a line of text; a header is None."""
    fields = line.rstrip("\r\n").split("\t") if "\t" in line else line.split()
    if len(fields) not in (3, 4):
        raise IngestError(
            f"{where}: expected `query 0 item gain` or `query item gain`, got {line.strip()[:60]!r}"
        )
    try:
        return fields[0], fields[-2], _gain(fields[-1])
    except ValueError as error:
        if first and len(fields) == 3:
            return None
        raise IngestError(f"{where}: expected a number as the gain, got {fields[-1]!r}") from error


def _json_judgement(line: str, where: str, *, first: bool) -> tuple[str, str, float]:
    try:
        value = json.loads(line)
        return str(value["query"]), str(value["item"]), _gain(value.get("gain", 1))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise IngestError(
            f'{where}: expected an object such as {{"query": "q1", "item": "p7", "gain": 1}}, got '
            f"{line.strip()[:60]!r}"
        ) from error


def _gain(value: object) -> float:
    gain = float(value)  # type: ignore[arg-type]
    if not math.isfinite(gain):
        raise ValueError(f"not finite: {gain}")
    return gain
