"""Predicate: a validated filter, and the one function that makes it from what users write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

import pyarrow as pa

from vecstore.errors import InvalidFilterError

__all__ = ["Predicate", "Where", "parse_where"]

Where = str | Mapping[str, Any]

_CACHED = 256


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Predicate:
    """A validated, parameterised boolean expression over a collection's columns.

    Parameters
    ----------
    sql : str
        Canonical SQL text; safe in ``SELECT row_id FROM rows WHERE (<sql>)``.
    parameters : tuple
        Values of the ``?`` in ``sql``, in order; a tuple among them is a list of values.
    columns : frozenset of str
        The columns the expression reads: load these and ``row_id``, no others.
    """

    sql: str
    parameters: tuple[Any, ...]
    columns: frozenset[str]


def parse_where(where: Where, schema: pa.Schema) -> Predicate:
    """Turn a ``where`` into a predicate, or say what is wrong with it.

    Parameters
    ----------
    where : str or mapping
        A SQL predicate (``"year > 2020 AND lang = 'en'"``; see `vecstore.filters.functions` for
        what it may call), or a Mongo-style dictionary (``{"year": {"$gt": 2020}, "lang": "en"}``;
        see `vecstore.filters.mongo` for the operators). In SQL a comparison with NULL is NULL
        and selects nothing, in dictionaries ``$ne``, ``$nin`` and ``$not`` select missing
        values, each as its users expect.
    schema : pyarrow.Schema
        The columns users see. A column is found by its exact name, or else by the only name
        that differs by upper and lower case.

    Returns
    -------
    Predicate

    Raises
    ------
    InvalidFilterError
        Not one predicate over these columns: syntax, an unknown column, operator or function,
        a comparison between different types, or a limit exceeded.

    Notes
    -----
    Filter strings are parsed once per schema and kept (the last 256).

    Examples
    --------
    >>> import pyarrow as pa
    >>> schema = pa.schema({"id": pa.string(), "year": pa.int64()})
    >>> parse_where("Year > 2020 or year is null", schema).sql
    '(("year" > 2020) OR ("year" IS NULL))'
    >>> parse_where({"year": {"$gt": 2020, "$ne": 2024}}, schema).parameters
    (2020, 2024)
    """
    if isinstance(where, str):
        return _parse_sql(where, schema)
    if isinstance(where, Mapping):
        from vecstore.filters.mongo import translate  # most searches have no filter

        sql, parameters, columns = translate(where, schema)
        return Predicate(sql=sql, parameters=parameters, columns=columns)
    raise InvalidFilterError(
        f"a filter is a SQL string or a dictionary, got {type(where).__name__}; "
        "write where=\"year > 2020\" or where={'year': {'$gt': 2020}}"
    )


@lru_cache(maxsize=_CACHED)
def _parse_sql(where: str, schema: pa.Schema) -> Predicate:
    from vecstore.filters.sql import compile_sql

    sql, columns = compile_sql(where, schema)
    return Predicate(sql=sql, parameters=(), columns=columns)
