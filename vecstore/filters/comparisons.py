"""Type rules of a SQL predicate: what may be compared, and what is a condition.

DuckDB by itself would cast a text column to a number to compare the two, and then fail on, or
quote, some stored row. The operands of every comparison are therefore bound (no row is read)
and must belong to one family of types.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import pyarrow as pa

from vecstore.errors import InvalidFilterError
from vecstore.filters.engine import bound_types, check_constants

__all__ = ["Operand", "check_types"]

_MAX_BOUND = 1 << 18  # characters: nested comparisons are written once per level


@final
@dataclass(frozen=True, slots=True)
class Operand:
    """One side of a comparison: its SQL, and its kind where that needs no binding."""

    sql: str
    kind: str | None


_FAMILIES = {"INTEGER": "number", "NUMERIC": "number", "BOOLEAN": "boolean"}
_EXPECTED = {
    "number": "a number",
    "string": "a string in single quotes",
    "boolean": "TRUE or FALSE",
    "moment": "a date or time in single quotes",
}


def check_types(
    sql: str,
    comparisons: Sequence[Sequence[Operand]],
    conditions: Sequence[Operand],
    schema: pa.Schema,
) -> None:
    """Refuse a predicate that is not boolean, or compares values of different families."""
    computed = dict.fromkeys(
        operand.sql
        for operands in [*comparisons, conditions]
        for operand in operands
        if operand.kind is None
    )
    if sum(map(len, computed)) > _MAX_BOUND:
        raise InvalidFilterError(
            "the filter nests too much inside casts and functions; write a flatter one"
        )
    bound = bound_types(list(computed), schema) if computed else []
    types = dict(zip(computed, bound, strict=True))
    for operand in conditions:
        _check_condition(operand.sql, types.get(operand.sql, operand.kind or ""))
    casts: dict[str, None] = {}
    for operands in comparisons:
        families = {_family_of(o, types) for o in operands} - {None}
        if len(families) > 1:
            _refuse_comparison(operands, types)
        # A string literal takes the type of what it is compared with: check that it can.
        target = next((types[o.sql] for o in operands if o.kind is None), None)
        if target is not None and _family(target) not in ("string", None):
            casts |= {f"CAST({o.sql} AS {target})": None for o in operands if o.kind == "STRING"}
    if casts:
        check_constants(list(casts))
    _check_condition(sql, *bound_types([sql], schema))


def _check_condition(sql: str, type_: str) -> None:
    if type_ not in ("BOOLEAN", "NULL_LITERAL", '"NULL"'):
        raise InvalidFilterError(
            f"{_clip(sql)} is of type {type_}, expected a condition that is true or false, "
            "such as a comparison"
        )


def _refuse_comparison(operands: Sequence[Operand], types: dict[str, str]) -> None:
    """Say which operand does not fit the first computed one."""
    subject = next((o for o in operands if o.kind is None), operands[0])
    family = _family_of(subject, types)
    other = next(o for o in operands if _family_of(o, types) not in (family, None))
    raise InvalidFilterError(
        f"{_clip(subject.sql)} is {types.get(subject.sql, family)} and cannot be compared with "
        f"{_clip(other.sql)}{'' if other.kind else f' ({types[other.sql]})'}; expected "
        f"{_EXPECTED.get(family or '', 'a value of the same type')}, or an explicit TRY_CAST"
    )


def _family_of(operand: Operand, types: dict[str, str]) -> str | None:
    if operand.kind is None:
        return _family(types[operand.sql])
    return _FAMILIES.get(operand.kind)


_INTEGER_TYPES = re.compile(r"U?(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT|INT\d*)|.*_LITERAL")


def _family(type_: str) -> str | None:
    """Group SQL types whose values compare with each other; None compares with everything."""
    if type_.endswith("]"):
        return "list"
    if type_ in ("VARCHAR", "STRING_LITERAL") or type_.startswith("ENUM"):
        return "string"
    if type_ in ("FLOAT", "DOUBLE") or type_.startswith("DECIMAL") or _INTEGER_TYPES.match(type_):
        return "number"
    if type_ == "DATE" or type_.startswith("TIMESTAMP"):
        return "moment"
    if type_ in ('"NULL"', "NULL"):
        return None
    return type_.split("(", 1)[0].lower()


def _clip(sql: str) -> str:
    return sql if len(sql) <= 80 else sql[:77] + "..."
