"""Values of a dictionary filter, checked against the column they are compared with.

DuckDB would happily cast; a filter should not. A value must belong to the family of its column
(number, string, boolean, date and time), and numbers are brought to the column's own kind, so
that a comparison is exact and a list of values has one type.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from vecstore.errors import InvalidFilterError
from vecstore.filters.columns import Column, plain

__all__ = ["element_of", "family", "parameter", "parameter_list", "placeholder"]

_MAX_INTEGER = 2**127
_NANOSECOND_YEARS = range(1678, 2262)
_EXPECTED = {
    "boolean": "True or False",
    "date": "a date, a datetime, or an ISO 8601 string",
    "number": "a number",
    "string": "a string",
    "timestamp": "a datetime, a date, or an ISO 8601 string",
}


def family(type_: pa.DataType) -> str:
    """Name the family of a column type: what its values may be compared with."""
    is_ = pa.types
    if is_.is_boolean(type_):
        return "boolean"
    if is_.is_integer(type_) or is_.is_floating(type_) or is_.is_decimal(type_):
        return "number"
    if is_.is_string(type_) or is_.is_large_string(type_) or is_.is_string_view(type_):
        return "string"
    if is_.is_timestamp(type_):
        return "timestamp"
    if is_.is_date(type_):
        return "date"
    if any(
        check(type_)
        for check in (
            is_.is_list,
            is_.is_large_list,
            is_.is_fixed_size_list,
            is_.is_list_view,
            is_.is_large_list_view,
        )
    ):
        return "list"
    return "null" if is_.is_null(type_) else "other"


def element_of(column: Column) -> Column:
    """Return what a list column holds, to check values that are looked for in it."""
    return Column(name=column.name, sql=column.sql, type=plain(column.type.value_type))


def placeholder(column: Column, *, many: bool = False) -> str:
    """Return the SQL of a bound value, or of a bound list of values, of a column's type."""
    if pa.types.is_timestamp(column.type) and column.type.tz is not None:
        return f"CAST(? AS TIMESTAMPTZ{'[]' if many else ''})"
    return "?"


def parameter(value: Any, column: Column, operator: str) -> Any:
    """Return the value to bind, or refuse one that is not of the column's family.

    Raises
    ------
    InvalidFilterError
        Says what the column holds and what came.
    """
    if isinstance(value, np.generic):
        value = value.item()
    kind = family(column.type)
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    converted: Any = None
    if kind == "number" and is_number:
        converted = _number(value, column)
    elif kind == "string" and isinstance(value, str):
        converted = _text(value, column)
    elif kind == "boolean" and isinstance(value, bool):
        converted = value
    elif kind in ("timestamp", "date"):
        converted = _moment(value, column)
    if converted is None:
        raise InvalidFilterError(_mismatch(value, column, kind, operator))
    return converted


def parameter_list(values: Sequence[Any], column: Column, operator: str) -> tuple[Any, ...]:
    """Return the values to bind as one list of one type.

    Fractions are left out of a list for an integer column: nothing there equals them, and one of
    them would make DuckDB compare every value as floating point.
    """
    checked = _all_fit(values, column)
    if checked is None:
        checked = tuple(parameter(v, column, operator) for v in values)
    if pa.types.is_integer(column.type):
        return tuple(v for v in checked if isinstance(v, int))
    return checked


def _all_fit(values: Sequence[Any], column: Column) -> tuple[Any, ...] | None:
    """Return a long list of plain strings or integers as it is; None if it needs a closer look."""
    types = set(map(type, values))
    if types == {str} and family(column.type) == "string":
        _text("".join(values), column)
        return tuple(values)
    if types == {int} and pa.types.is_integer(column.type):
        return tuple(values) if max(max(values), -min(values)) < _MAX_INTEGER else None
    return None


def _number(value: int | float | Decimal, column: Column) -> int | float | Decimal:
    """Bring a number to the column's own kind where that is exact, so comparisons are."""
    if isinstance(value, Decimal) and not value.is_finite():
        value = float(value)
    if isinstance(value, Decimal) and (len(value.as_tuple().digits) > 38 or _scale(value) > 37):
        raise InvalidFilterError(
            f"column {column.name!r}: a decimal of a filter has at most 38 digits"
        )
    if isinstance(value, int) and abs(value) >= _MAX_INTEGER:
        raise InvalidFilterError(
            f"column {column.name!r}: an integer of a filter has at most 127 bits"
        )
    if pa.types.is_floating(column.type):
        return float(value)
    if -_MAX_INTEGER < value < _MAX_INTEGER and value == int(value):
        return int(value)
    return value


def _scale(value: Decimal) -> int:
    """Return how far the first or last digit of a finite decimal is from the point."""
    digits = len(value.as_tuple().digits)
    return max(abs(value.adjusted()), digits - 1 - value.adjusted())


def _text(value: str, column: Column) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidFilterError(
            f"column {column.name!r}: the string is not valid Unicode (it has a lone surrogate)"
        ) from None
    return value


def _moment(value: Any, column: Column) -> dt.datetime | None:
    """Return a date or time in the column's own terms; None where it is neither."""
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError:
            raise InvalidFilterError(
                f"column {column.name!r} is {column.type}: expected an ISO 8601 date or time such "
                f"as '2024-05-31' or '2024-05-31T12:00:00', got {_describe(value)}"
            ) from None
    if not isinstance(value, dt.date):
        return None
    zone = column.type.tz if pa.types.is_timestamp(column.type) else None
    if not isinstance(value, dt.datetime):
        value = dt.datetime.combine(value, dt.time())
    moment: dt.datetime = value
    if moment.tzinfo is not None:
        if zone is None:
            raise InvalidFilterError(
                f"column {column.name!r} is {column.type}, which has no time zone: expected a "
                "naive date or time, got one with a time zone"
            )
        # Bound without a zone and cast in SQL: the session's zone is UTC.
        try:
            moment = moment.astimezone(dt.UTC).replace(tzinfo=None)
        except OverflowError:
            raise InvalidFilterError(
                f"column {column.name!r}: {moment} is outside the years 1 to 9999 in UTC"
            ) from None
    nanoseconds = pa.types.is_timestamp(column.type) and column.type.unit == "ns"
    if nanoseconds and moment.year not in _NANOSECOND_YEARS:
        raise InvalidFilterError(
            f"column {column.name!r} is {column.type}, which holds the years 1678 to 2261, got "
            f"the year {moment.year}"
        )
    return moment


def _mismatch(value: Any, column: Column, kind: str, operator: str) -> str:
    start = f"column {column.name!r} is {column.type}"
    if kind in _EXPECTED:
        return f"{start}: {operator} expects {_EXPECTED[kind]}, got {_describe(value)}"
    return f"{start}, which {operator} cannot compare; a dictionary can only ask if it $exists"


def _describe(value: Any) -> str:
    shown = repr(value) if isinstance(value, str | int | float | None | dt.date) else ""
    return f"{type(value).__name__} {shown[:60]}".strip()
