"""Query vectors from the command line: JSON, a file, standard input, or a stored item's vector."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, final

import numpy as np

from vecstore import CollectionVersion
from vecstore.errors import IngestError, InvalidVectorsError, NotFoundError
from vecstore_ingest import Source
from vecstore_ingest.formats.numpy_header import map_npy
from vecstore_ingest.formats.reader import STDIN, reading

__all__ = ["Queries", "vector_of_item", "vectors_from_file", "vectors_from_json"]

Vectors = Any


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Queries:
    """Queries as the library takes them, and their names where the input has some.

    Attributes
    ----------
    vectors : array_like of shape (dim,) or (n, dim), or dict of space name to such arrays
        None where the queries are texts.
    names : sequence of str, or None
    """

    vectors: Vectors
    names: Sequence[str] | None = None


def vectors_from_json(text: str) -> Queries:
    """Read ``[0.1, 0.2]``, a list of such lists, or an object of them by space.

    Raises
    ------
    InvalidVectorsError
        The text is not that; ``-`` stands for standard input.
    """
    source = "--vector"
    if text == STDIN:
        text, source = sys.stdin.read(), "standard input"
    return Queries(vectors=_vectors(_parsed(text, source), source))


def vectors_from_file(path: str) -> Queries:
    """Read a batch: a ``.npy`` matrix, or JSON lines (``.jsonl``, ``.ndjson``, ``-``).

    A line is an array, or an object that holds one array under ``vector``, or one under each
    space's name, and may hold an ``id``.

    Raises
    ------
    IngestError
        The file cannot be read, or is of another format.
    InvalidVectorsError
        A line is not a query, or brings other spaces than the first.
    """
    suffix = PurePath(path).suffix.lower()
    if suffix == ".npy":
        return Queries(vectors=np.asarray(map_npy(Source(path=path, format="npy"))))
    if path != STDIN and suffix not in (".jsonl", ".ndjson"):
        raise IngestError(
            f"{path}: expected query vectors in a .npy or .jsonl file, or - for JSON lines on "
            "standard input; convert the file"
        )
    lines = _lines(path)
    rows = [
        (f"{path}, line {number}", _parsed(line, f"{path}, line {number}"))
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    return _batch(path, rows)


def vector_of_item(version: CollectionVersion, item_id: str, space: str) -> Queries:
    """Take an item's stored vector as the query.

    Raises
    ------
    NotFoundError
        There is no such item, or it has no native vector in the space.
    """
    item = version.get(item_id, spaces=[space])
    if space not in item.vectors:
        raise NotFoundError(
            f"item {item_id!r} has no native vector in space {space!r}; search in a space that "
            "it has one in, or embed it and attach the vector with add_vectors"
        )
    return Queries(vectors=item.vectors[space])


def _batch(path: str, rows: Sequence[tuple[str, Any]]) -> Queries:
    """Put the queries of all lines together."""
    if not rows:
        raise InvalidVectorsError(f"{path}: expected at least one query, got none")
    names: list[str] | None = None
    if all(isinstance(row, dict) and "id" in row for _, row in rows):
        names = [str(row["id"]) for _, row in rows]
    vectors = [_vectors(row, where) for where, row in rows]
    first = vectors[0]
    spaces = sorted(first) if isinstance(first, dict) else None
    for (where, _), vector in zip(rows, vectors, strict=True):
        if (sorted(vector) if isinstance(vector, dict) else None) != spaces:
            raise InvalidVectorsError(
                f"{where}: expected vectors of the same spaces on every line; the first line "
                f"has {', '.join(spaces or ['one vector'])}"
            )
    if spaces is None:
        return Queries(vectors=vectors, names=names)
    return Queries(
        vectors={space: [vector[space] for vector in vectors] for space in spaces}, names=names
    )


def _lines(path: str) -> list[str]:
    if path == STDIN:
        return list(sys.stdin)
    with reading(Source(path=path, format="jsonl")):
        return Path(path).read_text("utf-8").splitlines()


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidVectorsError(
            f"{where}: expected JSON such as [0.1, 0.2], got {text.strip()[:60]!r}: {error}"
        ) from error


def _vectors(value: Any, where: str) -> Any:
    """Return an array, or a dictionary of arrays by space; the rest is not a query."""
    if isinstance(value, Mapping):
        value = {key: inner for key, inner in value.items() if key != "id"}
        if set(value) == {"vector"}:
            value = value["vector"]
    arrays = list(value.values()) if isinstance(value, dict) else [value]
    if not arrays or not all(isinstance(array, list) for array in arrays):
        raise InvalidVectorsError(
            f"{where}: expected an array of numbers, or an object with one under 'vector' or under "
            f"the name of each space, got {str(value)[:60]}"
        )
    return value
