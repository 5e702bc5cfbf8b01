"""A collection out to files, streamed: Parquet, Arrow, JSONL or npy, which ingest reads back."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path, PurePath
from typing import Any, BinaryIO, Literal, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vecstore import Collection, CollectionVersion
from vecstore.errors import AlreadyExistsError, InvalidArgumentError, StorageError
from vecstore.storage.durable import appearing
from vecstore_ingest.formats import EXTENSIONS
from vecstore_ingest.formats.reader import STDIN

__all__ = ["ExportReport", "export"]

Format = Literal["parquet", "arrow", "jsonl", "npy"]
_FORMATS = ("parquet", "arrow", "jsonl", "npy")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What was exported."""

    path: str
    rows: int
    seconds: float


def export(
    collection: Collection,
    destination: str | PathLike[str],
    *,
    spaces: Sequence[str] | None = None,
    format: Format | None = None,
    batch_rows: int = 8192,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> ExportReport:
    """Write the live items of a collection, with their vectors, to a file.

    The file appears under its name only when it is complete. ``ingest`` of it restores the
    items: columns are id, document, the metadata, and one per space, null where an item has
    no vector in it. A ``.npy`` file holds the float32 vectors of one space alone, a row for each
    item that has one; the ids of the rows stand beside it, in ``NAME.ids.npy``.

    Parameters
    ----------
    destination : str or path
        ``"-"`` writes JSONL to standard output.
    spaces : sequence of str, optional
        Whose vectors to write; by default all. Under cosine they have unit norm.
    format : {"parquet", "arrow", "jsonl", "npy"}, optional
        By default the extension decides.
    progress : callable, optional
        Called with the number of rows written so far.

    Raises
    ------
    AlreadyExistsError
        The file exists and ``overwrite`` is false.
    InvalidArgumentError
        The format is unknown, or a matrix is asked for of no space or of several.
    NotFoundError
        A space does not exist.
    """
    began = time.monotonic()
    path = fspath(destination)
    chosen = format or ("jsonl" if path == STDIN else EXTENSIONS.get(PurePath(path).suffix.lower()))
    if chosen not in _FORMATS or (path == STDIN and chosen != "jsonl"):
        raise InvalidArgumentError(
            f"expected a file of format {', '.join(_FORMATS)}, or JSONL to standard output, got "
            f"{path!r} as {chosen or 'unknown'}; pass format="
        )
    latest = collection.latest()
    names = list(latest.spaces) if spaces is None else list(spaces)
    shared = set(names).intersection(latest.schema.names)
    if shared:
        raise InvalidArgumentError(
            f"expected spaces whose names are no columns, but {', '.join(sorted(shared))} is both; "
            "export other spaces"
        )
    batches = latest.scan(spaces=names, batch_rows=batch_rows)
    if chosen == "npy":
        rows = _matrix(latest, path, names, batches, overwrite=overwrite, progress=progress)
        return ExportReport(path=path, rows=rows, seconds=time.monotonic() - began)
    vectors = [
        pa.field(name, pa.list_(pa.float32(), latest.snapshot.space(name).space.dim))
        for name in names
    ]
    schema = pa.schema([*latest.schema, *vectors])
    rows = 0
    with _opened(path, overwrite=overwrite) as file, _WRITERS[chosen](file, schema) as write:
        for batch in batches:
            write(batch.cast(schema))
            rows += batch.num_rows
            if progress is not None:
                progress(rows)
    return ExportReport(path=path, rows=rows, seconds=time.monotonic() - began)


def _matrix(
    version: CollectionVersion,
    path: str,
    spaces: Sequence[str],
    batches: Iterator[pa.RecordBatch],
    *,
    overwrite: bool,
    progress: Callable[[int], None] | None,
) -> int:
    """Write one space's vectors; the ids of their rows appear first."""
    if len(spaces) != 1:
        raise InvalidArgumentError(
            f"expected one space, whose vectors become {path!r}, got {len(spaces)}; pass spaces=, "
            "and export the items without vectors to Parquet"
        )
    [space] = spaces
    status = version.spaces[space]
    header = {"descr": "<f4", "fortran_order": False, "shape": (status.native, status.dim)}
    ids: list[str] = []
    with (
        _opened(path, overwrite=overwrite) as file,
        _opened(str(Path(path).with_suffix(".ids.npy")), overwrite=overwrite) as beside,
    ):
        np.lib.format.write_array_header_1_0(file, header)
        for batch in batches:
            present = batch.filter(batch.column(space).is_valid())
            vectors = present.column(space).flatten().to_numpy()
            file.write(vectors.astype("<f4", copy=False).tobytes())
            ids += present.column("id").to_pylist()
            if progress is not None:
                progress(len(ids))
        np.save(beside, np.array(ids, dtype=np.str_))
    return len(ids)


@contextmanager
def _opened(path: str, *, overwrite: bool) -> Iterator[BinaryIO]:
    """Open a file that takes its name only when the block ends well."""
    if path == STDIN:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    final_path = Path(path)
    if final_path.exists() and not overwrite:
        raise AlreadyExistsError(f"{path} exists; pass overwrite=True, or another name")
    try:
        with appearing(final_path) as part, part.open("wb") as file:
            yield file
    except OSError as error:
        raise StorageError(f"{path}: expected a file that can be written: {error}") from error


_Write = Callable[[pa.RecordBatch], object]


@contextmanager
def _parquet(file: BinaryIO, schema: pa.Schema) -> Iterator[_Write]:
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        yield writer.write_batch


@contextmanager
def _arrow(file: BinaryIO, schema: pa.Schema) -> Iterator[_Write]:
    with pa.ipc.new_file(file, schema) as writer:
        yield writer.write_batch


@contextmanager
def _jsonl(file: BinaryIO, schema: pa.Schema) -> Iterator[_Write]:
    """Write lines; numbers of vectors become text column-wise, the shortest that reads back."""
    vectors = [f.name for f in schema if pa.types.is_fixed_size_list(f.type)]

    def write(batch: pa.RecordBatch) -> None:
        lines = [_object(row) for row in batch.drop_columns(vectors).to_pylist()]
        for name in vectors:
            key = f", {json.dumps(name)}: "
            texts = _vector_texts(batch.column(name)).to_pylist()
            lines = [f"{line}{key}{text}" for line, text in zip(lines, texts, strict=True)]
        file.write("".join(f"{line}}}\n" for line in lines).encode("utf-8"))

    yield write


_WRITERS: Mapping[str, Callable[[BinaryIO, pa.Schema], AbstractContextManager[_Write]]] = {
    "parquet": _parquet,
    "arrow": _arrow,
    "jsonl": _jsonl,
}


def _vector_texts(column: pa.Array) -> pa.Array:
    """Return each vector as a JSON array, or null."""
    numbers = column.drop_null().flatten().cast(pa.string())
    dim = column.type.list_size
    offsets = pa.array(range(0, len(numbers) + 1, dim), pa.int32())
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, numbers), ",")
    filled = pc.binary_join_element_wise("[", joined, "]", "")
    valid = column.is_valid()
    return pc.replace_with_mask(pa.array(["null"] * len(column), pa.string()), valid, filled)


def _object(row: dict[str, Any]) -> str:
    """Return a row as a JSON object that is still open; NaN becomes null."""
    try:
        text = json.dumps(row, ensure_ascii=False, allow_nan=False, default=_plain)
    except ValueError:
        text = json.dumps(_without_nan(row), ensure_ascii=False, default=_plain)
    return text[:-1]


def _plain(value: Any) -> str:
    """Return dates in ISO form, and whatever else JSON does not know as text."""
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
