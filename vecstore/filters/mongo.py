"""Mongo-style dictionaries to SQL, as LangChain and Chroma users write them.

``{"lang": "en", "year": {"$gt": 2020}}``: several keys, and several operators of one key, are
joined by AND. Names may reach into struct columns (``"author.name"``).

=========================  ===========================================================
``$eq`` (or the bare value)  equal; ``None`` means missing; in a list column: contains it
``$ne``                    not ``$eq``
``$gt $gte $lt $lte``      order; false where the value is missing
``$in``                    equal to one of a list, of any length; ``None`` may be in it
``$nin``                   not ``$in``
``$exists``                ``True``: not missing; ``False``: missing
``$contains``              a list column contains the value; a string contains the text
``$not_contains``          not ``$contains``
``$like $ilike``           SQL pattern (``%``, ``_``); ``$ilike`` ignores case
``$regex``                 RE2 pattern, found anywhere in the string
``$and $or``               of a list of dictionaries
``$nor``                   not ``$or``
``$not``                   not: of a dictionary, or of the operators of one column
=========================  ===========================================================

The logic has two values, as in Mongo: a condition on a missing value is false, and its negation
(``$ne``, ``$nin``, ``$not_contains``, ``$nor``, ``$not``) is therefore true. Every value is a
bound parameter, never part of the SQL text.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, final

import pyarrow as pa

from vecstore.errors import InvalidFilterError
from vecstore.filters.columns import Column, ColumnReader
from vecstore.filters.engine import bound_types, check_constants
from vecstore.filters.patterns import check_like, check_regex
from vecstore.filters.values import element_of, family, parameter, parameter_list, placeholder

__all__ = ["MAX_CONDITIONS", "MAX_DEPTH", "MAX_VALUES", "translate"]

MAX_CONDITIONS = 1_000
"""Conditions of one dictionary."""

MAX_DEPTH = 32
"""Levels of nested dictionaries."""

MAX_VALUES = 1_000_000
"""Values of one ``$in`` or ``$nin``."""

Filter = Mapping[str, Any]

_MOMENTS = ("timestamp", "date")


class _Clause(NamedTuple):
    """SQL that is true exactly where the condition holds, and the values of its ``?``."""

    sql: str
    parameters: tuple[Any, ...] = ()


def translate(where: Filter, schema: pa.Schema) -> tuple[str, tuple[Any, ...], frozenset[str]]:
    """Return the SQL of a dictionary, its parameters, and the columns it reads.

    Raises
    ------
    InvalidFilterError
        An unknown operator or column, or a value of another type than its column.
    """
    translation = _Translation(schema)
    clause = translation.filter(where, 0)
    columns = translation.columns.read
    for name in columns:
        _check_readable(schema.field(name).type)
    return clause.sql, clause.parameters, columns


@lru_cache(maxsize=256)
def _check_readable(type_: pa.DataType) -> None:
    """Refuse a column type that DuckDB cannot read at all, such as float16."""
    bound_types(["TRUE"], pa.schema([("column", type_)]))


@final
class _Translation:
    """Translates one dictionary, counting its conditions and noting its columns."""

    def __init__(self, schema: pa.Schema) -> None:
        self.columns = ColumnReader(schema)
        self._conditions = 0

    def filter(self, where: Any, depth: int) -> _Clause:
        """Translate ``{name or logical operator: ...}``; the empty one selects everything."""
        _check_depth(depth)
        if not isinstance(where, Mapping):
            raise InvalidFilterError(
                f"expected a dictionary such as {{'year': {{'$gt': 2020}}}}, got "
                f"{type(where).__name__}"
            )
        return _all([self._entry(name, value, depth) for name, value in where.items()])

    def _entry(self, name: Any, value: Any, depth: int) -> _Clause:
        if not isinstance(name, str):
            raise InvalidFilterError(
                f"expected a column name or an operator as key, got {type(name).__name__}"
            )
        match name:
            case "$and":
                return _all(self._filters(name, value, depth))
            case "$or":
                return _any(self._filters(name, value, depth))
            case "$nor":
                return _negate(_any(self._filters(name, value, depth)))
            case "$not":
                return _negate(self.filter(value, depth + 1))
        if name.startswith("$"):
            raise InvalidFilterError(_unknown_operator(name, ["$and", "$or", "$nor", "$not"]))
        column = self.columns.find_path(name)
        if isinstance(value, Mapping):
            return self._operators(column, value, depth + 1)
        return self._condition(column, "$eq", value)

    def _filters(self, operator: str, value: Any, depth: int) -> list[_Clause]:
        if not isinstance(value, list | tuple) or not value:
            raise InvalidFilterError(f"{operator} expects a list of at least one dictionary")
        return [self.filter(part, depth + 1) for part in value]

    def _operators(self, column: Column, value: Filter, depth: int) -> _Clause:
        """Translate the ``{operator: operand}`` of one column."""
        _check_depth(depth)
        if not value:
            raise InvalidFilterError(f"column {column.name!r}: expected an operator, got {{}}")
        clauses = []
        for operator, operand in value.items():
            if operator == "$not":
                if not isinstance(operand, Mapping):
                    raise InvalidFilterError(
                        f"column {column.name!r}: $not expects a dictionary of operators"
                    )
                clauses.append(_negate(self._operators(column, operand, depth + 1)))
            elif operator in _CONDITIONS:
                clauses.append(self._condition(column, operator, operand))
            else:
                raise InvalidFilterError(
                    f"column {column.name!r}: "
                    + _unknown_operator(operator, [*_CONDITIONS, "$not"])
                    + f"; a struct field is written '{column.name}.field'"
                )
        return _all(clauses)

    def _condition(self, column: Column, operator: str, operand: Any) -> _Clause:
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise InvalidFilterError(
                f"the filter has more than {MAX_CONDITIONS} conditions; use $in for many values"
            )
        return _CONDITIONS[operator](column, operator, operand)


# --- logic ------------------------------------------------------------------------------------


def _all(clauses: list[_Clause]) -> _Clause:
    return _join(clauses, " AND ") if clauses else _Clause("TRUE")


def _any(clauses: list[_Clause]) -> _Clause:
    return _join(clauses, " OR ")


def _join(clauses: list[_Clause], word: str) -> _Clause:
    if len(clauses) == 1:
        return clauses[0]
    return _Clause(
        f"({word.join(c.sql for c in clauses)})", tuple(p for c in clauses for p in c.parameters)
    )


def _negate(clause: _Clause) -> _Clause:
    # NULL and false alike become true: the two-valued logic of Mongo in one place.
    return _Clause(f"({clause.sql} IS NOT TRUE)", clause.parameters)


# --- conditions -------------------------------------------------------------------------------


def _missing(column: Column) -> _Clause:
    return _Clause(f"({column.sql} IS NULL)")


def _equal(column: Column, operator: str, value: Any) -> _Clause:
    if value is None:
        return _missing(column)
    kind = family(column.type)
    if kind == "null":
        return _Clause("FALSE")
    if kind == "list":
        element = element_of(column)
        if not isinstance(value, list | tuple):
            return _has(column, operator, value)
        if not value:
            return _Clause(f"(len({column.sql}) = 0)")
        # Element by element: a bound list would be cast as a whole, and only roughly.
        _check_count(len(value), column)
        parts = [_Clause(f"(len({column.sql}) = {len(value)})")]
        for place, wanted in enumerate(value, 1):
            item = Column(name=column.name, sql=f"({column.sql})[{place}]", type=element.type)
            parts.append(_equal(item, operator, wanted))
        return _all(parts)
    return _compare(column, operator, value, "=")


def _compare(column: Column, operator: str, value: Any, symbol: str) -> _Clause:
    if family(column.type) == "null":
        return _Clause("FALSE")
    bound = parameter(value, column, operator)
    return _Clause(f"({column.sql} {symbol} {placeholder(column)})", (bound,))


def _ordered(symbol: str) -> Callable[[Column, str, Any], _Clause]:
    def order(column: Column, operator: str, value: Any) -> _Clause:
        return _compare(column, operator, value, symbol)

    return order


def _among(column: Column, operator: str, values: Any) -> _Clause:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Collection):
        raise InvalidFilterError(
            f"column {column.name!r}: {operator} expects a list of values, got "
            f"{type(values).__name__}"
        )
    if len(values) > MAX_VALUES:
        raise InvalidFilterError(
            f"column {column.name!r}: {operator} takes at most {MAX_VALUES} values, got "
            f"{len(values)}"
        )
    present = [v for v in values if v is not None]
    clauses = [_missing(column)] if len(present) < len(values) else []
    if present and family(column.type) != "null":
        clauses += _among_present(column, operator, present)
    return _any(clauses) if clauses else _Clause("FALSE")


def _among_present(column: Column, operator: str, values: list[Any]) -> list[_Clause]:
    subject = element_of(column) if family(column.type) == "list" else column
    bound = parameter_list(values, subject, operator)
    if not bound:
        return []
    in_list = subject is not column
    if pa.types.is_decimal(subject.type) or (in_list and family(subject.type) in _MOMENTS):
        # Decimals of several scales have no common list type, and DuckDB would round whole lists
        # of times to the column's unit: compare one by one.
        _check_count(len(bound), column)
        symbol = "list_contains({0}, {1})" if in_list else "({0} = {1})"
        mark = placeholder(subject)
        return [_Clause(symbol.format(column.sql, mark), (v,)) for v in bound]
    if in_list:
        return [_Clause(f"list_has_any({column.sql}, ?)", (bound,))]
    # A semi-join: one hash table of the values, however many there are.
    mark = placeholder(column, many=True)
    return [_Clause(f"({column.sql} IN (SELECT unnest({mark})))", (bound,))]


def _exists(column: Column, operator: str, value: Any) -> _Clause:
    if not isinstance(value, bool):
        raise InvalidFilterError(
            f"column {column.name!r}: $exists expects True or False, got {type(value).__name__}"
        )
    return _Clause(f"({column.sql} IS {'NOT ' if value else ''}NULL)")


def _has(column: Column, operator: str, value: Any) -> _Clause:
    kind = family(column.type)
    if kind == "list":
        element = element_of(column)
        bound = parameter(value, element, operator)
        return _Clause(f"list_contains({column.sql}, {placeholder(element)})", (bound,))
    if kind == "null":
        return _Clause("FALSE")
    return _Clause(f"contains({column.sql}, ?)", (_pattern(column, operator, value),))


def _like(column: Column, operator: str, value: Any) -> _Clause:
    pattern = _pattern(column, operator, value)
    check_like(pattern)
    return _Clause(f"({column.sql} {operator[1:].upper()} ?)", (pattern,))


def _regex(column: Column, operator: str, value: Any) -> _Clause:
    pattern = _pattern(column, operator, value)
    check_regex(pattern)
    check_constants(["regexp_matches('', ?)"], (pattern,))
    return _Clause(f"regexp_matches({column.sql}, ?)", (pattern,))


def _pattern(column: Column, operator: str, value: Any) -> str:
    if family(column.type) != "string":
        also = " or a list" if operator.endswith("contains") else ""
        raise InvalidFilterError(
            f"column {column.name!r} is {column.type}: {operator} expects a column of strings{also}"
        )
    return str(parameter(value, column, operator))


def _not(condition: Callable[[Column, str, Any], _Clause]) -> Callable[..., _Clause]:
    def negated(column: Column, operator: str, value: Any) -> _Clause:
        return _negate(condition(column, operator, value))

    return negated


_CONDITIONS: dict[str, Callable[[Column, str, Any], _Clause]] = {
    "$eq": _equal,
    "$ne": _not(_equal),
    "$gt": _ordered(">"),
    "$gte": _ordered(">="),
    "$lt": _ordered("<"),
    "$lte": _ordered("<="),
    "$in": _among,
    "$nin": _not(_among),
    "$exists": _exists,
    "$contains": _has,
    "$not_contains": _not(_has),
    "$like": _like,
    "$ilike": _like,
    "$regex": _regex,
}


def _check_count(count: int, column: Column) -> None:
    if count > MAX_CONDITIONS:
        raise InvalidFilterError(
            f"column {column.name!r} is {column.type}: a filter compares it with at most "
            f"{MAX_CONDITIONS} values, got {count}"
        )


def _unknown_operator(name: Any, known: list[str]) -> str:
    return f"unknown operator {str(name)[:60]!r}; expected one of {', '.join(known)}"


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise InvalidFilterError(
            f"the filter is nested more than {MAX_DEPTH} levels deep; write a flatter one"
        )
