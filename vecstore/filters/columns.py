"""The columns a filter may read: finding one by name, and naming it safely in SQL.

Shared by both filter languages, so that a column is found, quoted and refused in one way.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import final

import pyarrow as pa

from vecstore.errors import InvalidFilterError

__all__ = ["RESERVED", "Column", "ColumnReader", "quote_identifier", "quote_string"]

RESERVED = "row_id"
_SHOWN = 30


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column, or one field of a struct column, as a filter reads it."""

    name: str
    sql: str
    type: pa.DataType


@final
class ColumnReader:
    """Finds columns of a schema by name and remembers which ones were read."""

    __slots__ = ("_read", "_schema")

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._read: dict[str, str] = {}

    @property
    def read(self) -> frozenset[str]:
        """The names, as the schema spells them, of the columns found so far."""
        return frozenset(self._read.values())

    def find(self, name: str) -> Column:
        """Return the column of this name: exact, or the only one but for upper and lower case."""
        matches = [n for n in self._schema.names if n == name] or [
            n for n in self._schema.names if n.lower() == name.lower()
        ]
        if not matches:
            raise InvalidFilterError(self._unknown(name))
        if len(matches) > 1:
            raise InvalidFilterError(
                f"column {name!r} is ambiguous: the collection has {', '.join(map(repr, matches))}"
            )
        self._remember(matches[0])
        return Column(
            name=matches[0],
            sql=quote_identifier(matches[0]),
            type=plain(self._schema.field(matches[0]).type),
        )

    def find_path(self, path: str) -> Column:
        """Return the column of this name, or the struct field that ``column.field`` names."""
        if path in self._schema.names or "." not in path:
            return self.find(path)
        head, *fields = path.split(".")
        lowered = head.lower()
        if not any(n.lower() == lowered for n in self._schema.names):
            raise InvalidFilterError(self._unknown(path))
        column = self.find(head)
        for field in fields:
            column = field_of(column, field)
        return column

    def _remember(self, name: str) -> None:
        # DuckDB folds case even in quoted names, and Arrow hands names over as C strings.
        if name.lower() == RESERVED or not name or "\0" in name:
            raise InvalidFilterError(
                f"column {name!r} cannot be filtered on: the name is reserved; rename the column"
            )
        other = self._read.setdefault(name.lower(), name)
        if other != name:
            raise InvalidFilterError(
                f"columns {other!r} and {name!r} differ only by upper and lower case, so one "
                "filter cannot read both; rename one of them"
            )

    def _unknown(self, name: str) -> str:
        names = self._schema.names
        lowered = {n.lower(): n for n in names}
        close = get_close_matches(name.lower(), lowered, n=1)
        hint = f"; did you mean {lowered[close[0]]!r}?" if close else ""
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        listed = ", ".join(map(repr, names[:_SHOWN]))
        return f"no column {_clip(name)!r}{hint} (a filter may read: {listed}{more})"


def field_of(column: Column, field: str) -> Column:
    """Return a field of a struct column."""
    if not pa.types.is_struct(column.type):
        raise InvalidFilterError(
            f"column {column.name!r} is {column.type}, which has no field {_clip(field)!r}"
        )
    names = [column.type.field(i).name for i in range(column.type.num_fields)]
    if field not in names:
        raise InvalidFilterError(
            f"column {column.name!r} has no field {_clip(field)!r} "
            f"(it has: {', '.join(map(repr, names[:_SHOWN]))})"
        )
    return Column(
        name=f"{column.name}.{field}",
        sql=f'"struct_extract"({column.sql}, {quote_string(field)})',
        type=plain(column.type.field(field).type),
    )


def plain(type_: pa.DataType) -> pa.DataType:
    """Return the type of the values behind an encoding (dictionary, run-end)."""
    while pa.types.is_dictionary(type_) or pa.types.is_run_end_encoded(type_):
        type_ = type_.value_type
    return type_


def quote_identifier(name: str) -> str:
    """Return the name as a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_string(text: str) -> str:
    """Return the text as a SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def _clip(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
