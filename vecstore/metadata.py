"""Typed metadata: columns are inferred at the first write and widened safely later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any, TypeAlias

import pyarrow as pa

from vecstore.errors import InvalidMetadataError, UnpairedRowsError
from vecstore.storage.columns import arrow_column
from vecstore.storage.items import RESERVED_COLUMNS

__all__ = ["Metadata", "as_metadata", "conform", "metadata_fields", "widen"]

Metadata: TypeAlias = (
    pa.Table | pa.RecordBatch | Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]]
)

MAX_COLUMNS = 1000

_NO_COLUMNS = pa.table({})


def as_metadata(metadata: Metadata | None, *, rows: int) -> pa.Table:
    """Return metadata as a table of ``rows`` rows with normalised column types.

    Accepts an Arrow table, a mapping of columns, or one mapping per row (keys may differ;
    what a row lacks is null). Integers become int64, floats float64, and every kind of
    string column string, so that the same data gives the same columns whatever wrote it.

    Raises
    ------
    InvalidMetadataError
        A reserved or repeated column name, or values of mixed or unsupported types.
    UnpairedRowsError
        The number of rows is not ``rows``.
    """
    table = _as_table(metadata, rows) if metadata is not None else _NO_COLUMNS
    if table.num_columns == 0:
        return _NO_COLUMNS
    if table.num_rows != rows:
        raise UnpairedRowsError(f"expected metadata for {rows} items, got {table.num_rows} rows")
    for name in table.column_names:
        if name in RESERVED_COLUMNS:
            raise InvalidMetadataError(
                f"metadata column {name!r} is reserved ({', '.join(RESERVED_COLUMNS)}); rename it"
            )
        if not name or not name.isprintable() or len(name) > 256:
            raise InvalidMetadataError(
                f"metadata column {name[:40]!r}: expected 1 to 256 printable characters"
            )
    if len(set(table.column_names)) != table.num_columns:
        raise InvalidMetadataError(f"metadata columns repeat: {table.column_names}")
    if table.num_columns > MAX_COLUMNS:
        raise InvalidMetadataError(
            f"expected at most {MAX_COLUMNS} metadata columns, got {table.num_columns}"
        )
    fields = [pa.field(f.name, _normalised(f.type, f.name)) for f in table.schema]
    return _cast(table, pa.schema(fields))


def metadata_fields(schema: pa.Schema) -> list[pa.Field]:
    """Return the metadata columns of a collection's schema."""
    return [f for f in schema if f.name not in RESERVED_COLUMNS]


def widen(schema: pa.Schema, new: pa.Schema) -> pa.Schema:
    """Return the collection's schema with the new metadata columns taken in.

    New columns are added; a column that was all null takes any type; int64 and float64
    become float64. Nothing else changes type, so no stored value changes its meaning.

    Raises
    ------
    InvalidMetadataError
        A column would have to change its type.
    """
    fields = {f.name: f for f in schema}
    for field in new:
        known = fields.get(field.name)
        if known is None:
            fields[field.name] = field
            continue
        fields[field.name] = pa.field(field.name, _wider(field.name, known.type, field.type))
    return pa.schema(list(fields.values()))


def conform(table: pa.Table, schema: pa.Schema, *, rows: int) -> pa.Table:
    """Return the table with exactly the columns of ``schema``; absent ones are null."""
    present = set(table.column_names)
    columns = [
        table.column(f.name) if f.name in present else pa.nulls(rows, f.type) for f in schema
    ]
    return _cast(pa.Table.from_arrays(columns, names=schema.names), schema)


def _as_table(metadata: Metadata, rows: int) -> pa.Table:
    try:
        if isinstance(metadata, pa.Table):
            return metadata
        if isinstance(metadata, pa.RecordBatch):
            return pa.Table.from_batches([metadata])
        if isinstance(metadata, Mapping):
            return pa.table({str(name): _column(values) for name, values in metadata.items()})
        if len(metadata) != rows:
            raise UnpairedRowsError(f"expected metadata for {rows} items, got {len(metadata)}")
        # Arrow takes the columns from the first row alone; here every row may bring its own.
        names = dict.fromkeys(name for row in metadata for name in row)
        return pa.table({name: arrow_column([row.get(name) for row in metadata]) for name in names})
    except (pa.ArrowException, TypeError, AttributeError, OverflowError, UnicodeError) as error:
        raise InvalidMetadataError(
            f"expected one type per metadata column: {error}; convert the values first"
        ) from error


def _column(values: Sequence[Any]) -> pa.Array:
    if isinstance(values, (str, bytes, Set)):  # Arrow would take a string for its characters
        raise TypeError(f"expected a sequence with one value per item, got {values!r}")
    return arrow_column(values)


def _normalised(kind: pa.DataType, name: str) -> pa.DataType:
    """Return the type a column is stored with."""
    types = pa.types
    if types.is_dictionary(kind):
        return _normalised(kind.value_type, name)
    if types.is_integer(kind):
        return pa.int64()
    if types.is_floating(kind):
        return pa.float64()
    if types.is_large_string(kind) or types.is_string_view(kind) or types.is_string(kind):
        return pa.string()
    if types.is_timestamp(kind):
        return pa.timestamp("us", tz=kind.tz)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return pa.list_(_normalised(kind.value_type, name))
    if (
        types.is_boolean(kind)
        or types.is_date(kind)
        or types.is_null(kind)
        or types.is_decimal(kind)
    ):
        return kind
    if types.is_struct(kind):
        return pa.struct([pa.field(f.name, _normalised(f.type, name)) for f in kind])
    raise InvalidMetadataError(
        f"metadata column {name!r} has type {kind}; expected numbers, strings, booleans, dates, "
        "timestamps, or lists and structs of them"
    )


def _wider(name: str, known: pa.DataType, new: pa.DataType) -> pa.DataType:
    """Return the type that holds both without changing a value's meaning."""
    if known == new or pa.types.is_null(new):
        return known
    if pa.types.is_null(known):
        return new
    if {known, new} == {pa.int64(), pa.float64()}:
        return pa.float64()
    if pa.types.is_list(known) and pa.types.is_list(new):
        return pa.list_(_wider(name, known.value_type, new.value_type))
    raise InvalidMetadataError(
        f"metadata column {name!r} holds {known}, got {new}; convert the values or use another "
        "column name"
    )


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Cast column by column, so that an error can name the column."""
    columns = []
    for field, column in zip(schema, table.columns, strict=True):
        try:
            columns.append(column if column.type == field.type else column.cast(field.type))
        except pa.ArrowException as error:
            raise InvalidMetadataError(
                f"metadata column {field.name!r}: cannot convert {column.type} to {field.type} "
                f"without loss: {error}"
            ) from error
    return pa.Table.from_arrays(columns, schema=schema)
