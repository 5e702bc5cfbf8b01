"""CSV and TSV with a header. Every value comes as text; types are the mapping's business.

Arrow would turn the id "007" into 7 and decide types anew in every chunk.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, final

import numpy as np
import pyarrow as pa
import pyarrow.csv

from vecstore.errors import IngestError
from vecstore_ingest.formats.reader import START, BadRow, Chunk, Position, Reader, Source, reading
from vecstore_ingest.formats.text import Block, TextFile

__all__ = ["CsvReader"]


@final
class CsvReader(Reader):
    """Read separated values; blank lines are skipped, an empty unquoted field is null."""

    untyped: ClassVar[bool] = True

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._text = TextFile(source, quoted=True, header=True)
        self._delimiter = "\t" if source.format == "tsv" else ","
        self._names: list[str] = []

    def chunks(
        self,
        start: Position = START,
        *,
        batch_rows: int,
        columns: Sequence[str] | None = None,
    ) -> Iterator[Chunk]:
        """Yield chunks from a position on; every column is parsed whatever is asked for."""
        if not self.source.is_stdin:
            self._text.read_header()
        for block in self._text.blocks(start, max_rows=batch_rows):
            self._names = self._names or self._header(self._text.read_header())
            yield self._parsed(block)

    def fraction(self, position: Position) -> float:
        """Share of the bytes before a position."""
        return self._text.fraction(position)

    def _header(self, line: bytes) -> list[str]:
        """Return the column names."""
        with reading(self.source, 0):
            line.decode("utf-8")
            names: list[str] = _run(line + b"\n", None, self._delimiter, None).column_names
        if not all(names) or len(set(names)) < len(names):
            raise IngestError(
                f"{self.source.path}: expected a header of distinct column names, got {names[:20]}"
                "; name every column once in the first line"
            )
        return names

    def _parsed(self, block: Block) -> Chunk:
        """Parse a block of records; what Arrow refuses as a whole is parsed record by record."""
        filled = [i for i, record in enumerate(block.records) if record.strip()]
        records = [block.records[i].removesuffix(b"\r") for i in filled]
        rows = np.asarray(filled, dtype=np.int64) + block.start.row
        bad: list[BadRow] = []
        table = self._parse_all(records)
        if table is None:
            good, tables = [], [self._empty()]
            for i, record in enumerate(records):
                row, reason = self._parse_one(record)
                if row is None:
                    raw = record.decode("utf-8", "backslashreplace")
                    bad.append(BadRow(row=int(rows[i]), column=None, reason=reason, raw=raw))
                else:
                    good.append(i)
                    tables.append(row)
            rows, table = rows[good], pa.concat_tables(tables)
        batches = table.combine_chunks().to_batches()
        batch = batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
        return Chunk(batch=batch, rows=rows, bad=tuple(bad), start=block.start, end=block.end)

    def _parse_all(self, records: list[bytes]) -> pa.Table | None:
        """Parse records at once; None unless every one of them is exactly one good row."""
        if not records:
            return self._empty()
        data = b"\n".join(records)
        if not _is_utf8(data):
            return None
        refused: list[str] = []

        def refuse(row: pyarrow.csv.InvalidRow) -> str:
            refused.append(row.text)
            return "skip"

        try:
            table = _run(data, self._names, self._delimiter, refuse)
        except pa.ArrowException:
            return None
        return table if not refused and table.num_rows == len(records) else None

    def _parse_one(self, record: bytes) -> tuple[pa.Table | None, str]:
        """Parse one record; return its row, or the reason why there is none."""
        if record.count(b'"') % 2:
            return None, "a quote that never closes"
        if not _is_utf8(record):
            return None, "invalid UTF-8"
        columns: list[int] = []

        def refuse(row: pyarrow.csv.InvalidRow) -> str:
            columns.append(row.actual_columns)
            return "skip"

        try:
            table = _run(record, self._names, self._delimiter, refuse)
        except pa.ArrowException:
            return None, "malformed quotes"
        if columns:
            return None, f"expected {len(self._names)} columns, got {columns[0]}"
        if table.num_rows != 1:
            return None, f"expected one row, got {table.num_rows}: malformed quotes"
        return table, ""

    def _empty(self) -> pa.Table:
        return pa.schema([(name, pa.string()) for name in self._names]).empty_table()


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _run(
    data: bytes,
    names: list[str] | None,
    delimiter: str,
    refuse: Callable[[pyarrow.csv.InvalidRow], str] | None,
) -> pa.Table:
    """Run Arrow's parser on one block; without names the first record gives them."""
    return pyarrow.csv.read_csv(
        io.BytesIO(data),
        read_options=pyarrow.csv.ReadOptions(
            use_threads=False, block_size=len(data) + 1, column_names=names
        ),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=delimiter, newlines_in_values=True, invalid_row_handler=refuse
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={name: pa.string() for name in names or ()},
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=[""],
        ),
    )
