"""JSON Lines, parsed by Arrow; a block that Arrow refuses is parsed line by line to name the bad.

Types are found per chunk, so that a chunk does not depend on those before it; where the values
of a chunk disagree, the types of the file's first chunk decide. Strings stay strings: Arrow
would read "2020-01-01" as a timestamp in one chunk and as text in the next.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.json
from numpy.typing import NDArray

from vecstore_ingest.formats.reader import START, BadRow, Chunk, Position, Reader, Source
from vecstore_ingest.formats.text import UTF8_BOM, Block, TextFile

__all__ = ["JsonlReader"]

# Arrow's parser recurses on the machine stack; deeper documents go to Python's, which refuses.
_SAFE_BRACKETS = 512

_Hints = Callable[[], pa.Schema]
_NO_HINTS = partial(pa.schema, [])


@final
class JsonlReader(Reader):
    """Read one JSON object per line; blank lines are skipped."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._text = TextFile(source)
        self._first_schema: pa.Schema | None = None

    def chunks(
        self,
        start: Position = START,
        *,
        batch_rows: int,
        columns: Sequence[str] | None = None,
    ) -> Iterator[Chunk]:
        """Yield chunks from a position on; every column is parsed whatever is asked for."""
        for block in self._text.blocks(start, max_rows=batch_rows):
            first = block.start.row == 0
            chunk = _parsed(block, _NO_HINTS if first else partial(self._hints, batch_rows))
            if first:
                self._first_schema = chunk.batch.schema
            yield chunk

    def _hints(self, batch_rows: int) -> pa.Schema:
        """Return the types of the first chunk."""
        if self._first_schema is None:
            blocks = self._text.blocks(START, max_rows=batch_rows)
            self._first_schema = _parsed(next(blocks), _NO_HINTS).batch.schema
            blocks.close()
        return self._first_schema

    def fraction(self, position: Position) -> float:
        """Share of the bytes before a position."""
        return self._text.fraction(position)

    def where(self, row: int) -> str:
        """Rows are lines, which people and editors count from 1."""
        return f"row {row} (line {row + 1})"


def _parsed(block: Block, hints: _Hints) -> Chunk:
    """Parse a block of lines; ``hints`` returns the types that values should have."""
    lines = block.records
    if block.start.row == 0:
        lines = [lines[0].removeprefix(UTF8_BOM), *lines[1:]]
    filled = [i for i, line in enumerate(lines) if line and not line.isspace()]
    if len(filled) < len(lines):
        lines = [lines[i] for i in filled]
    rows = np.asarray(filled, dtype=np.int64) + block.start.row
    bad: list[BadRow] = []
    batch = _fast(lines)
    if batch is None:
        batch, good, bad = _slow(lines, rows, hints())
        rows = rows[good]
    return Chunk(batch=batch, rows=rows, bad=tuple(bad), start=block.start, end=block.end)


def _fast(lines: list[bytes]) -> pa.RecordBatch | None:
    """Parse lines at once; None if any of them is not exactly one good object."""
    # With one object begun and ended on every line, equal counts mean one object per line.
    if not lines or not all(map(_is_plain, lines)):
        return None
    data = b"\n".join(lines)
    try:
        table = _read(data, None)
        strings = _with_strings(table.schema)
        if strings is not None:
            table = _read(data, strings)
        table.validate(full=True)
    except (pa.ArrowException, UnicodeError):
        return None
    if table.num_rows != len(lines) or not table.num_columns:
        return None
    return table.combine_chunks().to_batches()[0]


def _is_plain(line: bytes) -> bool:
    """Whether a line begins and ends as an object does and is not deeply nested."""
    text = line.strip()
    return (
        text.startswith(b"{")
        and text.endswith(b"}")
        and text.count(b"[") + text.count(b"{") <= _SAFE_BRACKETS
    )


def _read(data: bytes, schema: pa.Schema | None) -> pa.Table:
    """Run Arrow's parser on one block."""
    return pyarrow.json.read_json(
        io.BytesIO(data),
        read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(data) + 1),
        parse_options=pyarrow.json.ParseOptions(explicit_schema=schema),
    )


def _with_strings(schema: pa.Schema) -> pa.Schema | None:
    """Return the schema with timestamps as the strings they were; None if there are none."""
    fields = [pa.field(f.name, _string_type(f.type)) for f in schema]
    changed = [f for f, old in zip(fields, schema, strict=True) if f.type != old.type]
    return pa.schema(changed) if changed else None


def _string_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_string_type(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(f.name, _string_type(f.type)) for f in kind])
    return kind


def _slow(
    lines: list[bytes], rows: NDArray[np.int64], hints: pa.Schema
) -> tuple[pa.RecordBatch, list[int], list[BadRow]]:
    """Parse lines one by one; return the batch, the indices of good lines and the bad rows."""
    objects: dict[int, dict[str, Any]] = {}
    bad: dict[int, BadRow] = {}

    def refuse(i: int, column: str | None, reason: str) -> None:
        raw = lines[i].decode("utf-8", "backslashreplace")
        bad.setdefault(i, BadRow(row=int(rows[i]), column=column, reason=reason, raw=raw))

    for i, line in enumerate(lines):
        try:
            value = json.loads(line.decode("utf-8"))
        except json.JSONDecodeError as error:
            refuse(i, None, f"invalid JSON: {error.msg} at character {error.pos}")
        except UnicodeDecodeError as error:
            refuse(i, None, f"invalid UTF-8 at byte {error.start}")
        except (RecursionError, ValueError) as error:
            refuse(i, None, f"invalid JSON: {type(error).__name__}")
        else:
            if isinstance(value, dict):
                objects[i] = value
            else:
                refuse(i, None, f"expected a JSON object, got {type(value).__name__}")
    names = list(dict.fromkeys(name for value in objects.values() for name in value))
    kinds = {}
    for name in names:
        values = {i: value.get(name) for i, value in objects.items()}
        index = hints.get_field_index(_clean(name))
        hint = hints.types[index] if index >= 0 else pa.null()
        kinds[name], reasons = _column_type(values, hint)
        for i, reason in reasons.items():
            refuse(i, name, reason)
    good = [i for i in objects if i not in bad]
    # A batch without columns could not count its rows.
    columns = [pa.array([objects[i].get(n) for i in good], kinds[n]) for n in names]
    batch = pa.RecordBatch.from_arrays(
        columns or [pa.nulls(len(good))], names=[_clean(name) for name in names] or [""]
    )
    return batch, good, [bad[i] for i in sorted(bad)]


def _column_type(
    values: dict[int, Any], expected: pa.DataType
) -> tuple[pa.DataType, dict[int, str]]:
    """Return the type of a column's values, and why some of them do not have it.

    ``expected`` is what decides if they disagree; where it is null the first value does.
    """
    try:
        return _widened(pa.array(list(values.values())).type), {}
    except (pa.ArrowException, OverflowError, UnicodeError, TypeError):
        pass
    for value in values.values():
        try:
            kind = _widened(pa.array([value]).type)
        except (pa.ArrowException, OverflowError, UnicodeError, TypeError):
            continue
        if pa.types.is_null(expected) or (
            pa.types.is_int64(expected) and pa.types.is_float64(kind)
        ):
            expected = kind
    reasons: dict[int, str] = {}
    for i, value in values.items():
        try:
            pa.array([value], expected)
        except OverflowError:
            reasons[i] = "expected numbers of at most 64 bits, got a longer integer"
        except UnicodeError:
            reasons[i] = "expected valid Unicode, got a lone surrogate"
        except (pa.ArrowException, TypeError):
            reasons[i] = (
                f"expected {expected} as in the rows before, got {type(value).__name__}; the "
                "values of a column must have one type"
            )
    return expected, reasons


def _widened(kind: pa.DataType) -> pa.DataType:
    """Return the type with integers inside lists as float64, which vectors are."""
    if pa.types.is_list(kind) and pa.types.is_integer(kind.value_type):
        return pa.list_(pa.float64())
    return kind


def _clean(name: str) -> str:
    """Return a column name that can be encoded."""
    return name.encode("utf-8", "replace").decode("utf-8")
